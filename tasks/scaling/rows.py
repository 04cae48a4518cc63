"""Finished pretraining runs as rows: what they were, what they took, and the held-out loss that came of it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from infra.canonical import canonical_json
from infra.errors import BadInput
from infra.store import Artifact
from model.config import LSTMConfig, ModelConfig, read_config
from tasks.pretrain import PretrainParams
from tasks.scaling.grid import counted_params, peak_rate
from tasks.scaling.isoflop import Run
from tasks.scaling.settings import NEAR

RUNS = pa.schema(
    [
        ("ref", pa.string()),
        ("role", pa.string()),  # grid, compared or heldout
        ("budget", pa.float64()),  # FLOP; of the grid: the mean of the runs of one budget; else the run's own
        ("params", pa.int64()),  # of the matrix products, output head included
        ("total_params", pa.int64()),
        ("tokens", pa.int64()),
        ("epochs", pa.float64()),
        ("flops", pa.float64()),
        ("loss", pa.float64()),  # held out, nats a token
        ("bits_per_byte", pa.float64()),
        ("optimizer", pa.string()),
        ("rate", pa.float64()),
        ("architecture", pa.string()),
        ("objective", pa.string()),  # causal or masked: losses of the two are of different tasks
        ("width", pa.int32()),
        ("depth", pa.int32()),
        ("mixture", pa.string()),  # JSON
        ("seed", pa.int64()),
        ("seconds", pa.float64()),  # training, on the machine that it ran on
    ]
)


@dataclass(frozen=True)
class RunRow:
    """One run; units are those of `RUNS`."""

    ref: str
    role: str
    budget: float
    params: int
    total_params: int
    tokens: int
    epochs: float
    flops: float
    loss: float
    bits_per_byte: float
    optimizer: str
    rate: float
    architecture: str
    objective: str
    width: int
    depth: int
    mixture: str
    seed: int
    seconds: float

    @property
    def as_run(self) -> Run:
        """For the fits."""
        return Run(float(self.params), float(self.tokens), self.flops, self.loss)


def read_run(model: Artifact, role: str) -> RunRow:
    """The row of a pretrained model.

    Raises:
        BadInput: it has no held-out loss, or was not trained from nothing in one phase at one batch size; or on masked
            tokens, and is not only compared.
    """
    params = PretrainParams.model_validate(model.manifest.params)
    metrics = model.manifest.metrics
    of_one_kind = not params.phases and not params.batch_ramp and "model" not in model.manifest.parents
    if not of_one_kind or (params.objective != "causal" and role != "compared"):
        raise BadInput(
            f"{model.ref}: only runs in one phase, at one batch size, from nothing, on next tokens, follow one"
            " scaling law"
        )
    if "val_loss" not in metrics:
        raise BadInput(f"{model.ref} has no held-out loss: its tokens have no validation split")
    network = network_of(model)
    flops = network.flops_per_token(params.seq_len) * metrics["tokens"]
    return RunRow(
        ref=model.ref,
        role=role,
        budget=flops,
        params=counted_params(network),
        total_params=network.n_params,
        tokens=metrics["tokens"],
        epochs=metrics["epochs"],
        flops=flops,
        loss=metrics["val_loss"],
        bits_per_byte=metrics.get("val_bits_per_byte", float("nan")),
        optimizer=params.optim.name,
        rate=peak_rate(params.optim),
        objective=params.objective,
        architecture="transformer" if isinstance(network, ModelConfig) else "lstm",
        width=network.hidden_size,
        depth=network.n_layers,
        mixture=canonical_json(params.mixture).decode(),
        seed=params.seed,
        seconds=metrics["training_seconds"],
    )


def network_of(model: Artifact) -> ModelConfig | LSTMConfig:
    """The network of a pretrained model."""
    return read_config(json.loads(model.file("model/config.json").read_text(encoding="utf-8")))


def budgets_of(rows: Sequence[RunRow]) -> list[list[RunRow]]:
    """Rows of one budget together, from the smallest: runs nearer than `NEAR` to the cheapest of their group."""
    groups: list[list[RunRow]] = []
    for row in sorted(rows, key=lambda row: (row.flops, row.ref)):
        if groups and row.flops < groups[-1][0].flops * NEAR:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [sorted(group, key=lambda row: (row.params, row.seed, row.ref)) for group in groups]


def check_given_once(models: Iterable[Artifact]) -> None:
    """Refuse a run that would weigh twice, or be fitted and then judged as unseen.

    Raises:
        BadInput: a run is given more than once, in whatever roles.
    """
    for ref, times in Counter(model.ref for model in models).items():
        if times > 1:
            raise BadInput(f"{ref} is given {times} times among runs, compared and heldout: give each run once")


def check_comparable(models: Iterable[Artifact]) -> None:
    """Refuse losses that mean different things.

    Raises:
        BadInput: two runs have another tokenizer, other tokens or rows of them to be measured on, or one exports other
            weights than its last ones.
    """
    first: Artifact | None = None
    for model in models:
        if first is None:
            first = model
        for role in ("tokenizer", "tokens"):
            if model.manifest.parents.get(role) != first.manifest.parents.get(role):
                raise BadInput(f"{model.ref} and {first.ref} have other {role}: their losses cannot be compared")
        for name in ("seq_len", "validation_rows", "export"):
            one, other = (run.manifest.params.get(name) for run in (model, first))
            if one != other:
                raise BadInput(f"{model.ref} has {name} {one}, {first.ref} {other}: their losses are not of one kind")


def check_one_family(rows: Sequence[RunRow]) -> None:
    """Refuse to fit one law to runs of several kinds.

    Raises:
        BadInput: two differ in more than size, length, seed and rate.
    """
    for row in rows:
        for name in ("architecture", "optimizer", "mixture"):
            one, other = getattr(row, name), getattr(rows[0], name)
            if one != other:
                raise BadInput(f"{row.ref} has {name} {one}, {rows[0].ref} {other}: one law is of runs of one kind")


def run_table(rows: Iterable[RunRow]) -> pa.Table:
    """Rows as `RUNS`, in the order given."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=RUNS)
