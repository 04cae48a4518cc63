"""Approach 2 of Chinchilla (Hoffmann et al. 2022, arXiv:2203.15556, section 3.2): at equal compute, which size is best?

At each budget C the final losses of several sizes N lie near a parabola in log N; its vertex is the best size N*(C).
Through the vertices goes a power law N* = k C^a, a straight line in logarithms. A vertex outside the sizes that were
run is an extrapolation, and a parabola that opens downward has no best size: both are said and left out of the line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from infra.errors import BadInput
from tasks.scaling.parabola import FloatArray, Parabola, fit_parabola


@dataclass(frozen=True)
class Run:
    """One finished training run. `params` and `tokens` are numbers, `flops` is what it took, `loss` nats a token."""

    params: float
    tokens: float
    flops: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class BudgetFit(Parabola):
    """The parabola of one budget: its values are sizes of networks, in parameters."""

    flops: float


@dataclass(frozen=True)
class PowerLaw:
    """y = exp(`log_k`) x^`exponent`, by least squares in logarithms."""

    log_k: float
    exponent: float

    def __call__(self, x: float | FloatArray) -> float | FloatArray:
        return np.exp(self.log_k + self.exponent * np.log(x))


def fit_budget(runs: Sequence[Run]) -> BudgetFit:
    """Fit the losses of runs of one budget.

    Raises:
        BadInput: fewer than three different sizes.
    """
    found = fit_parabola([run.params for run in runs], [run.loss for run in runs], "size")
    return BudgetFit(flops=float(np.mean([run.flops for run in runs])), **vars(found))


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Least squares of ln y on ln x.

    Raises:
        BadInput: fewer than two different x.
    """
    if len(set(x)) < 2:
        raise BadInput("a power law needs points at two budgets or more")
    exponent, log_k = np.polyfit(np.log(np.asarray(x, float)), np.log(np.asarray(y, float)), 1)
    return PowerLaw(float(log_k), float(exponent))


def flops_a_token(runs: Iterable[Run]) -> PowerLaw:
    """What a token costs by size of the network, from the runs themselves: attention makes it more than 6 N."""
    taken = list(runs)
    return fit_power_law([run.params for run in taken], [run.flops / run.tokens for run in taken])


@dataclass(frozen=True)
class IsoFlopFit:
    """The parabolas, from the smallest budget to the largest, and what follows from the sound ones.

    Attributes:
        params, tokens: best size and best number of tokens for a budget, as power laws of it.
        loss: the best loss for a budget, as a power law of it: without an irreducible loss, so only for near budgets.
    """

    parabolas: tuple[BudgetFit, ...]
    params: PowerLaw
    tokens: PowerLaw
    loss: PowerLaw


def fit_isoflop(budgets: Sequence[Sequence[Run]]) -> IsoFlopFit:
    """Fit every budget, then the line through the sound vertices.

    Tokens follow from size and budget through the runs themselves: the FLOPs that a token took at each size.

    Raises:
        BadInput: fewer than two budgets have a sound vertex.
    """
    parabolas = sorted((fit_budget(runs) for runs in budgets), key=lambda p: p.flops)
    sound = [p for p in parabolas if not p.problem]
    if len({p.flops for p in sound}) < 2:
        told = "; ".join(f"{p.flops:.3g} FLOP: {p.problem}" for p in parabolas if p.problem)
        raise BadInput(f"only {len(sound)} of {len(parabolas)} budgets have a best size inside those run ({told})")
    cost = flops_a_token([run for group in budgets for run in group])
    compute = [p.flops for p in sound]
    tokens = [p.flops / float(cost(p.best)) for p in sound]
    return IsoFlopFit(
        tuple(parabolas),
        params=fit_power_law(compute, [p.best for p in sound]),
        tokens=fit_power_law(compute, tokens),
        loss=fit_power_law(compute, [p.best_loss for p in sound]),
    )
