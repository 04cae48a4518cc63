"""Base classes of the two kinds of configuration a stage takes.

`Params` change the output and are part of an artifact's version; `Runtime` only changes how the work is done
(cores, world size, memory) and is recorded, not hashed. Both refuse unknown keys, and Prefect renders their field
descriptions as the form of a deployment: write units and sources there.
"""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Params(BaseModel):
    """Every value that changes what a stage writes. Subclass it beside the stage."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SparkRuntime(BaseModel):
    """How Spark is reached and how much it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    master: str | None = Field(None, description="Spark master URL; empty means local[cores] on this machine.")
    driver_memory: str = Field("2g", description="Heap of the driver JVM; in local mode, of all of Spark.")
    local_dirs: str | None = Field(None, description="Folder for shuffle files; empty means the temporary folder.")


class Parallel(BaseModel):
    """How ranks share one model, beside the batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: int = Field(
        1, ge=1, description="Ranks that share a row, each with a part of its positions (Ulysses); divides world_size."
    )
    tensor: int = Field(1, ge=1, description="Ranks that share a matrix; only 1 is built.")
    pipeline: int = Field(1, ge=1, description="Ranks that share the layers; only 1 is built.")

    @model_validator(mode="after")
    def _built(self) -> Self:
        for name in ("tensor", "pipeline"):
            if getattr(self, name) != 1:
                raise ValueError(f"{name} parallelism is not built: use ZeRO 3 or parallel.sequence to fit a model")
        return self


class Runtime(BaseModel):
    """How the work is done. Never changes a data stage's bytes; training is bit-equal at the same `world_size`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cores: int | None = Field(None, ge=1, description="Cores to use; empty means all that this process may use.")
    spark: SparkRuntime = Field(default_factory=SparkRuntime, description="The Spark session.")
    world_size: int | None = Field(
        None,
        ge=1,
        description="Training processes (ranks); empty: `cores`, in whole groups of parallel.sequence. More than the"
        " largest batch has rows are not started; while a growing batch has fewer, the others wait.",
    )
    threads_per_rank: int = Field(1, ge=1, description="Intra-op threads of each training process.")
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        description="Sequences a rank holds at once, in proportion fewer of longer phases than the first; empty means"
        " the whole of its share of the batch.",
    )
    zero_stage: Literal[0, 1, 2, 3] | None = Field(
        None, description="DeepSpeed ZeRO stage; empty: what the run began with, or 0 on one rank and 1 on more."
    )
    activation_checkpointing: bool = Field(
        False,
        description="Keep only each block's input while training and compute the rest again: less memory, slower.",
    )
    compile: bool = Field(False, description="torch.compile the blocks; pays on a GPU and in long runs (ZeRO 0 to 2).")
    parallel: Parallel = Field(default_factory=Parallel, description="How ranks share one model.")
    peak_flops: float | None = Field(
        None, gt=0, description="FLOP/s of one rank's device at its best, for MFU; empty: measured by a matrix product."
    )
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        description="Optimizer steps between checkpoints, which is what a kill costs at most; empty: a twentieth of the"
        " run, at most 500.",
    )
    keep_checkpoints: int = Field(2, ge=1, description="Checkpoints of a run in progress that are kept.")
    csv: bool = Field(False, description="Write a CSV file a metric, beside metrics.jsonl and TensorBoard's events.")
    launcher: Literal["torchrun", "deepspeed"] = Field("torchrun", description="What starts the ranks.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Verbosity of the log.")

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        together = self.parallel.sequence
        if self.world_size is not None and self.world_size % together:
            raise ValueError(
                f"world_size {self.world_size} is no multiple of parallel.sequence {together}, the ranks that share a"
                " row: change one of them"
            )
        return self


def first_problem(error: ValidationError, where: str = "") -> str:
    """The first of pydantic's complaints as one line: the place, what is wrong there, and what was given.

    Args:
        where: what the value that was validated is called; its fields follow after a dot.
    """
    first = error.errors()[0]
    place = ".".join(filter(None, [where, *map(str, first["loc"])]))
    message = first["msg"].removeprefix("Value error, ")  # a rule of ours, which names what it is about
    given = first.get("input")
    got = "" if isinstance(given, Mapping | BaseModel) else f" (got {given!r})"
    return f"{place}: {message}{got}" if place else f"{message}{got}"
