"""The `sft` stage: from a model that continues text to one that answers (supervised fine-tuning).

The loss covers the assistant's turns and the `<|im_end|>` after each, as a mean over all such tokens of a global batch.
Conversations are packed whole into rows and attend only to themselves.
"""

import math

from pydantic import Field

from infra.errors import BadInput
from infra.params import Params, Runtime
from infra.stage import Draft, stage
from model.batching import pack_best_fit
from model.config import ModelConfig, OptimConfig
from model.job import Data
from tasks.chat_training import Chat, write_conversations
from tasks.pretrain import Dtype
from tasks.training import Model, check_layout, make_job, model_config, run_job, special_tokens, work_of

# Linear decay, no decay of weights (Tülu 3). Its rate, 5e-6, is an 8B's; a third of our pretraining peak is a guess.
SFT_OPTIM = OptimConfig(lr=1e-3, schedule="linear", warmup_steps=10, weight_decay=0.0)

LONGEST_ROW = 4096  # tokens, where nothing is said: a mask of a row takes its square


class SftParams(Params):
    """What is learnt and how."""

    seq_len: int | None = Field(
        None, ge=8, description="Tokens in a row; empty: all that the model takes, at most 4,096 (Tülu 3's)."
    )
    batch_size: int = Field(8, ge=1, description="Rows in a global batch, over all ranks.")
    epochs: float = Field(2.0, gt=0, description="Passes over the conversations (Tülu 3: 2).")
    steps: int | None = Field(None, ge=1, description="Optimizer steps instead of epochs.")
    optim: OptimConfig = Field(SFT_OPTIM, description="Optimizer and schedule.")
    dtype: Dtype = Field("auto", description="Of matrix products; auto: bfloat16 where the hardware has it.")
    validate_every: int | None = Field(None, ge=1, description="Steps between validations; empty: 4 in the run.")
    validation_rows: int | None = Field(64, ge=1, description="Held-out rows that a validation reads; empty: all.")
    seed: int = Field(0, ge=0, description="Of the order of rows.")


def row_length(wanted: int | None, shape: ModelConfig) -> int:
    """Tokens in a row.

    Raises:
        BadInput: more than the model takes.
    """
    if wanted is not None and wanted > shape.max_seq_len:
        raise BadInput(f"seq_len {wanted} is more than the {shape.max_seq_len} tokens that the model takes")
    return wanted or shape.max_seq_len


@stage("sft", version=3, libraries=("torch", "deepspeed", "tokenizers"), tables={})
def sft(model: Model, chat: Chat, params: SftParams, runtime: Runtime, out: Draft) -> None:
    """Teach a model to answer with the conversations of the training split.

    Raises:
        BadInput: no conversation fits the model.
        SluiceError: training failed.
    """
    encoder = model.encoder
    shape = model_config(model)
    seq_len = row_length(params.seq_len or min(shape.max_seq_len, LONGEST_ROW), shape)
    check_layout("sft", "sft", params.optim, runtime, [seq_len], shape)
    train = write_conversations(chat, "train.jsonl", encoder, seq_len, out.scratch / "train")
    held_out = write_conversations(chat, "validation.jsonl", encoder, seq_len, out.scratch / "validation")
    if not train.n_out:
        raise BadInput(f"{chat.ref}: none of its {train.n_in} training conversations fits {seq_len} tokens")
    n_rows = len(pack_best_fit(train.lengths, seq_len))
    steps = params.steps or max(1, math.ceil(params.epochs * n_rows / params.batch_size))
    job = make_job(
        objective="sft",
        init_from=model.folder,
        data=Data(
            train=[out.scratch / "train"],
            validation=[out.scratch / "validation"] if held_out.n_out else [],
            seq_len=seq_len,
            validation_rows=params.validation_rows,
        ),
        special_tokens=special_tokens(encoder, chat=True),
        work=work_of(out, runtime, steps),
        optim=params.optim,
        batch_size=params.batch_size,
        steps=steps,
        validate_every=params.validate_every or max(1, steps // 4),
        seed=params.seed,
        dtype=params.dtype,
    )
    run_job(job, runtime, out, model.folder, chat=True)
    out.metrics |= {"rows": n_rows, "trained_tokens": train.trained_tokens, "held_out_conversations": held_out.n_out}
    out.count("conversations", train.n_in, dropped=train.dropped, out=1, out_unit="models")
