"""The `pretrain` stage: a base model that continues text, learnt from token files.

Rows of `seq_len` tokens are cut from the training split's stream and shown in an order that depends on the seed alone
(`model/batching.py`), so `sluice trace` and `sluice explain` can say which step saw which page.

A run may have phases: the usual three are the main one, a longer context with another base of the rotation, and
annealing to a learning rate of zero on the best data (Grattafiori et al. 2024, section 3.4; OLMo 2, section 4).
"""

from logging import Logger
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from infra.errors import BadConfig, BadInput
from infra.params import Runtime, first_problem
from infra.stage import Draft, stage
from model.averaging import Average
from model.config import LSTMConfig, ModelConfig, OptimConfig
from model.job import Phase
from model.outliers import SkipConfig
from model.schedule import phases_that_learn_nothing
from tasks.course import check_names, phase_steps, phases_of, readings_of, shown_of, steps_of
from tasks.row_order import RowOrder
from tasks.shape import Shape
from tasks.tokenizer import Vocabulary, vocabulary_of
from tasks.tokens.files import TokenFile, Tokens, prefixes, read_index, token_files
from tasks.training import Model, check_layout, make_job, run_job, special_tokens, work_of, write_token_bytes

Dtype = Literal["auto", "bfloat16", "float32"]


class PretrainParams(RowOrder):
    """The model, what it sees and how it learns."""

    shape: Shape = Field(default_factory=Shape, description="Size of the network. Not used when it starts from one.")
    objective: Literal["causal", "masked"] = Field(
        "causal",
        description="causal: the next token. masked: BERT's (15 %, 80/10/10), for comparisons; it cannot write text.",
    )
    max_seq_len: int | None = Field(
        None, ge=8, description="Longest sequence the model will take, in tokens; empty: its longest rows."
    )
    steps: int | None = Field(None, ge=1, description="Optimizer steps; empty: what `tokens` or `epochs` says.")
    tokens: int | None = Field(None, ge=1, description="Tokens to learn from, repeats included; empty: see `epochs`.")
    epochs: float = Field(1.0, gt=0, description="Passes over the training split, without steps and tokens.")
    ramp_rate: Literal["none", "sqrt"] = Field(
        "none",
        description="sqrt: while the ramp lasts, rates by the square root of the batch's share of its last size.",
    )
    skip: SkipConfig | None = Field(
        None, description="Leave out steps whose loss or gradient norm is an outlier; empty: take every step."
    )
    export: Literal["last", "best", "average"] = Field(
        "last",
        description="Weights of the model: the last step's, those of the lowest validation loss since the last change"
        " of context, or a mean of steps.",
    )
    average: Average | None = Field(None, description="Which steps are averaged, with export: average.")
    optim: OptimConfig = Field(default_factory=OptimConfig, description="Optimizer and schedule.")
    document_mask: bool = Field(True, description="Attention stays inside a document.")
    dtype: Dtype = Field("auto", description="Of matrix products; auto: bfloat16 where the hardware has it.")
    validate_every: int | None = Field(None, ge=1, description="Steps between validations; empty: 10 in the run.")
    validation_rows: int | None = Field(64, ge=1, description="Held-out rows that a validation reads; empty: all.")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is not None and self.tokens is not None:
            raise ValueError("give steps or tokens, not both")
        if self.phases and (self.steps is not None or self.tokens is not None):
            raise ValueError("the phases say how long the run is: leave steps and tokens out")
        if (self.export == "average") != (self.average is not None):
            raise ValueError("`average` and export: average go together")
        if self.max_seq_len is not None and self.max_seq_len < self.seq_len:
            raise ValueError(f"max_seq_len {self.max_seq_len} is below seq_len {self.seq_len}")
        if self.objective == "masked" and self.shape.architecture == "lstm":
            raise ValueError("an lstm reads forwards only: objective masked needs a transformer")
        if self.shape.architecture == "lstm" and (problem := _other_context(self, self.longest_at_first)):
            raise ValueError(problem)
        return self

    @property
    def longest_at_first(self) -> int:
        """Longest sequence of a new network, in tokens; a later phase makes a transformer's longer itself."""
        return max(self.max_seq_len or 0, self.seq_lens[0])

    @model_validator(mode="after")
    def _phases_learn(self) -> Self:
        lengths = zip(self.phases, phase_steps(self), strict=True)
        phases = [Phase(name=phase.name, steps=steps, rate=phase.rate) for phase, steps in lengths]
        for name in phases_that_learn_nothing(self.optim, phases):
            raise ValueError(
                f"phase {name}: its learning rate would be 0 at every step; give it a rate.start above 0, "
                "or the schedule before it an end above 0 (optim.min_lr_ratio)"
            )
        return self


