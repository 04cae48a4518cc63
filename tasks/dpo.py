"""The `dpo` stage: from answers to better answers, learnt from pairs (direct preference optimisation).

The reference is the model that training starts from; its log-probabilities of all answers are computed once, before the
first step, and kept with the checkpoints.
"""

import math
from typing import Self

from pydantic import Field, model_validator

from infra.errors import BadInput
from infra.params import Params, Runtime
from infra.stage import Draft, stage
from model.config import DPOConfig, OptimConfig
from model.job import Data
from tasks.chat_training import Chat, write_preferences
from tasks.pretrain import Dtype
from tasks.sft import row_length
from tasks.training import Model, check_layout, make_job, model_config, run_job, special_tokens, work_of

# One pass, warm-up, linear decay, no decay of weights (Tülu 3, section 5); the rate is for models of a few million
# parameters: what it does to held-out pairs is in docs/log.md.
DPO_OPTIM = OptimConfig(lr=5e-5, schedule="linear", warmup_steps=10, weight_decay=0.0)


class DpoParams(Params):
    """What is preferred and how it is learnt."""

    loss: DPOConfig = Field(default_factory=DPOConfig, description="The preference loss.")
    seq_len: int | None = Field(None, ge=8, description="Longest prompt and answer, in tokens; empty: the model's.")
    batch_size: int = Field(16, ge=1, description="Pairs in a global batch, over all ranks.")
    pairs: int | None = Field(
        None, ge=1, description="Pairs to learn from, spread evenly over what there is; empty: all."
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the pairs (more overfits fast).")
    steps: int | None = Field(None, ge=1, description="Optimizer steps instead of epochs.")
    optim: OptimConfig = Field(DPO_OPTIM, description="Optimizer and schedule.")
    dtype: Dtype = Field("auto", description="Of matrix products; auto: bfloat16 where the hardware has it.")
    validate_every: int | None = Field(None, ge=1, description="Steps between validations; empty: 4 in the run.")
    validation_pairs: int | None = Field(256, ge=1, description="Held-out pairs that a validation reads; empty: all.")
    seed: int = Field(0, ge=0, description="Of the order of pairs.")

    @model_validator(mode="after")
    def _no_z_loss(self) -> Self:
        if self.optim.z_loss:
            raise ValueError("optim.z_loss is for what predicts tokens, not for dpo: leave it out")
        return self


@stage("dpo", version=2, libraries=("torch", "deepspeed", "tokenizers"), tables={})
def dpo(model: Model, chat: Chat, params: DpoParams, runtime: Runtime, out: Draft) -> None:
    """Align a model with the preferences of the training split.

    Raises:
        BadInput: there is no usable pair.
        SluiceError: training failed.
    """
    encoder = model.encoder
    shape = model_config(model)
    seq_len = row_length(params.seq_len, shape)
    check_layout("dpo", "dpo", params.optim, runtime, [seq_len], shape)
    train = write_preferences(chat, "preferences-train.jsonl", encoder, seq_len, out.scratch / "train", params.pairs)
    held_out = write_preferences(chat, "preferences-validation.jsonl", encoder, seq_len, out.scratch / "validation")
    if not train.n_out:
        raise BadInput(f"{chat.ref}: none of its {train.n_in} training preferences can be used: {dict(train.dropped)}")
    steps = params.steps or max(1, math.ceil(params.epochs * train.n_out / params.batch_size))
    job = make_job(
        objective="dpo",
        init_from=model.folder,
        data=Data(
            train=[out.scratch / "train"],
            validation=[out.scratch / "validation"] if held_out.n_out else [],
            seq_len=seq_len,
            validation_rows=params.validation_pairs,
        ),
        special_tokens=special_tokens(encoder, chat=True),
        work=work_of(out, runtime, steps),
        optim=params.optim,
        dpo=params.loss,
        batch_size=params.batch_size,
        steps=steps,
        validate_every=params.validate_every or max(1, steps // 4),
        seed=params.seed,
        dtype=params.dtype,
    )
    run_job(job, runtime, out, model.folder, chat=True)
    out.metrics |= {"trained_tokens": train.trained_tokens, "held_out_pairs": held_out.n_out}
    out.count("preferences", train.n_in, dropped=train.dropped, out=1, out_unit="models")
