"""What annealing on the best documents makes of the loss on held-out ones like them.

    make bench-annealing
    python -m tests.benchmarks.bench_annealing --best novels.jsonl.gz textbooks.jsonl.gz --crawl-mix STORE mix@latest

The corpus is crawl-like text with a share of good text in it, which has an imported quality of 1, and the rest 0; the
stage mix marks the documents of the best quality, tokens writes them as split `anneal`. Every run begins with the same
main phase on everything, at a constant rate. Its last phase is one of

    anneal            the marked documents, rate to 0
    mixture, rate 0   everything, rate to 0: what the falling rate does by itself
    mixture           everything, at the main phase's rate: no annealing
    marked            the marked documents, at the main phase's rate: what the data do by themselves

All have the same number of steps, so the four are both values of both factors. Measured are nats a token of the
held-out documents of both kinds, paired document by document.

Without --best the good text is the docstrings of the standard library, without --crawl-mix the rest its source code.
"""

import argparse
import ast
import platform
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infra.process import tree_cpu_seconds
from infra.split import SplitParams
from infra.store import Store
from tasks.evaluate.prediction import token_bits
from tasks.mix import MixParams
from tasks.mix.stage import AnnealingParams
from tasks.pretrain import PretrainParams
from tasks.tokenizer import TokenizerParams
from tests.benchmarks.bench_measure import PAGE_CHARS, standard_library_pages
from tests.benchmarks.phases.corpora import Corpus, Document, cut, prepare, read_texts, texts_of
from tests.benchmarks.phases.runs import Run, apart, effect, effect_cells, print_table, train

ARMS = {
    "anneal": ("anneal", 0.0),
    "mixture, rate 0": ("train", 0.0),
    "mixture": ("train", 1.0),
    "marked": ("anneal", 1.0),
}
PAIRS = (
    ("mixture, rate 0", "anneal", "data, at a falling rate"),
    ("mixture", "marked", "data, at a constant rate"),
    ("mixture", "mixture, rate 0", "falling rate, on the mixture"),
    ("marked", "anneal", "falling rate, on the marked"),
    ("mixture", "anneal", "both"),
)
SHAPE = {"hidden_size": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "intermediate_size": 176}
SEQ_LEN, BATCH = 128, 16
BEST, REST = "best", "rest"
Nats = dict[str, np.ndarray]  # kind of document -> nats a token of each


def main() -> None:
    """Train, measure, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--best", type=Path, nargs="+", help=".jsonl or .jsonl.gz with a good text a line")
    parser.add_argument("--crawl-mix", nargs=2, metavar=("STORE", "REF"), help="text of an artifact, a mix or before")
    parser.add_argument("--best-share", type=float, default=0.15, help="of the bytes of all text")
    parser.add_argument("--best-chars", type=int, default=4000, help="a good text is cut to, so that there are many")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--main-steps", type=int, default=200, help="of 2,048 tokens")
    parser.add_argument("--last-steps", type=int, default=50)
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--store", type=Path, help="keep the artifacts there; what is there is not made again")
    given = parser.parse_args()
    began, cpu = time.monotonic(), tree_cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="bench-annealing-") as folder:
        bench(Store(given.store or Path(folder) / "store"), given)
    print(
        f"{time.monotonic() - began:.0f} s, {tree_cpu_seconds() - cpu:.0f} CPU s; torch {torch.__version__},"
        f" Python {platform.python_version()}"
    )


def documents_of(given: Any) -> list[Document]:
    """Crawl-like documents of quality 0, and as many good ones of quality 1 as make their share, evenly spaced."""
    rest = list(texts_of(*given.crawl_mix)) if given.crawl_mix else source_pages()
    best = (
        [text for path in given.best for text in read_texts(path)]
        if given.best
        else [page for page in standard_library_pages() if page]
    )
    best = [cut(text, given.best_chars) for text in best]
    wanted = given.best_share / (1 - given.best_share) * sum(len(text.encode()) for text in rest)
    n = min(len(best), max(1, round(wanted / (sum(len(text.encode()) for text in best) / len(best)))))
    chosen = [best[k * len(best) // n] for k in range(n)]
    return [
        *(Document(f"{REST}{number:06d}", text, quality=0.0) for number, text in enumerate(rest)),
        *(Document(f"{BEST}{number:06d}", text, quality=1.0) for number, text in enumerate(chosen)),
    ]


def source_pages() -> list[str]:
    """Source code of the standard library's modules without docstrings and comments, in pages."""
    pages = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        code = ast.unparse(tree)
        pages += [code[start : start + PAGE_CHARS] for start in range(0, len(code), PAGE_CHARS)]
    return pages


