"""What a scaling study is told: its grid of budgets and sizes, and what is compared beside it.

Budgets are training FLOPs as `flops_per_token` counts them (matrix products, attention and head; Chowdhery et al. 2022,
appendix B). Sizes are parameters of the matrix products: blocks and output head, not the embedding lookup. Leaving the
head out, or counting a lookup that takes no compute, bends the law of small models (Pearce & Song 2024,
arXiv:2406.12907; Porian et al. 2024, arXiv:2406.19146).
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from infra.params import Params
from model.presets import WIDTH_A_LAYER
from tasks.row_order import MixtureParam
from tasks.scaling.parabola import MIN_VALUES
from tasks.shape import Shape

Flops = Annotated[float, Field(gt=0)]
OWN_MIXTURE = "as pretrain.mixture"
NEAR = 1.1  # budgets (or sizes) nearer to each other than this factor are taken for one


class Point(Params):
    """A place in the plane of budgets and sizes where something is compared."""

    flops: Flops = Field(description="Budget of each run, training FLOPs.")
    params: float = Field(gt=0, description="Size of each run, parameters of the matrix products.")


class ArchitectureComparison(Params):
    """A transformer against an LSTM: as many parameters, as much compute."""

    at: tuple[Point, ...] = Field((), description="Where; empty: not compared.")
    lstm_layers: int = Field(2, ge=1, description="Layers of the LSTM (Zaremba et al. 2014 have two).")


class WidthDepthComparison(Params):
    """Wide and shallow against narrow and deep, at one number of parameters."""

    at: tuple[Point, ...] = Field((), description="Where; empty: not compared.")
    aspects: tuple[float, ...] = Field((16.0, 64.0, 192.0), min_length=2, description="Width over layers, of each run.")


class RateComparison(Params):
    """Learning rates. Several sizes say how the best one changes with size."""

    at: tuple[Point, ...] = Field((), description="Where; empty: not compared.")
    factors: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), min_length=3, description="Rates of the runs, as multiples of pretrain.optim's (all of them)."
    )


class MixtureComparison(Params):
    """Data mixtures, all measured on the same held-out text."""

    at: tuple[Point, ...] = Field((), description="Where; empty: not compared.")
    mixtures: dict[str, MixtureParam] = Field(
        default_factory=dict,
        description="Name -> natural, recipe, or domain -> weight; beside pretrain.mixture, which is always there.",
    )

    @model_validator(mode="after")
    def _other_names(self) -> Self:
        if OWN_MIXTURE in self.mixtures:
            raise ValueError(f"{OWN_MIXTURE!r} is what the grid's own mixture is called: give yours another name")
        return self


class ObjectiveComparison(Params):
    """Next tokens against masked ones: the same network, as much compute. Their losses are of different tasks."""

    at: tuple[Point, ...] = Field((), description="Where; empty: not compared.")


class Comparisons(Params):
    """Further runs that answer one question each. They are no part of the fit."""

    architectures: ArchitectureComparison = Field(
        default_factory=ArchitectureComparison, description="Transformer against LSTM."
    )
    width_depth: WidthDepthComparison = Field(
        default_factory=WidthDepthComparison, description="Width against depth at one size."
    )
    rates: RateComparison = Field(default_factory=RateComparison, description="Learning rates across sizes.")
    mixtures: MixtureComparison = Field(default_factory=MixtureComparison, description="Data mixtures.")
    objectives: ObjectiveComparison = Field(
        default_factory=ObjectiveComparison, description="Next tokens against masked ones."
    )


class GridParams(Params):
    """The isoFLOP grid. Each of its runs is an ordinary `pretrain` with the flow's `pretrain` section as its base; of
    `pretrain.shape` it takes what is not size."""

    budgets: tuple[Flops, ...] = Field(
        (1e12, 2e12, 4e12), min_length=2, description="Training FLOPs of the runs, a parabola each; two are a minimum."
    )
    sizes: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (2e5, 4e5, 8e5, 1.6e6), description="Parameters (of matrix products) at the smallest budget, >= 3 sizes."
    )
    growth: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Sizes grow with budgets to this power, so that the best stays inside (Hoffmann et al. 2022: 0.5).",
    )
    shapes: tuple[Shape, ...] = Field((), description="Shapes instead of sizes, the same at every budget.")
    aspect: float = Field(WIDTH_A_LAYER, gt=0, description="Width over layers of the shapes that sizes stand for.")
    seeds: int = Field(1, ge=1, description="Runs of each shape and budget, with seeds from pretrain.seed on.")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of a run's steps that its learning rate warms up over.")
    max_epochs: float = Field(4.0, gt=0, description="A run that would show text more often is left out, and said.")
    min_steps: int = Field(50, ge=1, description="A run of fewer optimizer steps is left out, and said.")
    validation_rows: int | None = Field(
        1024,
        ge=1,
        description="Held-out rows that each run is judged on, the same of all, in place of pretrain.validation_rows;"
        " empty: all.",
    )
    compare: Comparisons = Field(default_factory=Comparisons, description="Further runs, beside the fit.")

    @model_validator(mode="after")
    def _a_grid(self) -> Self:
        ordered = sorted(self.budgets)
        for low, high in pairwise(ordered):
            if high < low * NEAR**2:  # runs come within a tenth of their budget, see `grid`
                raise ValueError(f"budgets {low:.3g} and {high:.3g} are nearly equal: a fifth apart at least")
        if self.shapes:
            if len(set(self.shapes)) < MIN_VALUES:
                raise ValueError(
                    f"a parabola needs at least {MIN_VALUES} different shapes, not {len(set(self.shapes))}"
                )
            if any(shape.architecture != "transformer" for shape in self.shapes):
                raise ValueError("the grid's shapes are transformers; an LSTM goes into compare.architectures")
        elif len(set(self.sizes)) < MIN_VALUES:
            raise ValueError(f"a parabola needs at least {MIN_VALUES} different sizes, not {len(set(self.sizes))}")
        return self
