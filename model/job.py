"""One training run, written down: everything the training process needs to know, in one JSON file.

The stage writes it, `python -m model.train JOB.json` reads it. Paths are absolute. Unknown keys are refused. This
module and what it imports need no torch.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.averaging import Average
from model.config import DPOConfig, LSTMConfig, NetworkConfig, OptimConfig
from model.mixture import DomainShare
from model.outliers import SkipConfig
from model.rope_scaling import RopeScaling

Objective = Literal["lm", "mlm", "sft", "dpo"]
NO_HEADS = 0  # of an LSTM


class Strict(BaseModel):
    """Frozen, and without room for a misspelt key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Strict):
    """What is learnt from and what is held out, as prefixes of indexed files (`model/indexed.py`)."""

    train: list[Path] = Field(min_length=1, description="One prefix for sft and dpo; any number for lm.")
    mixture: list[DomainShare] = Field(
        default_factory=list, description="Domains of `train` and how to draw from them; empty: rows of all as one."
    )
    validation: list[Path] = Field(default_factory=list, description="Held-out data; empty: no validation.")
    seq_len: int = Field(ge=2, description="Positions in a row, in tokens.")
    document_mask: bool = Field(True, description="Whether attention stays inside a document (lm).")
    token_bytes: Path | None = Field(None, description=".npy int [vocab]: UTF-8 bytes of each token, 0 for specials.")
    validation_rows: int | None = Field(None, ge=1, description="Held-out rows that a validation reads; empty: all.")


class Rate(Strict):
    """The learning rate of one phase, as shares of the peak."""

    shape: Literal["constant", "linear", "cosine", "sqrt"] = Field(
        "linear", description="Way from start to end; sqrt falls as 1 - sqrt does. constant stays at start."
    )
    start: float | None = Field(None, ge=0, description="Share at its first step; empty: where the last phase ended.")
    end: float = Field(0.0, ge=0, description="Share that it would reach one step after its last.")


class RampStep(Strict):
    """A new batch size from a point of the run on (Llama 3, section 3.4.1, has two)."""

    tokens: int = Field(ge=1, description="Tokens of the run after which it holds, at the next step.")
    batch_size: int = Field(ge=1, description="Samples in a global batch.")


class Phase(Strict):
    """A stretch of the run with its own data, length of rows, rotation or learning rate. One optimizer goes through."""

    name: str = Field(min_length=1)
    steps: int = Field(ge=1, description="Optimizer steps of this phase.")
    data: Data | None = Field(
        None, description="What is learnt from; empty: the job's. Held out is what the job says, in rows as long."
    )
    batch_size: int | None = Field(
        None, ge=1, description="Samples in a global batch; empty: the job's, ramp included."
    )
    rope_theta: float | None = Field(None, gt=1, description="New base of the wavelengths; empty: as before.")
    rope_scaling: RopeScaling | None = Field(None, description="New stretch of the wavelengths; empty: as before.")
    rate: Rate | None = Field(
        None,
        description="Learning rate; empty: the optimizer's schedule over the leading phases that say nothing, and what "
        "the last phase ended with after one that did.",
    )


class SpecialTokens(Strict):
    """Ids that the exported model names, and that rows are filled up with."""

    bos: int = Field(ge=0, description="What a text begins after.")
    eos: list[int] = Field(min_length=1, description="What ends a generation.")
    pad: int = Field(ge=0, description="What fills rows up.")


