"""What every training stage shares: a job file, a child process that is followed, and the files that it leaves.

The network and its engine are in `model/`, which imports nothing of ours; between the two are files. A stage writes a
job (`model/job.py`) and the data it names, starts the ranks (`infra/launch.py`), follows `metrics.jsonl`, and takes
over the result. While training, everything lies in the draft's `keep` folder: a killed run goes on from its last
checkpoint when the same stage is started again.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
from pydantic import ValidationError

import model as model_package
from infra.errors import BadConfig, BadInput, SluiceError
from infra.files import link_or_copy, write_text
from infra.launch import POLL_SECONDS, ChildError, free_port, run_child
from infra.params import Runtime, first_problem
from infra.process import usable_cores
from infra.settings import torch_extensions_dir
from infra.stage import Draft
from infra.store import Artifact
from model.config import LSTMConfig, ModelConfig, OptimConfig, read_config
from model.course import course_of
from model.job import Job, Objective, SpecialTokens, Work, kv_heads_of, layout_problem
from model.metrics import read_rows
from tasks.encoding import Encoder, write_hf_tokenizer

CHECKPOINTS_A_RUN = 20  # what a kill can cost is a twentieth of the run …
MOST_STEPS_BETWEEN_CHECKPOINTS = 500  # … and never more than this

# Files of a run's folder, written by model/engine.py and model/train.py.
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
NATIVE = "deepspeed"
STATE = "state.json"
CSV = "csv"
DONE = "done.json"
EXPORTED = "exported.json"
ERROR = "error.txt"


class Model(Artifact):
    """Role: a trained model, its tokenizer beside it."""

    accepts = ("imported-model", "pretrain", "sft", "dpo")  # in the order of the road

    @property
    def folder(self) -> Path:
        """The Hugging Face folder."""
        return self.file("model/config.json").parent

    @property
    def encoder(self) -> Encoder:
        return Encoder.load(self.folder)

    @property
    def shape(self) -> ModelConfig | LSTMConfig:
        """The network's configuration."""
        return read_config(_read_json(self.file("model/config.json")))


def model_config(model: Model) -> ModelConfig:
    """The shape of a model that predicts next tokens.

    Raises:
        BadInput: it is none: an LSTM, or trained on masked tokens.
    """
    shape = model.shape
    if not isinstance(shape, ModelConfig) or not shape.causal:
        kind = "trained on masked tokens" if isinstance(shape, ModelConfig) else "an LSTM"
        raise BadInput(f"{model.ref} is {kind}, which is there to compare losses with: it writes no text")
    return shape


def special_tokens(encoder: Encoder, chat: bool) -> SpecialTokens:
    """The ids that an exported model names. A chat model ends its turn; if it ends a document, it has ended too."""
    eos = [encoder.im_end, encoder.end_of_text] if chat else [encoder.end_of_text]
    return SpecialTokens(bos=encoder.end_of_text, eos=eos, pad=encoder.pad)


