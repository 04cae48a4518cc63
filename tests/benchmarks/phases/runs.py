"""Training runs that differ in their last phase, and intervals of what they differ by."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from infra.params import Runtime
from infra.process import tree_cpu_seconds
from model.transformer import Transformer
from tasks.evaluate.models import load
from tasks.evaluate.statistics import Difference, paired_difference
from tasks.pretrain import PretrainParams, pretrain
from tasks.training import Model
from tests.benchmarks.phases.corpora import Corpus

# One rank: what a second one costs in waiting is more than it brings to networks this small. The peak is not looked at.
RUNTIME = Runtime(world_size=1, peak_flops=1e12)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A trained model, with the training loss of each step."""

    model: Model
    losses: list[float]
    cpu_seconds: float

    def network(self, length: int) -> Transformer:
        """The network, on one thread, taking rows of `length` whatever it was trained at: its rotation goes on."""
        torch.set_num_threads(1)
        found = load(self.model)
        if length > found.config.max_seq_len:
            found.stretch(length)
        return found


def train(corpus: Corpus, params: PretrainParams) -> Run:
    """Run the stage `pretrain`, or take what an equal run has left in the store."""
    before = tree_cpu_seconds()
    made = pretrain.run(corpus.store, tokens=corpus.tokens, tokenizer=corpus.tokenizer, params=params, runtime=RUNTIME)
    spent = tree_cpu_seconds() - before
    model = Model(made.store, made.manifest)
    rows = [json.loads(line) for line in model.file("metrics.jsonl").read_text().splitlines()]
    return Run(model, [row["loss"] for row in rows], spent)


def apart(runs: Sequence[Run], steps: int) -> float:
    """The largest difference of the runs' training losses in their first steps (nats).

    0 for runs of one version of the code on one machine: then their main phases left the same weights.
    """
    losses = np.array([run.losses[:steps] for run in runs])
    return float((losses.max(axis=0) - losses.min(axis=0)).max())


@dataclass(frozen=True)
class Effect:
    """A difference: of each seed over the sampled units, of the seeds' mean over them, and over the seeds."""

    by_seed: list[Difference]
    pooled: Difference
    over_seeds: tuple[float, float] | None


def effect(before: Sequence[Floats], after: Sequence[Floats]) -> Effect:
    """What the change from `before` to `after` makes, each [seeds][units], units the same for all.

    Of each seed, and of the mean over the seeds, the interval is the paired bootstrap's over units (documents, trials);
    over seeds it is Student's of their means.
    """
    by_seed = [paired_difference(old.tolist(), new.tolist(), seed=0) for old, new in zip(before, after, strict=True)]
    pooled = paired_difference(np.mean(before, axis=0).tolist(), np.mean(after, axis=0).tolist(), seed=0)
    means = [one.value for one in by_seed]
    over_seeds = None
    if len(means) > 1:
        half = float(stats.t.ppf(0.975, len(means) - 1)) * float(np.std(means, ddof=1)) / math.sqrt(len(means))
        over_seeds = float(np.mean(means)) - half, float(np.mean(means)) + half
    return Effect(by_seed, pooled, over_seeds)


def effect_cells(found: Effect, digits: int = 3) -> list[str]:
    """An effect as cells of a table: by seed, pooled over units, over seeds."""

    def interval(low: float, high: float) -> str:
        return f"[{low:+.{digits}f}, {high:+.{digits}f}]"

    by_seed = "; ".join(f"{one.value:+.{digits}f} {interval(one.low, one.high)}" for one in found.by_seed)
    pooled = f"{found.pooled.value:+.{digits}f} {interval(found.pooled.low, found.pooled.high)}"
    return [by_seed, pooled, interval(*found.over_seeds) if found.over_seeds else "-"]


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)
