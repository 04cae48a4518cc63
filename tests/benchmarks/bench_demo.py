"""What the demo's base model learns within its time: settings of `pretrain` at equal CPU, beside n-grams.

    make bench-demo ARGS="--store STORE"                      a store that holds a mix, such as the demo's own
    python -m tests.benchmarks.bench_demo --store STORE --settings FILE.yaml --cpu-seconds 100

A setting is the profile's `pretrain` section with some values changed, and `runtime` beside them; FILE.yaml maps names
to such changes. Each goes through the product's own stages (`tokenizer`, `tokens`, `pretrain`), the last one as the
command that a user gives (`sluice stage pretrain`). Its CPU seconds are those of the whole process tree: driver,
launcher, ranks. How many steps fit is found by two short runs before: their difference is what steps cost, the rest is
what starting costs. The schedule is as long as the run. With --cpu-seconds 0 a setting runs for as long as it says.

Held-out bits per byte are `evaluate`'s, of the same documents for all, in windows of the profile's seq_len whatever a
setting was trained with (or of --context tokens); "to the first" is the paired difference, with its standard error over
documents. Nothing is written to STORE. What --scratch holds is reused, costs too, so a bench that was stopped goes on.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from flows.config import PipelineConfig
from flows.resolving import merged, resolve
from infra.canonical import digest
from infra.params import Runtime
from infra.store import Store
from model.config import OptimConfig
from model.indexed import IndexedDataset
from tasks.evaluate.models import load
from tasks.evaluate.prediction import HeldOut, bits_per_byte, take_heldout, token_bits, token_bytes
from tasks.ngrams import ngram_log2_probabilities
from tasks.pretrain import PretrainParams
from tasks.tokenizer import Vocabulary, train_tokenizer
from tasks.tokens.files import Tokens, prefixes, token_files
from tasks.tokens.stage import tokens as tokens_stage
from tasks.training import Model
from tests.benchmarks.tree_cpu import measured

Bits = npt.NDArray[np.float64]

PROBES = (10, 110)  # steps of the two short runs
DEMO_CPU_SECONDS = 430.0  # what the demo has for its base model (docs/log.md)
MADE_HERE = ("tokenizer", "tokens", "pretrain")
SETTINGS: dict[str, dict[str, Any]] = {
    "the profile": {},
    "adamw 2e-3": {"optim": {"name": "adamw", "lr": 0.002}},
    "adamw 4e-3": {"optim": {"name": "adamw", "lr": 0.004}},
    "2 x 256": {"batch_size": 2},
    "8 x 256": {"batch_size": 8},
    "16 x 128": {"batch_size": 16, "seq_len": 128, "max_seq_len": 256},
}


COLUMNS = (
    "setting",
    "shape, parameters",
    "optimizer, lr",
    "batch",
    "steps",
    "tokens",
    "CPU s",
    "tokens/CPU s",
    "s",
    "bits a byte",
    "to the first",
)


@dataclass(frozen=True)
class Outcome:
    """One setting's run: what it was, what it cost over the process tree, -log2 p of each held-out token."""

    params: PretrainParams
    parameters: int
    tokens: int
    cpu_seconds: float
    wall_seconds: float
    bits: Bits