def params_of(arm: str, seed: int, given: Any) -> PretrainParams:
    """The parameters of a run."""
    split, end = ARMS[arm]
    last = {"name": "last", "steps": given.last_steps, "split": split, "rate": {"start": 1.0, "end": end}}
    return PretrainParams.model_validate(
        {
            "shape": SHAPE,
            "optim": {"name": "muon", "schedule": "constant"},
            "seq_len": SEQ_LEN,
            "batch_size": BATCH,
            "phases": [{"name": "main", "steps": given.main_steps}, last],
            "dtype": "float32",
            "validate_every": 1_000_000,
            "validation_rows": 8,
            "seed": seed,
        }
    )


def bench(store: Store, given: Any) -> None:
    """All runs, and what they differ by."""
    documents = documents_of(given)
    n_rest = sum(document.quality == 0 for document in documents)
    quantile = (n_rest + 0.5) / len(documents)  # all of the rest lies below it
    corpus = prepare(
        store,
        documents,
        MixParams(
            split=SplitParams(validation=0.02, test=0.25),
            annealing=AnnealingParams(quantile=quantile),
        ),
        TokenizerParams(vocab_size=given.vocab_size),
    )
    table = corpus.mix.read_table("documents", ["doc_id", "anneal"]).to_pylist()
    assert all(row["anneal"] == row["doc_id"].startswith(BEST) for row in table), "the mix marks the best"
    splits = corpus.tokens.manifest.metrics["splits"]
    tokens_a_step = SEQ_LEN * BATCH
    print(
        f"{n_rest} documents and {len(documents) - n_rest} good ones; training tokens {splits['train']['tokens']:,}, of"
        f" good ones {splits['anneal']['tokens']:,}; main phase {given.main_steps * tokens_a_step:,} tokens, last phase"
        f" {given.last_steps * tokens_a_step:,}"
    )
    nats: dict[str, list[Nats]] = {}
    for seed in range(given.seeds):
        runs = {}
        for arm in ARMS:
            runs[arm] = train(corpus, params_of(arm, seed, given))
            nats.setdefault(arm, []).append(document_nats(runs[arm], corpus))
            found = ", ".join(f"{kind} {values.mean():.3f}" for kind, values in nats[arm][-1].items())
            print(f"seed {seed}, {arm}: {found}; {runs[arm].cpu_seconds:.0f} CPU s", flush=True)
        most = apart(list(runs.values()), given.main_steps)
        print(f"seed {seed}: losses of the main phases differ by at most {most:.1e}")
    for kind in (BEST, REST):
        n = len(nats["anneal"][0][kind])
        rows = []
        for arm, by_seed in nats.items():
            means = [float(one[kind].mean()) for one in by_seed]
            rows.append([arm, "; ".join(f"{value:.3f}" for value in means), f"{np.mean(means):.3f}", ""])
        for before, after, name in PAIRS:
            found = effect([one[kind] for one in nats[before]], [one[kind] for one in nats[after]])
            rows.append([f"{name}: {after} - {before}", *effect_cells(found)])
        print_table(
            f"Nats a token on {n} held-out documents, {kind}; 95 % intervals",
            ["", "by seed", "mean of seeds, over documents", "over seeds"],
            rows,
        )


def document_nats(run: Run, corpus: Corpus) -> Nats:
    """Mean loss of each held-out document."""
    heldout, ids = corpus.held_out()
    bits = token_bits(run.network(SEQ_LEN), heldout, corpus.encoder.end_of_text)
    by_document = np.bincount(heldout.documents, bits) / np.bincount(heldout.documents) * np.log(2)
    return {
        kind: np.array([value for value, name in zip(by_document, ids, strict=True) if name.startswith(kind)])
        for kind in (BEST, REST)
    }


if __name__ == "__main__":
    main()
