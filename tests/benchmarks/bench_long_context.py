"""What a `long` phase makes of a context: the loss beyond the old one, and needles found there.

    make bench-long-context
    python -m tests.benchmarks.bench_long_context --mix STORE mix@latest         text of your own
    python -m tests.benchmarks.bench_long_context --texts pages.jsonl.gz --part text

All runs are made by the stages mix, tokenizer, tokens and pretrain. Each begins with the same main phase, at the old
context; that it is the same is checked by its losses. Then, for equally many tokens and at the same rates:

    control   goes on at the old context
    abf       rows `--factor` times as long, a larger base of the rotation
    yarn      rows as long, YaRN's stretch of the wavelengths instead

`plain` is the main phase alone, rate and all as it stands. Models are compared on held-out documents that are as long
as the new context, document by document, by the loss of the tokens that stand beyond the old context. The control has
two chances: it reads the whole window, positions that it never saw included, or it slides, and sees at most the old
context.

Needles: names that have numbers, in synthetic documents (phases/copy_task.py); training as above, on such documents.
Without --mix and --texts the text is the docstrings of the standard library.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infra.process import tree_cpu_seconds
from infra.split import SplitParams
from infra.store import Store
from tasks.evaluate.long_context import Windows, by_position, document_means, take_windows, window_nll
from tasks.evaluate.needle import Answered, Trial, retrieve
from tasks.evaluate.statistics import wilson
from tasks.mix import MixParams
from tasks.pretrain import PretrainParams
from tasks.tokenizer import TokenizerParams
from tests.benchmarks.bench_measure import standard_library_pages
from tests.benchmarks.phases.copy_task import NAME_SHARE, NUMBERS_A_NAME, WRONG_ANSWERS, copy_documents, copy_trials
from tests.benchmarks.phases.corpora import Corpus, Document, prepare, read_texts, texts_of
from tests.benchmarks.phases.runs import Run, apart, effect, effect_cells, print_table, train

THETA = 10_000.0
ARMS = ("plain", "control", "abf", "yarn")
TEXT: dict[str, Any] = {
    "shape": {"hidden_size": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "intermediate_size": 176},
    "optim": {"name": "muon", "schedule": "constant"},
    "context": 128,
    "tokens_a_step": 2048,
}
NEEDLES: dict[str, Any] = {
    "shape": {"hidden_size": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "intermediate_size": 128},
    "optim": {"name": "muon", "schedule": "constant", "lr": 0.01},
    "context": 64,
    "tokens_a_step": 1024,
}
ITEMS_A_TOKEN = 1 / (1 + NAME_SHARE)  # a name with its number has two, a filler word one
HELD_OUT = 300  # copy documents more than are learnt from; a tenth of all is held out
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
PAIRS = (("control", "abf"), ("control", "yarn"), ("control, sliding", "abf"), ("control, sliding", "yarn"))


def main() -> None:
    """Train, measure, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["text", "needles", "both"], default="both")
    parser.add_argument("--mix", nargs=2, metavar=("STORE", "REF"), help="text of an artifact, a mix or before")
    parser.add_argument("--texts", type=Path, nargs="+", help=".jsonl or .jsonl.gz with a text a line")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--factor", type=int, default=4, help="new context over old")
    parser.add_argument("--yarn", action="store_true", help="run the arm yarn as well")
    parser.add_argument("--theta", type=float, help="new base; default: NTK-aware, 10,000 factor^(d / (d - 2))")
    parser.add_argument("--main-steps", type=int, default=300, help="text: of 2,048 tokens")
    parser.add_argument("--long-steps", type=int, default=80)
    parser.add_argument("--needle-main-steps", type=int, default=600, help="needles: of 1,024 tokens")
    parser.add_argument("--needle-long-steps", type=int, default=160)
    parser.add_argument("--trials", type=int, default=20, help="of each length and depth")
    parser.add_argument("--vocab-size", type=int, default=1024, help="of the text's tokenizer")
    parser.add_argument("--store", type=Path, help="keep the artifacts there; what is there is not made again")
    given = parser.parse_args()
    began, cpu = time.monotonic(), tree_cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="bench-long-context-") as folder:
        store = Store(given.store or Path(folder) / "store")
        if given.part in ("text", "both"):
            bench_text(store, given)
        if given.part in ("needles", "both"):
            bench_needles(store, given)
    print(
        f"{time.monotonic() - began:.0f} s, {tree_cpu_seconds() - cpu:.0f} CPU s; torch {torch.__version__},"
        f" Python {platform.python_version()}"
    )


