"""The `pretrain` stage: a base model that continues text, learnt from token files.

Rows of `seq_len` tokens are cut from the training split's stream and shown in an order that depends on the seed alone
(`model/batching.py`), so `sluice trace` and `sluice explain` can say which step saw which page.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from infra.errors import BadConfig, BadInput
from infra.params import Params, Runtime
from infra.stage import Draft, stage
from model.config import LSTMConfig, ModelConfig, OptimConfig
from model.job import Data, Job
from tasks.shape import Shape
from tasks.tokenizer import Vocabulary
from tasks.tokens.files import Tokens, prefixes, read_index, token_files
from tasks.training import Model, run_job, special_tokens, work_of, write_token_bytes

Dtype = Literal["auto", "bfloat16", "float32"]


class PretrainParams(Params):
    """The model, what it sees and how it learns."""

    shape: Shape = Field(default_factory=Shape, description="Size of the network. Not used when it starts from one.")
    objective: Literal["causal", "masked"] = Field(
        "causal",
        description="causal: the next token. masked: BERT's (15 %, 80/10/10), for comparisons; it cannot write text.",
    )
    seq_len: int = Field(256, ge=8, description="Tokens in a row.")
    max_seq_len: int | None = Field(None, ge=8, description="Longest sequence the model will take; empty: seq_len.")
    batch_size: int = Field(16, ge=1, description="Rows in a global batch, over all ranks.")
    steps: int | None = Field(None, ge=1, description="Optimizer steps; empty: what `tokens` or `epochs` says.")
    tokens: int | None = Field(None, ge=1, description="Tokens to learn from, repeats included; empty: see `epochs`.")
    epochs: float = Field(1.0, gt=0, description="Passes over the training split, without steps and tokens.")
    optim: OptimConfig = Field(default_factory=OptimConfig, description="Optimizer and schedule.")
    document_mask: bool = Field(True, description="Attention stays inside a document.")
    dtype: Dtype = Field("auto", description="Of matrix products; auto: bfloat16 where the hardware has it.")
    validate_every: int | None = Field(None, ge=1, description="Steps between validations; empty: 10 in the run.")
    validation_rows: int | None = Field(64, ge=1, description="Held-out rows that a validation reads; empty: all.")
    seed: int = Field(0, ge=0, description="Of the initial weights and of the order of rows.")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is not None and self.tokens is not None:
            raise ValueError("give steps or tokens, not both")
        if self.max_seq_len is not None and self.max_seq_len < self.seq_len:
            raise ValueError(f"max_seq_len {self.max_seq_len} is below seq_len {self.seq_len}")
        if self.objective == "masked" and self.shape.architecture == "lstm":
            raise ValueError("an lstm reads forwards only: objective masked needs a transformer")
        return self


def steps_of(params: PretrainParams, n_rows: int) -> int:
    """Optimizer steps over a split of `n_rows` rows."""
    if params.steps is not None:
        return params.steps
    wanted = params.tokens if params.tokens is not None else params.epochs * n_rows * params.seq_len
    return max(1, math.ceil(wanted / (params.batch_size * params.seq_len)))


def shape_of(params: PretrainParams, vocab_size: int) -> ModelConfig | LSTMConfig:
    """The network's full configuration.

    Raises:
        BadConfig: sizes that do not fit each other.
    """
    try:
        return params.shape.network(vocab_size, params.max_seq_len or params.seq_len, params.objective == "causal")
    except ValueError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:3])  # pydantic's first line names a class
        raise BadConfig(f"pretrain.shape: {reason}") from error


@stage("pretrain", version=1, libraries=("torch", "deepspeed"), tables={})
def pretrain(
    tokens: Tokens, tokenizer: Vocabulary, model: Model | None, params: PretrainParams, runtime: Runtime, out: Draft
) -> None:
    """Train a base model on the training split, from nothing or from `model`.

    Raises:
        BadInput: the tokens are of another tokenizer or fewer than one row; the model has another vocabulary.
        SluiceError: training failed.
    """
    encoder = tokenizer.encoder
    if read_index(tokens)["vocab_size"] != encoder.vocab_size:
        raise BadInput(f"{tokens.ref} was not made with {tokenizer.ref}: their vocabularies differ in size")
    if model is not None and model.encoder.vocab_size != encoder.vocab_size:
        raise BadInput(f"{model.ref} has another vocabulary than {tokenizer.ref}")
    files = token_files(tokens, "train")
    held_out = token_files(tokens, "validation") if _has(tokens, "validation") else []
    n_tokens = sum(file.tokens for file in files)
    n_rows = max(0, n_tokens - 1) // params.seq_len
    if n_rows == 0:
        raise BadInput(f"{tokens.ref}: {n_tokens} training tokens do not fill one row of {params.seq_len}")
    steps = steps_of(params, n_rows)
    job = Job(
        objective="lm" if params.objective == "causal" else "mlm",
        shape=shape_of(params, encoder.vocab_size) if model is None else None,
        init_from=model.folder if model is not None else None,
        data=Data(
            train=prefixes(tokens, files),
            validation=prefixes(tokens, held_out),
            seq_len=params.seq_len,
            document_mask=params.document_mask,
            token_bytes=write_token_bytes(encoder, out.scratch / "token_bytes.npy"),
            validation_rows=params.validation_rows,
        ),
        special_tokens=special_tokens(encoder, chat=False),
        work=work_of(out, runtime, steps),
        optim=params.optim,
        batch_size=params.batch_size,
        steps=steps,
        validate_every=params.validate_every or max(1, steps // 10),
        seed=params.seed,
        dtype=params.dtype,
    )
    run_job(job, runtime, out, tokenizer.file("tokenizer.json").parent, chat=False)
    shown = min(n_rows, steps * params.batch_size)  # rows repeat only when all have been shown
    out.count(
        "tokens",
        n_tokens,
        dropped={
            "outside_rows": n_tokens - n_rows * params.seq_len,  # the first one, and a last row that would be short
            "not_reached": (n_rows - shown) * params.seq_len,
        },
        out=1,
        out_unit="models",
    )


def _has(tokens: Tokens, split: str) -> bool:
    return any(file["split"] == split and file["tokens"] > 1 for file in read_index(tokens)["files"])
