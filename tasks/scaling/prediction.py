"""From runs to laws, and from laws to a run that nobody has made: its best size, its tokens, its loss, with intervals.

Two ways that need not agree, and both are told: isoFLOP (the power laws through the vertices of the parabolas) and the
parametric form. The isoFLOP law of the loss has no irreducible part, so it falls too far at far budgets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra.errors import BadInput
from tasks.scaling.isoflop import BudgetFit, IsoFlopFit, PowerLaw, Run, fit_budget, flops_a_token
from tasks.scaling.parametric import ParametricFit, ParametricLaw, fit_parametric
from tasks.scaling.resampling import ResampledIsoFlop, percentiles, resample_isoflop
from tasks.scaling.rows import RunRow, budgets_of

FEW_BUDGETS = 3  # below that a line through the vertices has nothing to be checked by
CONSTANTS = 5  # of L(N, D)
NO_IRREDUCIBLE = 0.01  # of the lowest loss: an E below that share of it is none


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; no bounds where there was too little to resample."""

    value: float
    low: float | None = None
    high: float | None = None

    def holds(self, measured: float) -> bool | None:
        """Whether a measurement lies within the interval; None without one."""
        return None if self.low is None or self.high is None else self.low <= measured <= self.high


@dataclass(frozen=True)
class Prediction:
    """The loss of one run. `measured` is what it came to be, where it was made; neither fit has seen it."""

    flops: float
    params: float
    tokens: float
    isoflop: Estimate | None  # of the best size at these FLOPs, whatever this run's size
    parametric: Estimate | None  # at this size and length
    measured: float | None = None
    ref: str | None = None

    @property
    def loss(self) -> Estimate | None:
        """The one that is told first: the parametric form's, which is of this very run; without it isoFLOP's."""
        return self.parametric or self.isoflop


@dataclass(frozen=True)
class Laws:
    """All that the grid says."""

    budgets: tuple[tuple[RunRow, ...], ...]
    parabolas: tuple[BudgetFit, ...]
    isoflop: ResampledIsoFlop | None
    parametric: ParametricFit | None
    cost: PowerLaw  # FLOP a token, by size
    residuals: tuple[float, ...]  # of ln loss about the parametric form, widened for its five constants
    warnings: tuple[str, ...]
    seed: int

    @property
    def largest(self) -> float:
        """The largest budget, FLOP."""
        return max(parabola.flops for parabola in self.parabolas)

    def best_params(self, flops: float) -> Estimate | None:
        """The best size for a budget, by the isoFLOP law; without one, by the parametric form, where it has a best."""
        if self.isoflop is not None:
            return _estimate(float(self.isoflop.fit.params(flops)), self.isoflop.interval("params", flops))
        return self._optimum(flops, 0)

    def best_tokens(self, flops: float) -> Estimate | None:
        """The best number of tokens for a budget, likewise."""
        if self.isoflop is not None:
            return _estimate(float(self.isoflop.fit.tokens(flops)), self.isoflop.interval("tokens", flops))
        return self._optimum(flops, 1)

    def _optimum(self, flops: float, which: int) -> Estimate | None:
        """Size (0) or tokens (1) at the optimum of the parametric form; None where one of its terms does not fall."""
        if self.parametric is None or not _falls(self.parametric.law):
            return None
        drawn = [self._optimum_of(law, flops)[which] for law in self.parametric.resampled if _falls(law)]
        drawn = [value for value in drawn if np.isfinite(value)]
        return _estimate(self._optimum_of(self.parametric.law, flops)[which], percentiles(drawn))

    def _optimum_of(self, law: ParametricLaw, flops: float) -> tuple[float, float]:
        """(parameters, tokens) at the optimum, with FLOPs a token by size as the grid had them."""
        return law.optimum(flops, float(np.exp(self.cost.log_k)), self.cost.exponent)

    def predict(self, flops: float, params: float, tokens: float) -> Prediction:
        """The loss of one run of this size and length, the scatter of single runs included."""
        isoflop = parametric = None
        if self.isoflop is not None:
            isoflop = _estimate(float(self.isoflop.fit.loss(flops)), self.isoflop.next_run(flops, self.seed))
        if self.parametric is not None:
            value = float(self.parametric.law.loss(params, tokens))
            generator = np.random.default_rng(self.seed)
            noise = generator.choice(np.array(self.residuals), len(self.parametric.resampled))
            drawn = [float(law.loss(params, tokens)) for law in self.parametric.resampled]
            parametric = _estimate(value, percentiles((np.array(drawn) * np.exp(noise)).tolist()))
        return Prediction(flops, params, tokens, isoflop, parametric)