class Work(Strict):
    """Where the run works and how its processes are laid out; nothing here changes what is learnt."""

    folder: Path = Field(description="metrics.jsonl, checkpoints/ and tensorboard/; kept across attempts.")
    export: Path = Field(description="Where the Hugging Face folder is written at the end.")
    zero_stage: Literal[0, 1, 2, 3] | None = Field(
        None, description="DeepSpeed ZeRO stage; empty: what the run began with, or 0 on one rank and 1 on more."
    )
    micro_batch_size: int | None = Field(
        None, ge=1, description="Samples a rank holds at once, of longer phases than the first fewer; empty: its share."
    )
    threads_per_rank: int = Field(1, ge=1, description="Intra-op threads of each rank.")
    checkpoint_every: int = Field(ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Checkpoints kept.")
    sequence_parallel: int = Field(1, ge=1, description="Ranks that share a row (Ulysses); divides the world size.")
    peak_flops: float | None = Field(
        None, gt=0, description="FLOP/s of a rank's device at its best, for MFU; empty: measured before the run."
    )
    tensorboard: bool = Field(True, description="Write TensorBoard events beside metrics.jsonl.")
    csv: bool = Field(False, description="Write a CSV file a metric as well.")
    activation_checkpointing: bool = Field(False, description="Keep a block's input only, compute it again backwards.")
    compile: bool = Field(False, description="torch.compile each block; at ZeRO stages 0 to 2.")


class Job(Strict):
    """A whole run."""

    objective: Objective
    shape: NetworkConfig | None = Field(None, description="Shape of a network to start from nothing.")
    init_from: Path | None = Field(None, description="Hugging Face folder to start from.")
    data: Data
    special_tokens: SpecialTokens
    work: Work
    optim: OptimConfig
    dpo: DPOConfig | None = None
    batch_size: int = Field(ge=1, description="Samples (rows or pairs) in a global batch.")
    batch_ramp: list[RampStep] = Field(default_factory=list, description="Later batch sizes, by tokens.")
    ramp_rate: Literal["none", "sqrt"] = Field(
        "none",
        description="sqrt: while the ramp lasts, rates by the square root of the batch's share of its last size.",
    )
    steps: int = Field(ge=1, description="Optimizer steps of the whole run.")
    phases: list[Phase] = Field(default_factory=list, description="Stretches of the run; empty: it is one.")
    skip: SkipConfig | None = Field(None, description="Leave out steps that are outliers; empty: take every step.")
    export: Literal["last", "best", "average"] = Field(
        "last",
        description="Weights to export: the last step's, those of the lowest validation loss since the context last"
        " changed, or a mean.",
    )
    average: Average | None = Field(None, description="Which steps are averaged, with export: average.")
    validate_every: int | None = Field(None, ge=1, description="Steps between validations; empty: at the end only.")
    seed: int = Field(0, ge=0)
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="Of the matrix products; weights, optimizer and gradient sums are float32. auto: bfloat16 where "
        "every rank's hardware multiplies it, else float32.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.shape is None) == (self.init_from is None):
            raise ValueError("give either `shape` (a new network) or `init_from` (an existing one)")
        if self.objective == "dpo" and (self.dpo is None or self.init_from is None):
            raise ValueError("dpo needs `dpo` and `init_from`: the starting model is the reference")
        self.check_stage(self.work.zero_stage)
        if self.shape is not None and self.shape.causal == (self.objective == "mlm"):
            raise ValueError("masked tokens (mlm) are for a shape with causal: false, and only they are")
        if self.objective == "dpo" and self.optim.z_loss:
            raise ValueError("z_loss belongs to the objectives that predict tokens, not to dpo")
        if self.phases and sum(phase.steps for phase in self.phases) != self.steps:
            raise ValueError(f"the phases have {sum(phase.steps for phase in self.phases)} steps, not {self.steps}")
        if (self.export == "average") != (self.average is not None):
            raise ValueError("`average` and export: average go together")
        if self.export == "best" and not self.data.validation:
            raise ValueError("export: best needs validation data to tell which is")
        if any(later.tokens <= earlier.tokens for earlier, later in pairwise(self.batch_ramp)):
            raise ValueError("the steps of batch_ramp must be in the order of their tokens")
        if (self.phases or self.batch_ramp) and self.objective not in ("lm", "mlm"):
            raise ValueError(f"phases and batch_ramp are for pretraining, not for {self.objective}")
        if self.objective not in ("lm", "mlm"):
            for prefixes, what in ((self.data.train, "training"), (self.data.validation, "validation")):
                if len(prefixes) > 1:
                    raise ValueError(f"{self.objective} takes one {what} prefix, got {len(prefixes)}")
        special = self.special_tokens
        if self.shape is not None and max(special.bos, special.pad, *special.eos) >= self.shape.vocab_size:
            raise ValueError(f"special_tokens are beyond the vocabulary of {self.shape.vocab_size}")
        return self

    def check_stage(self, zero_stage: int | None) -> None:
        """Whether the run can be divided at a ZeRO stage, its own or that of the checkpoint it goes on from.

        Raises:
            ValueError: it cannot.
        """
        parts = [self.data, *(phase.data for phase in self.phases if phase.data is not None)]
        problem = layout_problem(
            self.objective,
            self.optim.name,
            zero_stage=zero_stage,
            compiled=self.work.compile,
            sequence_parallel=self.work.sequence_parallel,
            seq_lens=[part.seq_len for part in parts],
            kv_heads=kv_heads_of(self.shape),
        )
        if problem:
            raise ValueError(problem)


def layout_problem(
    objective: Objective,
    optimizer: str,
    *,
    zero_stage: int | None,
    compiled: bool,
    sequence_parallel: int,
    seq_lens: Sequence[int],
    kv_heads: int | None,
) -> str:
    """Why a run cannot be divided over ranks as asked, for a person; empty when it can.

    Args:
        seq_lens: tokens in a row, of each phase.
        kv_heads: see `kv_heads_of`.
    """
    if optimizer == "muon" and zero_stage == 3:
        return "muon works at ZeRO stages 0 to 2, since stage 3 leaves no rank whole matrices: lower zero_stage"
    if compiled and zero_stage == 3:
        return "compile works at ZeRO stages 0 to 2, since stage 3 swaps weights while a block runs: lower zero_stage"
    if sequence_parallel > 1:
        if objective == "dpo" or kv_heads == NO_HEADS:
            return "parallel.sequence is for transformers that predict tokens, not for dpo or an LSTM: set it to 1"
        for seq_len in seq_lens:
            if seq_len % sequence_parallel:
                return f"parallel.sequence {sequence_parallel} does not divide rows of {seq_len} tokens: take a divisor"
        if kv_heads is not None and kv_heads % sequence_parallel:
            return (
                f"parallel.sequence {sequence_parallel} does not divide {kv_heads} key and value heads: take a divisor"
            )
    return ""


def kv_heads_of(shape: NetworkConfig | None) -> int | None:
    """Key and value heads, which ranks that share rows divide; `NO_HEADS` of an LSTM; None: not known yet."""
    if shape is None:
        return None
    return NO_HEADS if isinstance(shape, LSTMConfig) else shape.n_kv_heads