def shape_of(params: PretrainParams, vocab_size: int) -> ModelConfig | LSTMConfig:
    """The network's full configuration.

    Raises:
        BadConfig: sizes that do not fit each other.
    """
    try:
        return params.shape.network(vocab_size, params.longest_at_first, params.objective == "causal")
    except ValidationError as error:
        raise BadConfig(first_problem(error, "pretrain.shape")) from error


def check_start(params: PretrainParams, model: Model) -> None:
    """Whether a run can go on from a model.

    Raises:
        BadConfig: it predicts other tokens, or its context does not hold the rows.
    """
    shape, longest = model.shape, model.shape.max_seq_len
    causal = isinstance(shape, LSTMConfig) or shape.causal
    if causal == (params.objective == "masked"):
        kind = "causal" if causal else "masked"
        raise BadConfig(f"pretrain.objective: {model.ref} was trained by the objective {kind}: go on with that")
    if isinstance(shape, LSTMConfig) and (problem := _other_context(params, longest)):
        raise BadConfig(f"pretrain: {problem}")
    if isinstance(shape, LSTMConfig) and params.seq_len > longest and not params.phases:
        raise BadConfig(f"pretrain.seq_len: {model.ref} is an LSTM for {longest} tokens: take rows of no more")
    stretched = any(phase.rope_theta is not None or phase.rope_scaling is not None for phase in params.phases[:1])
    if params.seq_lens[0] > longest and not stretched:
        raise BadConfig(
            f"pretrain.seq_len: {model.ref} has {longest} positions, and rows have {params.seq_lens[0]}: take shorter"
            " ones, or begin with a phase that sets rope_theta or rope_scaling"
        )


def _other_context(params: PretrainParams, longest: int) -> str:
    """Which phase would change an LSTM's context of `longest` tokens, for a person; empty when none would."""
    for phase, seq_len in zip(params.phases, params.seq_lens, strict=False):
        if seq_len > longest or phase.rope_theta is not None or phase.rope_scaling is not None:
            return f"phase {phase.name}: an lstm's context of {longest} tokens cannot be changed: keep to it"
    return ""