class Bench:
    """The token files and the held-out text that all settings share, and a store for each runtime."""

    def __init__(self, store: Store, documents: str, profile: PipelineConfig, scratch: Path) -> None:
        self.profile, self.scratch = profile, scratch
        self.shared = Store(linked(store.root, scratch / "shared", MADE_HERE))
        mix = self.shared.open(documents)
        tokenizer = train_tokenizer.run(self.shared, documents=mix, params=profile.tokenizer)
        tokens = tokens_stage.run(
            self.shared, documents=mix, tokenizer=tokenizer, params=profile.tokens, runtime=Runtime(cores=1)
        )
        self.roles = {"tokenizer": tokenizer.ref, "tokens": tokens.ref}
        self.tokens = Tokens(self.shared, tokens.manifest)
        self.encoder = Vocabulary(self.shared, tokenizer.manifest).encoder
        test = self._files(profile.evaluate.split)
        self.heldout: HeldOut = take_heldout(test, token_bytes(self.encoder), profile.evaluate.heldout_tokens)
        self._costs_file = scratch / "costs.json"
        self.costs = json.loads(self._costs_file.read_text()) if self._costs_file.exists() else {}

    def _files(self, split: str) -> list[IndexedDataset]:
        return [IndexedDataset(prefix) for prefix in prefixes(self.tokens, token_files(self.tokens, split))]

    def ngrams(self) -> dict[str, Bits]:
        """-log2 p of each held-out token by n-grams of the training tokens."""
        train = np.concatenate([np.asarray(file.tokens) for file in self._files("train")])
        found = ngram_log2_probabilities(train, self.heldout.tokens, self.encoder.vocab_size)
        return {name: -log2 for name, log2 in found.items()}

    def run(self, changes: Mapping[str, Any], cpu_seconds: float, context: int) -> Outcome:
        """Train one setting for about `cpu_seconds`, or for as long as it says when that is 0, and measure it."""
        runtime = dict(changes.get("runtime", {}))
        profile = self.profile.pretrain.model_dump(mode="json", exclude_unset=True)
        values = merged(profile, {name: value for name, value in changes.items() if name != "runtime"})
        if cpu_seconds:
            start, a_step = self._cost(values, runtime)
            values = of_length(values, max(1, round((cpu_seconds - start) / a_step)))
        model, cpu, wall = self._train(values, runtime)
        network = load(model)
        parameters = network.config.n_params
        network.stretch(context)
        bits = token_bits(network, self.heldout, self.encoder.end_of_text, context)
        seen = int(model.manifest.metrics["tokens"])  # type: ignore[arg-type]
        return Outcome(PretrainParams.model_validate(values), parameters, seen, cpu, wall, bits)

    def _cost(self, values: Mapping[str, Any], runtime: Mapping[str, Any]) -> tuple[float, float]:
        """CPU seconds of starting, and of a step. Settings that differ in rates and the like share the short runs."""
        alike = {**values, "optim": {"name": values.get("optim", {}).get("name", OptimConfig().name)}}
        seconds = []
        for steps in PROBES:
            short = of_length(alike, steps)
            known = self.costs.get(digest([short, runtime]))
            seconds.append(known[0] if known else self._train(short, runtime)[1])
        a_step = (seconds[1] - seconds[0]) / (PROBES[1] - PROBES[0])
        return seconds[0] - PROBES[0] * a_step, a_step

    def _train(self, values: Mapping[str, Any], runtime: Mapping[str, Any]) -> tuple[Model, float, float]:
        """(model, CPU seconds, wall seconds) of one run. The runtime is in no version, so each has its own store."""
        root = linked(self.shared.root, self.scratch / f"runs-{digest(runtime)}", ("pretrain",))
        settings = [f"{name}={json.dumps(value)}" for name, value in {**values, "runtime": runtime}.items()]
        command = [sys.executable, "-m", "flows.cli", "stage", "pretrain", "--store", str(root), "--json"]
        command += [word for role, ref in self.roles.items() for word in ("--in", f"{role}={ref}")]
        command += [word for setting in settings for word in ("--set", setting)]
        key = digest([values, runtime])
        log = self.scratch / f"{key}.log"
        cost = measured(command, log)
        if cost.status != 0:
            sys.exit(f"{' '.join(command)}: exit status {cost.status}; its last words:\n{log.read_text()[-2000:]}")
        result = json.loads(log.read_text().rstrip().splitlines()[-1])
        if not result["reused"]:
            self.costs[key] = [cost.cpu_seconds, cost.wall_seconds]
            self._costs_file.write_text(json.dumps(self.costs))
        store = Store(root)
        return Model(store, store.open(result["ref"]).manifest), *self.costs.get(key, (float("nan"), float("nan")))


def linked(source: Path, target: Path, without: Sequence[str]) -> Path:
    """A store whose stages are links to another's, but for those `without`, which are its own."""
    target.mkdir(parents=True, exist_ok=True)
    for stage in Store(source).stages():
        if stage not in without and not (target / stage).exists():
            (target / stage).symlink_to((source / stage).resolve(), target_is_directory=True)
    return target