def arms_of(given: Any) -> tuple[str, ...]:
    """The runs of a seed."""
    return ARMS if given.yarn else ARMS[:-1]


def params_of(arm: str, seed: int, settings: dict[str, Any], steps: tuple[int, int], given: Any) -> PretrainParams:
    """The parameters of a run: all but the last phase are the same for all arms."""
    context, long = settings["context"], settings["context"] * given.factor
    rows = settings["tokens_a_step"] // context
    head_size = settings["shape"]["hidden_size"] // settings["shape"]["n_heads"]
    theta = given.theta or THETA * given.factor ** (head_size / (head_size - 2))
    last = {"steps": steps[1], "rate": {"end": 0.0}}
    longer = {**last, "name": "long", "seq_len": long, "batch_size": rows // given.factor}
    phases: dict[str, list[dict[str, Any]]] = {
        "plain": [],
        "control": [{**last, "name": "short"}],
        "abf": [{**longer, "rope_theta": round(theta)}],
        "yarn": [{**longer, "rope_scaling": {"type": "yarn", "factor": given.factor, "original_max_seq_len": context}}],
    }
    return PretrainParams.model_validate(
        {
            "shape": settings["shape"],
            "optim": settings["optim"],
            "seq_len": context,
            "batch_size": rows,
            "phases": [{"name": "main", "steps": steps[0]}, *phases[arm]],
            "dtype": "float32",
            "validate_every": 1_000_000,
            "validation_rows": 8,
            "seed": seed,
        }
    )


def train_arms(corpus: Corpus, settings: dict[str, Any], steps: tuple[int, int], given: Any) -> list[dict[str, Run]]:
    """The runs of each seed, by arm."""
    found = []
    for seed in range(given.seeds):
        runs = {}
        for arm in arms_of(given):
            runs[arm] = train(corpus, params_of(arm, seed, settings, steps, given))
            print(f"seed {seed}, {arm}: loss {runs[arm].losses[-1]:.3f}, {runs[arm].cpu_seconds:.0f} CPU s", flush=True)
        print(f"seed {seed}: losses of the main phases differ by at most {apart(list(runs.values()), steps[0]):.1e}")
        found.append(runs)
    return found


def bench_text(store: Store, given: Any) -> None:
    """Loss beyond the old context."""
    if given.mix:
        texts = list(texts_of(*given.mix))
    elif given.texts:
        texts = [text for path in given.texts for text in read_texts(path)]
    else:
        texts = [page for page in standard_library_pages() if page]
    documents = [Document(f"{number:06d}", text) for number, text in enumerate(texts)]
    corpus = prepare(
        store,
        documents,
        MixParams(split=SplitParams(validation=0.02, test=0.1)),
        TokenizerParams(vocab_size=given.vocab_size),
    )
    steps = given.main_steps, given.long_steps
    describe(corpus, "text", TEXT, steps)
    compare_losses(corpus, train_arms(corpus, TEXT, steps, given), TEXT, given)


def describe(corpus: Corpus, name: str, settings: dict[str, Any], steps: tuple[int, int]) -> None:
    """Say what is learnt from, and how long."""
    train_split = corpus.tokens.manifest.metrics["splits"]["train"]
    main_phase, last = (count * settings["tokens_a_step"] for count in steps)
    print(
        f"{name}: {train_split['documents']:,} training documents of {train_split['tokens']:,} tokens; main phase"
        f" {main_phase:,} tokens at a context of {settings['context']}, last phase {last:,}"
    )


def compare_losses(corpus: Corpus, runs: Sequence[dict[str, Run]], settings: dict[str, Any], given: Any) -> None:
    """Loss on held-out documents that are as long as the new context."""
    context, long = settings["context"], settings["context"] * given.factor
    windows = take_windows(corpus.held_out()[0], long, corpus.encoder.end_of_text, most=2)
    losses: dict[str, list[np.ndarray]] = {}
    for by_arm in runs:
        for arm, run in by_arm.items():
            network = run.network(long)
            losses.setdefault(arm, []).append(window_nll(network, windows))
            if arm in ("plain", "control"):
                losses.setdefault(f"{arm}, sliding", []).append(window_nll(network, windows, context))
    print_losses(losses, windows, context)
    rows = []
    for before, after in PAIRS:
        if after not in losses:
            continue
        beyond = [[document_means(one, windows, context) for one in losses[arm]] for arm in (before, after)]
        rows.append([f"{after} - {before}, beyond {context}", *effect_cells(effect(*beyond))])
    for after in arms_of(given)[2:]:
        within = [[document_means(one, windows, 0, context) for one in losses[arm]] for arm in ("control", after)]
        rows.append([f"{after} - control, up to {context}", *effect_cells(effect(*within))])
    print_table(
        f"Loss (nats a token) on {windows.n_documents} held-out documents, paired by document; 95 % intervals",
        ["difference", "by seed", "mean of seeds, over documents", "over seeds"],
        rows,
    )


def print_losses(losses: dict[str, list[np.ndarray]], windows: Windows, context: int) -> None:
    """Loss by position, means over documents and seeds."""
    edges = [0, context // 4, context]
    while edges[-1] < windows.length:
        edges.append(min(2 * edges[-1], windows.length))
    rows = []
    for arm, by_seed in losses.items():
        curves = [[mean.value for mean in by_position(one, windows, edges)] for one in by_seed]
        rows.append([arm, *(f"{value:.3f}" for value in np.mean(curves, axis=0))])
    head = [f"{start} to {stop - 1}" for start, stop in pairwise(edges)]
    print_table("Loss by position (nats a token)", ["", *head], rows)


def bench_needles(store: Store, given: Any) -> None:
    """Needles beyond the old context."""
    context, long = NEEDLES["context"], NEEDLES["context"] * given.factor
    steps = given.needle_main_steps, given.needle_long_steps
    needed = sum(steps) * NEEDLES["tokens_a_step"]
    corpus = prepare(
        store,
        copy_documents(round(needed / long) + HELD_OUT, round(ITEMS_A_TOKEN * (long + 16)), seed=0),
        MixParams(split=SplitParams(validation=0.01, test=0.1)),
        TokenizerParams(vocab_size=640),
    )
    trials = copy_trials(corpus.encoder, [context, long // 2, long - 4], DEPTHS, given.trials, seed=1)
    describe(corpus, "copy task", NEEDLES, steps)
    runs = train_arms(corpus, NEEDLES, steps, given)
    compare_losses(corpus, runs, NEEDLES, given)
    answers: dict[str, list[list[Answered]]] = {}
    for by_arm in runs:
        for arm, run in by_arm.items():
            answers.setdefault(arm, []).append(retrieve(run.network(long), trials, corpus.encoder.pad))
    print_grid(trials, answers)
    far = [number for number, trial in enumerate(trials) if trial.distance > context]
    rows = []
    for measure in ("exact", "ranked"):
        hits = {
            arm: [np.array([float(getattr(one[number], measure)) for number in far]) for one in by_seed]
            for arm, by_seed in answers.items()
        }
        for arm, by_seed in hits.items():
            shares = "; ".join(
                f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
                for share in (wilson(int(one.sum()), len(one)) for one in by_seed)
            )
            rows.append([f"{measure}: {arm}", shares, f"{np.mean(by_seed):.3f}", ""])
        for arm in arms_of(given)[2:]:
            rows.append([f"{measure}: {arm} - control", *effect_cells(effect(hits["control"], hits[arm]))])
    print_table(
        f"Needles that stand more than {context} tokens back: share found in {len(far)} trials, 95 % intervals"
        f" (Wilson's; of differences, the paired bootstrap's). By chance 1 of {NUMBERS_A_NAME} is exact, 1 of"
        f" {WRONG_ANSWERS + 1} ranked first.",
        ["", "by seed", "mean of seeds", "over seeds"],
        rows,
    )


def print_grid(trials: Sequence[Trial], answers: dict[str, list[list[Answered]]]) -> None:
    """Exact answers by length and depth, all seeds together."""
    places = sorted({(trial.length, trial.depth) for trial in trials})
    rows = []
    for arm, by_seed in answers.items():
        cells = []
        for place in places:
            hits = [
                one.exact
                for answered in by_seed
                for trial, one in zip(trials, answered, strict=True)
                if (trial.length, trial.depth) == place
            ]
            share = wilson(sum(hits), len(hits))
            cells.append(f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]")
        rows.append([arm, *cells])
    flipped = [[f"{length}, {depth}", *(row[1 + k] for row in rows)] for k, (length, depth) in enumerate(places)]
    print_table("Exact answers, all seeds", ["length, depth", *answers], flipped)


if __name__ == "__main__":
    main()