@stage("pretrain", version=4, libraries=("torch", "deepspeed"), tables={})
def pretrain(
    tokens: Tokens, tokenizer: Vocabulary, model: Model | None, params: PretrainParams, runtime: Runtime, out: Draft
) -> None:
    """Train a base model on the training split, from nothing or from `model`.

    Raises:
        BadInput: the tokens or the model are of another tokenizer; the tokens are fewer than one row; the best weights
            are wanted, but there is too little to validate on.
        BadConfig: the model cannot go on so (see `check_start`), the run shows its text too often, or cannot be divided
            as the runtime says.
        SluiceError: training failed.
    """
    encoder = tokenizer.encoder
    for artifact, does in ((tokens, "made"), *([(model, "trained")] if model is not None else [])):
        theirs = vocabulary_of(artifact)
        if not tokenizer.same_as(theirs):
            raise BadInput(f"{artifact.ref} was {does} with {theirs.ref}: give that as tokenizer, not {tokenizer.ref}")
    if model is not None:
        check_start(params, model)
    shape = shape_of(params, encoder.vocab_size) if model is None else model.shape
    check_layout("pretrain", "lm", params.optim, runtime, params.seq_lens, shape)
    check_names(params, tokens)
    readings = readings_of(params, tokens)
    held_out = held_out_files(tokens, params, out.log)
    steps = steps_of(params, readings[0].n_rows)
    shown_by = shown_of(params, readings, steps)
    shown_by.check()
    job = make_job(
        objective="lm" if params.objective == "causal" else "mlm",
        shape=shape if model is None else None,
        init_from=model.folder if model is not None else None,
        data=readings[0].data(
            tokens,
            validation=prefixes(tokens, held_out),
            document_mask=params.document_mask,
            token_bytes=write_token_bytes(encoder, out.scratch / "token_bytes.npy", shape.vocab_size),
            validation_rows=params.validation_rows,
        ),
        special_tokens=special_tokens(encoder, chat=False),
        work=work_of(out, runtime, steps),
        optim=params.optim,
        batch_size=params.batch_size,
        batch_ramp=params.batch_ramp,
        ramp_rate=params.ramp_rate,
        steps=steps,
        phases=phases_of(params, tokens, readings),
        skip=params.skip,
        export=params.export,
        average=params.average,
        validate_every=params.validate_every or max(1, steps // 10),
        seed=params.seed,
        dtype=params.dtype,
    )
    for stream in shown_by.streams:
        for domain, size in stream.left_out.items():
            told = "%s: the %d tokens of %s do not fill a row of %d: the mixture goes without"
            out.log.warning(told, tokens.ref, size, domain, stream.seq_len)
    run_job(job, runtime, out, tokenizer.folder, chat=False)
    # Rows repeat only when all have been shown. A phase that cuts other rows, or of some domains, is not counted here.
    n_tokens = sum(file.tokens for file in token_files(tokens, "train"))
    main = shown_by.streams[0]
    too_short = sum(main.left_out.values())
    in_files, in_rows = sum(file.tokens for file in main.files), main.n_rows * main.seq_len
    out.count(
        "tokens",
        n_tokens,
        dropped={
            "not_in_mixture": n_tokens - in_files - too_short,
            "shorter_than_a_row": too_short,  # domains that the mixture would draw from
            "outside_rows": in_files - in_rows,  # of each stream the first one, and a last row that would be short
            "not_reached": in_rows - main.shown_rows(shown_by.course.samples_of(0)) * main.seq_len,
        },
        out=1,
        out_unit="models",
    )


def held_out_tokens(tokens: Tokens) -> int:
    """Tokens of the validation split."""
    return sum(file["tokens"] for file in read_index(tokens)["files"] if file["split"] == "validation")


def holds_out_a_row(tokens: Tokens, seq_len: int) -> bool:
    """Whether the validation split fills a row of `seq_len` tokens and the label after it."""
    return held_out_tokens(tokens) > seq_len


def held_out_files(tokens: Tokens, params: PretrainParams, log: Logger) -> list[TokenFile]:
    """The validation split's files; none when they fill no phase's row. The log says which phases go without.

    Raises:
        BadInput: they do not fill the last phase's, and the weights to export are those that validate best.
    """
    short = [seq_len for seq_len in dict.fromkeys(params.seq_lens) if not holds_out_a_row(tokens, seq_len)]
    for seq_len in short:
        told = (
            f"the {held_out_tokens(tokens):,} tokens of {tokens.ref} for validation do not fill one row of {seq_len:,}"
        )
        if params.export == "best" and seq_len == params.seq_lens[-1]:
            raise BadInput(f"{told}, so nothing would tell which weights are best (export: best)")
        where = " in phases with such rows" if params.phases else ""
        log.warning("%s: there will be no validation%s", told, where)
    return [] if {*short} == {*params.seq_lens} else token_files(tokens, "validation")
