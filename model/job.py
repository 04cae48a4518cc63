"""One training run, written down: everything the training process needs to know, in one JSON file.

The stage writes it, `python -m model.train JOB.json` reads it. Paths are absolute. Unknown keys are refused.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.config import DPOConfig, NetworkConfig, OptimConfig


class Strict(BaseModel):
    """Frozen, and without room for a misspelt key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Strict):
    """What is learnt from and what is held out, as prefixes of indexed files (`model/indexed.py`)."""

    train: list[Path] = Field(min_length=1, description="One prefix for sft and dpo; any number for lm.")
    validation: list[Path] = Field(default_factory=list, description="Held-out data; empty: no validation.")
    seq_len: int = Field(ge=2, description="Positions in a row, in tokens.")
    document_mask: bool = Field(True, description="Whether attention stays inside a document (lm).")
    token_bytes: Path | None = Field(None, description=".npy int [vocab]: UTF-8 bytes of each token, 0 for specials.")
    validation_rows: int | None = Field(None, ge=1, description="Validate on the first rows only; empty: on all.")


class SpecialTokens(Strict):
    """Ids that the exported model names, and that rows are filled up with."""

    bos: int = Field(ge=0, description="What a text begins after.")
    eos: list[int] = Field(min_length=1, description="What ends a generation.")
    pad: int = Field(ge=0, description="What fills rows up.")


class Work(Strict):
    """Where the run works and how its processes are laid out; nothing here changes what is learnt."""

    folder: Path = Field(description="metrics.jsonl, checkpoints/ and tensorboard/; kept across attempts.")
    export: Path = Field(description="Where the Hugging Face folder is written at the end.")
    zero_stage: Literal[0, 1, 2, 3] = Field(1, description="DeepSpeed ZeRO stage.")
    micro_batch_size: int | None = Field(None, ge=1, description="Samples a rank holds at once; empty: its share.")
    threads_per_rank: int = Field(1, ge=1, description="Intra-op threads of each rank.")
    checkpoint_every: int = Field(ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Checkpoints kept.")
    tensorboard: bool = Field(True, description="Write TensorBoard events beside metrics.jsonl.")
    activation_checkpointing: bool = Field(False, description="Keep a block's input only, compute it again backwards.")
    compile: bool = Field(False, description="torch.compile each block; at ZeRO stages 0 to 2.")


class Job(Strict):
    """A whole run."""

    objective: Literal["lm", "mlm", "sft", "dpo"]
    shape: NetworkConfig | None = Field(None, description="Shape of a network to start from nothing.")
    init_from: Path | None = Field(None, description="Hugging Face folder to start from.")
    data: Data
    special_tokens: SpecialTokens
    work: Work
    optim: OptimConfig
    dpo: DPOConfig | None = None
    batch_size: int = Field(ge=1, description="Samples (rows or pairs) in a global batch.")
    steps: int = Field(ge=1, description="Optimizer steps of the whole run.")
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
        if self.optim.name == "muon" and self.work.zero_stage == 3:
            raise ValueError("muon works at ZeRO stages 0 to 2: stage 3 leaves no rank whole matrices")
        if self.shape is not None and self.shape.causal == (self.objective == "mlm"):
            raise ValueError("masked tokens (mlm) are for a shape with causal: false, and only they are")
        if self.objective == "dpo" and self.optim.z_loss:
            raise ValueError("z_loss belongs to the objectives that predict tokens, not to dpo")
        if self.work.compile and self.work.zero_stage == 3:
            raise ValueError("compile works at ZeRO stages 0 to 2: stage 3 swaps weights while a block runs")
        if self.objective not in ("lm", "mlm") and len(self.data.train) != 1:
            raise ValueError(f"{self.objective} takes one training prefix, got {len(self.data.train)}")
        return self