def _estimate(value: float, interval: tuple[float, float] | None) -> Estimate:
    return Estimate(value, *(interval or (None, None)))


def fit_laws(rows: Sequence[RunRow], bootstrap: int, seed: int) -> Laws:
    """Fit a grid both ways. What cannot be fitted is None, and a warning says why.

    Raises:
        BadInput: a budget with fewer than three sizes, or a single budget.
    """
    groups = budgets_of(rows)
    if len(groups) < 2:
        raise BadInput(f"a scaling law needs runs at two budgets or more; these runs are of {len(groups)}")
    for group in groups:
        if len({row.params for row in group}) < 3:
            raise BadInput(
                f"budget {group[0].flops:.3g} FLOP has {len({row.params for row in group})} sizes; a parabola needs 3"
            )
    budgets = [[row.as_run for row in group] for group in groups]
    parabolas = tuple(fit_budget(runs) for runs in budgets)
    warnings = [f"budget {p.flops:.3g} FLOP: {p.problem}; left out" for p in parabolas if p.problem]
    isoflop = _isoflop(budgets, bootstrap, seed, warnings)
    parametric, residuals = _parametric([run for runs in budgets for run in runs], bootstrap, seed, warnings)
    return Laws(
        budgets=tuple(tuple(group) for group in groups),
        parabolas=parabolas,
        isoflop=isoflop,
        parametric=parametric,
        cost=flops_a_token(run for runs in budgets for run in runs),
        residuals=residuals,
        warnings=tuple(warnings),
        seed=seed,
    )


def _isoflop(
    budgets: Sequence[Sequence[Run]], bootstrap: int, seed: int, warnings: list[str]
) -> ResampledIsoFlop | None:
    try:
        found = resample_isoflop(budgets, bootstrap, seed)
    except BadInput as error:
        warnings.append(f"no isoFLOP law: {error}")
        return None
    sound = _sound(found.fit)
    if sound < FEW_BUDGETS:
        warnings.append(f"the isoFLOP laws rest on {sound} budgets: a line through two points is never wrong")
    if not found.residuals:
        warnings.append("three sizes a budget leave a parabola no residuals, so the isoFLOP laws have no intervals")
    elif len(found.resampled) < bootstrap * 0.9:
        warnings.append(
            f"only {len(found.resampled)} of {bootstrap} redrawn grids have a best size inside at two budgets: the"
            " isoFLOP intervals are too narrow"
        )
    return found


def _falls(law: ParametricLaw) -> bool:
    """Whether more parameters and more tokens both help, without which there is no best of both."""
    return law.alpha > 0 and law.beta > 0


def _sound(fit: IsoFlopFit) -> int:
    return sum(not parabola.problem for parabola in fit.parabolas)


def _parametric(
    runs: Sequence[Run], bootstrap: int, seed: int, warnings: list[str]
) -> tuple[ParametricFit | None, tuple[float, ...]]:
    """The fit, and residuals of ln loss; the parametric form warns of constants that lie at a border."""
    try:
        fit = fit_parametric(runs, bootstrap, seed)
    except BadInput as error:
        warnings.append(f"no parametric law: {error}")
        return None, ()
    law = fit.law
    for name, value in (("A / N^alpha", law.alpha), ("B / D^beta", law.beta)):
        if value <= 0:
            warnings.append(f"the parametric form's {name} does not fall: its exponent is {value:.3g}")
    least = min(run.loss for run in runs)
    if law.e < NO_IRREDUCIBLE * least:
        warnings.append(f"the parametric form has no irreducible loss (E = {law.e:.2g}): it falls too far, far out")
    n = len(runs)
    widened = float(np.sqrt(n / (n - CONSTANTS)))
    residuals = [widened * float(np.log(run.loss / float(law.loss(run.params, run.tokens)))) for run in runs]
    return fit, tuple(residuals)
