"""Which rows a step of pretraining shows: the part of `pretrain`'s parameters that `trace` and `explain` need.

It is apart from the rest so that a model whose other parameters an older version wrote can still be asked.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from infra.params import Params
from model.job import RampStep, Rate
from model.rope_scaling import RopeScaling

MixtureParam = dict[str, Annotated[float, Field(ge=0)]] | Literal["recipe", "natural"]
Epochs = Annotated[float, Field(gt=0)]
EpochCaps = Epochs | dict[str, Epochs]


class PhaseParams(Params):
    """One phase. What is not said is as in the phase before it; domains and batch size as in the whole run."""

    name: str = Field(min_length=1, description="For the rows of metrics.")
    steps: int | None = Field(None, ge=1, description="Optimizer steps.")
    tokens: int | None = Field(None, ge=1, description="Tokens to learn from, instead of steps.")
    seq_len: int | None = Field(None, ge=8, description="Tokens in a row.")
    batch_size: int | None = Field(None, ge=1, description="Rows in a global batch; empty: the run's, ramp included.")
    rope_theta: float | None = Field(None, gt=1, description="New base of the rotary wavelengths.")
    rope_scaling: RopeScaling | None = Field(None, description="New stretch of the wavelengths: type yarn or llama3.")
    rate: Rate | None = Field(
        None,
        description="Learning rate, as shares of the peak; empty: the optimizer's schedule, which runs over "
        "the leading phases without one, or what the phase before ended with.",
    )
    split: Literal["train", "anneal"] = Field(
        "train", description="anneal: only the documents that the mix marks for the last phase (mix.annealing)."
    )
    domains: list[str] | None = Field(None, min_length=1, description="Learn from these domains only; empty: all.")
    mixture: MixtureParam | None = Field(None, description="As the run's `mixture`, which holds where this is empty.")
    max_epochs: EpochCaps | None = Field(
        None, description="As the run's `max_epochs`, which holds where this is empty: for text shown by its end."
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError(f"phase {self.name}: give steps or tokens")
        return self


class RowOrder(Params):
    """Rows, batches, domains and phases of a run."""

    seq_len: int = Field(256, ge=8, description="Tokens in a row, until a phase says another length.")
    batch_size: int = Field(16, ge=1, description="Rows in a global batch, over all ranks.")
    phases: list[PhaseParams] = Field(
        default_factory=list, description="Stretches of the run, which then say how long it is; empty: it is one."
    )
    batch_ramp: list[RampStep] = Field(default_factory=list, description="Later batch sizes, by tokens of the run.")
    mixture: MixtureParam = Field(
        "natural",
        description="How rows are drawn. natural: all training text as one, by what there is. recipe: the shares that"
        " the mix has drawn up. Or domain -> weight, as shares of the tokens; a domain without one is left out.",
    )
    max_epochs: EpochCaps | None = Field(
        None,
        description="How often text may be shown in the whole run, in rows of any length, for all domains or domain by"
        " domain; a longer run is refused. Copies for annealing count apart. Empty: as the recipe says, or any.",
    )
    seed: int = Field(0, ge=0, description="Of the initial weights and of the order of rows.")

    @property
    def seq_lens(self) -> list[int]:
        """Tokens in a row of each phase; of a run without phases one length."""
        found: list[int] = []
        for phase in self.phases:
            found.append(phase.seq_len or (found[-1] if found else self.seq_len))
        return found or [self.seq_len]

    @model_validator(mode="after")
    def _ramp_in_order(self) -> Self:
        if any(later.tokens <= earlier.tokens for earlier, later in pairwise(self.batch_ramp)):
            raise ValueError("the steps of batch_ramp must be in the order of their tokens")
        return self