def of_length(values: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Parameters of `pretrain` for a run of `steps`; phases keep their shares. Validated once, at its end."""
    found = {name: value for name, value in values.items() if name not in ("steps", "tokens")}
    found["validate_every"] = steps
    if not found.get("phases"):
        return found | {"steps": steps}
    shares = np.cumsum([phase["steps"] for phase in found["phases"]], dtype=float)
    ends = np.maximum(np.round(shares / shares[-1] * steps), np.arange(1, len(shares) + 1)).astype(int)
    lengths = np.diff(ends, prepend=0).tolist()
    return found | {"phases": [{**phase, "steps": n} for phase, n in zip(found["phases"], lengths, strict=True)]}


def main() -> None:
    """Measure and print a table in Markdown, a row as soon as it is known."""
    arguments = _arguments()
    profile = resolve("pipeline", arguments.profile)
    assert isinstance(profile, PipelineConfig)
    settings = yaml.safe_load(arguments.settings.read_text(encoding="utf-8")) if arguments.settings else SETTINGS
    names = arguments.only or list(settings)
    if unknown := set(names) - set(settings):
        sys.exit(f"--only {', '.join(sorted(unknown))}: the settings are {', '.join(settings)}")
    context = arguments.context or profile.pretrain.seq_len
    with tempfile.TemporaryDirectory(prefix="bench-demo-") as folder:
        bench = Bench(Store(arguments.store), arguments.documents, profile, arguments.scratch or Path(folder))
        heldout = bench.heldout
        machine = platform.processor() or platform.machine()
        n_train = sum(file.tokens for file in token_files(bench.tokens, "train"))
        print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}")
        print(f"{n_train:,} training tokens; held out: {len(heldout.n_bytes)} documents,", end=" ")
        print(f"{int(heldout.is_text.sum()):,} tokens, predicted in windows of {context}\n")
        print(f"| {' | '.join(COLUMNS)} |\n|{len(COLUMNS) * '---|'}", flush=True)
        first: Bits | None = None
        for name in names:
            outcome = bench.run(settings[name], arguments.cpu_seconds, context)
            first = outcome.bits if first is None else first
            print(row(name, outcome, heldout, first), flush=True)
        print()
        for name, bits in bench.ngrams().items():
            print(f"{name}: {bits_per_byte(bits, heldout).value:.3f} bits a byte")


def row(name: str, outcome: Outcome, heldout: HeldOut, first: Bits) -> str:
    """One line of the table."""
    params, optim = outcome.params, outcome.params.optim
    shape = params.shape
    width = f"{shape.hidden_size} x {shape.n_layers}" if shape.hidden_size else str(shape.preset or f"d{shape.depth}")
    rates = f"muon {optim.muon_lr:g}, {optim.lr:g}" if optim.name == "muon" else f"adamw {optim.lr:g}"
    lengths = "/".join(str(phase.seq_len or params.seq_len) for phase in params.phases) or str(params.seq_len)
    steps = params.steps or sum(phase.steps or 0 for phase in params.phases) or ""
    gap = bits_per_byte(outcome.bits - first, heldout)
    cells = [
        name,
        f"{width}, {outcome.parameters / 1e6:.2f} M",
        rates,
        f"{params.batch_size} x {lengths}",
        f"{steps:,}" if steps else "",
        f"{outcome.tokens / 1e6:.2f} M",
        f"{outcome.cpu_seconds:.0f}",
        f"{outcome.tokens / outcome.cpu_seconds:,.0f}",
        f"{outcome.wall_seconds:.0f}",
        f"{bits_per_byte(outcome.bits, heldout).value:.3f}",
        "" if outcome.bits is first else f"{gap.value:+.3f} ± {gap.stderr or 0:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="a store that holds a mix; only read")
    parser.add_argument("--documents", default="mix@latest", help="the mix")
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--settings", type=Path, help="YAML: name -> changes to the profile's pretrain section")
    parser.add_argument("--only", nargs="*", help="names of the settings to run, in this order; all")
    parser.add_argument("--cpu-seconds", type=float, default=DEMO_CPU_SECONDS, help="for each; 0: as long as it says")
    parser.add_argument("--context", type=int, help="tokens in a held-out window; the profile's seq_len")
    parser.add_argument("--scratch", type=Path, help="folder to work in and to go on from; a temporary one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