def write_token_bytes(encoder: Encoder, path: Path, rows: int) -> Path:
    """Save the encoder's `token_bytes` for the training process, 0 for spare ones of the embedding's `rows`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = encoder.token_bytes()
    np.save(path, np.pad(sizes, (0, rows - len(sizes))))
    return path


def world_size_of(runtime: Runtime, largest_batch: int) -> int:
    """Ranks to start: as told, else one a core in whole groups; never more groups than the largest batch has samples.

    Where batches grow, some ranks have a row without labels in the small ones, which changes no loss.
    """
    together = runtime.parallel.sequence
    groups = max(1, (runtime.world_size or runtime.cores or usable_cores()) // together)
    return min(groups, largest_batch) * together


def layout_of(
    objective: Objective,
    optim: OptimConfig,
    runtime: Runtime,
    seq_lens: Sequence[int] = (),
    kv_heads: int | None = None,
) -> str:
    """Why a run cannot be divided as the runtime says, for a person; empty when it can. See `layout_problem`."""
    return layout_problem(
        objective,
        optim.name,
        zero_stage=runtime.zero_stage,
        compiled=runtime.compile,
        sequence_parallel=runtime.parallel.sequence,
        seq_lens=seq_lens,
        kv_heads=kv_heads,
    )


def check_layout(
    stage: str,
    objective: Objective,
    optim: OptimConfig,
    runtime: Runtime,
    seq_lens: Sequence[int],
    shape: ModelConfig | LSTMConfig,
) -> None:
    """For a stage before it does anything: a flow has asked as far as its configuration says, here all is known.

    Raises:
        BadConfig: the run cannot be divided as the runtime says.
    """
    problem = layout_of(objective, optim, runtime, seq_lens, kv_heads_of(shape))
    if problem:
        raise BadConfig(f"runtime and {stage}: {problem}")


def make_job(**fields: Any) -> Job:
    """The job of these fields.

    Raises:
        BadConfig: parameters and runtime do not go together.
    """
    try:
        return Job(**fields)
    except ValidationError as error:
        raise BadConfig(f"training: {first_problem(error)}") from error


def largest_batch(job: Job) -> int:
    """Samples of the largest global batch that a job comes to."""
    return max(segment.batch_size for segment in course_of(job).segments)


def work_of(out: Draft, runtime: Runtime, steps: int) -> Work:
    """Where and how a run of `steps` works."""
    every = runtime.checkpoint_every or max(1, min(MOST_STEPS_BETWEEN_CHECKPOINTS, steps // CHECKPOINTS_A_RUN))
    return Work(
        folder=out.keep / "run",
        export=out.keep / "run" / "export",
        zero_stage=runtime.zero_stage,
        micro_batch_size=runtime.micro_batch_size,
        threads_per_rank=runtime.threads_per_rank,
        activation_checkpointing=runtime.activation_checkpointing,
        compile=runtime.compile,
        sequence_parallel=runtime.parallel.sequence,
        peak_flops=runtime.peak_flops,
        keep_checkpoints=runtime.keep_checkpoints,
        csv=runtime.csv,
        checkpoint_every=every,
    )


def run_job(job: Job, runtime: Runtime, out: Draft, tokenizer: Path, chat: bool) -> dict[str, Any]:
    """Train, and put the result into the draft: model/, checkpoint/, metrics.jsonl, tensorboard/.

    Args:
        tokenizer: folder with the tokenizer that goes beside the model.
        chat: whether the model answers; decides which template and end token its folder names.

    Returns:
        The last row of metrics.

    Raises:
        SluiceError: training failed; the message has the child's own reason.
    """
    folder = job.work.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / DONE).exists():
        _train(job, runtime, out)
    rows = read_rows(folder / METRICS)
    if not rows or rows[-1]["step"] != job.steps:
        raise SluiceError(f"training ended after {rows[-1]['step'] if rows else 0} of {job.steps} steps: see {folder}")
    for path in sorted(job.work.export.iterdir()):
        link_or_copy(path, out.path(f"model/{path.name}"))
    write_hf_tokenizer(tokenizer, out.path("model/config.json").parent, chat=chat)
    newest = folder / CHECKPOINTS / (folder / CHECKPOINTS / "latest").read_text(encoding="utf-8").strip()
    copied = [(newest / NATIVE, f"checkpoint/{NATIVE}"), (folder / TENSORBOARD, TENSORBOARD), (folder / CSV, CSV)]
    for source, name in copied:
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            link_or_copy(path, out.path(f"{name}/{path.relative_to(source).as_posix()}"))
    link_or_copy(newest / STATE, out.path(f"checkpoint/{STATE}"))
    link_or_copy(folder / METRICS, out.path(METRICS))
    # Timings are in all three; weights are not in this list: equal runs give equal ones.
    out.volatile(METRICS, f"{TENSORBOARD}/*", f"{CSV}/*", "checkpoint/*")
    _tell_metrics(job, out, rows)
    return rows[-1]


def _tell_metrics(job: Job, out: Draft, rows: Sequence[dict[str, Any]]) -> None:
    last = rows[-1]
    shape = read_config(_read_json(job.work.export / "config.json"))
    state = _read_json(job.work.folder / DONE)
    out.metrics |= {
        "steps": job.steps,
        "parameters": shape.n_params,
        "tokens": last["tokens"],
        "epochs": last["epoch"],
        "first_loss": rows[0]["loss"],
        "loss": next(row["loss"] for row in reversed(rows) if row["loss"] is not None),  # a step left out may lack it
        **{name: value for name, value in last.items() if name.startswith("val_")},
        **({} if job.export == "last" else _exported(job)),
        **({"phases": {phase.name: phase.steps for phase in job.phases}} if job.phases else {}),
        **({"skipped_steps": last["skipped_steps"]} if job.skip else {}),
        "training_seconds": last["seconds"],
        "world_size": state["world_size"],
        "dtype": state["dtype"],
    }


def _exported(job: Job) -> dict[str, Any]:
    """Which weights the model has, when not the last step's, and their held-out metrics for the last row's."""
    found = _read_json(job.work.folder / EXPORTED)
    return {"exported": found.pop("weights"), "exported_steps": found.pop("steps"), **found}


def _train(job: Job, runtime: Runtime, out: Draft) -> None:
    """Start the ranks and follow them to their end."""
    folder = job.work.folder
    (folder / ERROR).unlink(missing_ok=True)
    job_file = folder / "job.json"
    write_text(job_file, job.model_dump_json(indent=1))
    follower = Follower(folder / METRICS, job.steps, out)
    world_size = world_size_of(runtime, largest_batch(job))
    if runtime.world_size is not None and world_size < runtime.world_size:
        told = "runtime.world_size is %d, but no batch has more than %d rows: the other ranks are not started"
        out.log.warning(told, runtime.world_size, largest_batch(job))
    out.log.info("training for %d steps on %d ranks; log: %s", job.steps, world_size, folder / "train.log")
    meeting = meeting_place(folder)
    try:
        run_child(
            launch_command(job_file, world_size, runtime, meeting),
            env=child_environment(runtime, meeting),
            on_line=out.log.debug,
            stop_check=follower.look,
            log_path=folder / "train.log",
            succeeded=(folder / DONE).exists,
            poll_seconds=POLL_SECONDS,
        )
    except ChildError as error:
        if not (folder / ERROR).exists():
            raise
        reason = (folder / ERROR).read_text(encoding="utf-8").strip()
        raise SluiceError(f"training stopped: {reason} (whole output: {folder / 'train.log'})") from error
    finally:
        shutil.rmtree(meeting, ignore_errors=True)


def meeting_place(folder: Path) -> Path:
    """A new folder, below a run's, for the files that its processes find each other by; earlier attempts' are removed.

    Its name is new each time: ranks that were killed a moment ago may still be reading theirs.
    """
    for old in folder.glob("meeting-*"):
        shutil.rmtree(old)
    return Path(mkdtemp(prefix="meeting-", dir=folder))


def launch_command(job_file: Path, world_size: int, runtime: Runtime, meeting: Path) -> list[str]:
    """The command that starts the ranks of a job on this machine; `meeting`: see `meeting_place`."""
    program = ["model.train", str(job_file)]
    if runtime.launcher == "deepspeed":
        where = ["--num_accelerators", str(world_size), "--master_addr", "127.0.0.1", "--master_port", str(free_port())]
        where += ["--no_local_rank"]  # the environment says it
        return [sys.executable, "-m", "deepspeed.launcher.runner", *where, "--module", *program]
    if world_size == 1:
        return [sys.executable, "-m", *program]  # nothing to launch
    # By a file, not by torch's store, which listens on every interface and whose content the launcher unpickles.
    where = ["--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file", "--rdzv-endpoint", str(meeting / "launcher")]
    where += ["--rdzv-id", meeting.name, "--local-addr", "127.0.0.1", "--nproc-per-node", str(world_size)]
    return [sys.executable, "-m", "torch.distributed.run", *where, "-m", *program]


def child_environment(runtime: Runtime, meeting: Path) -> dict[str, str]:
    """Our environment, without what a launcher above us may have set, plus what the ranks need."""
    ranks = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"}
    inherited = {name: value for name, value in os.environ.items() if name not in ranks}
    house = str(Path(str(model_package.__file__)).parents[1])
    return inherited | {
        "SLUICE_WATCH_STDIN": "1",
        "SLUICE_MEETING": str(meeting / "ranks"),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # the launcher's, for the ranks
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "PYTHONPATH": os.pathsep.join([house, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(runtime.threads_per_rank),
        "TORCH_EXTENSIONS_DIR": str(torch_extensions_dir()),
    }


def build_extensions() -> None:
    """Compile what DeepSpeed needs on a CPU, once for this Python and torch: part of the installation (20 to 80 s)."""
    with TemporaryDirectory() as folder:
        env = child_environment(Runtime(), Path(folder))
        run_child([sys.executable, "-m", "model.train", "--build-extension"], env=env)


class Follower:
    """Reads new rows of a growing metrics.jsonl and tells the draft's progress."""

    def __init__(self, path: Path, steps: int, out: Draft) -> None:
        self.path, self.steps, self.out = path, steps, out
        self.offset = path.stat().st_size if path.exists() else 0

    def look(self) -> None:
        """Tell what is new; called about twice a second. Raises when another run has taken the draft over."""
        self.out.check_lock()
        row = self._newest()
        if row is None:
            return
        step = f"step {row['step']:,} of {self.steps:,}"
        loss = "none" if row["loss"] is None else f"{row['loss']:.4f}"  # of a step that was left out
        text = f"{step}: loss {loss}, {row['tokens_per_s']:,.0f} tokens/s"
        self.out.progress(row["step"], self.steps, text)

    def _newest(self) -> dict[str, Any] | None:
        """The last whole row that was not seen yet."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self.offset:
            self.offset = 0  # a resumed run has cut the file back
        if size == self.offset:
            return None
        with self.path.open("rb") as file:
            if self.offset:
                file.seek(self.offset - 1)
                if file.read(1) != b"\n":  # cut back and grown again between two looks: other rows lie here now
                    self.offset = 0
            file.seek(self.offset)
            new = file.read()
        end = new.rfind(b"\n") + 1
        self.offset += end
        lines = new[:end].splitlines()
        return json.loads(lines[-1]) if lines else None


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
