"""How fast text becomes token files, beside `tiktoken` and `tokenizers` that only encode texts held in memory.

    make bench-tokens
    python -m tests.benchmarks.bench_tokens --texts pages.jsonl       lines of {"text": ...}

Without --texts the documents are the docstrings of the standard library, joined to pages and repeated. All three sides
encode the same texts with the same vocabulary, on one thread of this process, in turns; the figures are megabytes of
UTF-8 a CPU second of the best turn. Ours is everything from the mix's Parquet parts to finished .bin/.idx files. What
they hold is read back by the format's description (tests/tasks/tokens/test_stage.py) and compared with tiktoken's ids.

The stage encodes on Spark when there is much text: its CPU time over the process tree, JVM and workers included, is
measured too, at a tenth of the text and at all of it. The difference of the two is what more text costs; a first run of
a few pages has started the engine.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from infra.canonical import digest
from infra.params import Runtime
from infra.process import tree_cpu_seconds
from infra.store import Artifact, Store
from tasks.encoding import Encoder
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens import encode
from tasks.tokens.files import token_files
from tasks.tokens.groups import mark_done, write_group
from tasks.tokens.stage import TokensParams, token_dtype, tokens
from tests.benchmarks.bench_measure import standard_library_pages
from tests.tasks.mixtures import mixture
from tests.tasks.tokens.test_stage import read_megatron

PARTS = 8
GOAL_TIKTOKEN, GOAL_TOKENIZERS = 0.7, 2.5


def main() -> None:
    """Measure and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--texts", type=Path, help="JSONL with a text a line; default: docstrings")
    arguments.add_argument("--megabytes", type=float, default=30, help="of text, repeated as often as needed")
    arguments.add_argument("--vocab-size", type=int, default=32768)
    arguments.add_argument("--rounds", type=int, default=3, help="turns, of which the best counts")
    arguments.add_argument("--no-spark", action="store_true", help="leave the whole stage on Spark out")
    given = arguments.parse_args()
    unique = (
        [json.loads(line)["text"] for line in given.texts.open(encoding="utf-8")]
        if given.texts
        else [page for page in standard_library_pages() if page]
    )
    size = sum(len(text.encode()) for text in unique)
    texts = unique * max(1, round(given.megabytes * 1e6 / size))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"{len(texts)} documents, {megabytes:.1f} MB ({size / 1e6:.1f} MB of them different); tiktoken"
        f" {version('tiktoken')}, tokenizers {version('tokenizers')}, Python {platform.python_version()},"
        f" {os.cpu_count()} cores"
    )
    with tempfile.TemporaryDirectory(prefix="bench-tokens-") as folder:
        store = Store(Path(folder) / "store")
        mix = mixture(store, parts_of(texts))
        tokenizer = train_tokenizer.run(
            store, documents=mixture(store, parts_of(unique)), params=TokenizerParams(vocab_size=given.vocab_size)
        )
        bare = beside_peers(Path(folder), mix, tokenizer, texts, megabytes, given.rounds)
        if not given.no_spark:
            tenth = texts[: max(1, len(texts) // 10)]
            on_spark(store, [mixture(store, parts_of(tenth)), mix], tokenizer, bare)


def parts_of(texts: list[str]) -> list[list[dict[str, str]]]:
    """Documents in `PARTS` parts of about the same size."""
    rows = [
        {"doc_id": digest([k])[:32], "text": text, "split": "train", "domain": "general", "language": "en"}
        for k, text in enumerate(texts)
    ]
    return [rows[k * len(rows) // PARTS : (k + 1) * len(rows) // PARTS] for k in range(PARTS)]


def beside_peers(
    folder: Path, mix: Artifact, tokenizer: Artifact, texts: list[str], megabytes: float, rounds: int
) -> float:
    """The three sides in turns, and whether they say the same; returns bare tiktoken's megabytes a core-second."""
    encoder = Encoder.load(tokenizer.path / "data")
    assert encoder.fast is not None, "the learnt tokenizer should be proven"
    dtype = token_dtype(encoder.vocab_size)
    turn = iter(range(1_000_000))
    made: list[Path] = []

    def ours() -> None:
        keep = folder / f"keep-{next(turn)}"
        keep.mkdir()
        for part in range(mix.part_count):
            job = encode.EncodeJob(str(mix.store.root), mix.ref, tokenizer.ref, part, 0, str(keep), annealing=True)
            failure = encode.encode_job(job)
            assert failure is None, failure
        write_group(keep, 0, range(mix.part_count), dtype)
        mark_done(keep / "group-00000")
        made.append(keep / "group-00000/general/train-00000")

    fast, slow = encoder.fast, encoder.tokenizer
    sides: dict[str, Callable[[], object]] = {
        "Parquet to .bin/.idx": ours,
        "bare tiktoken, encode_ordinary": lambda: [fast.encode_ordinary(text) for text in texts],
        "tokenizers, encode_batch": lambda: slow.encode_batch(texts, add_special_tokens=False),
        "tokenizers, encode_batch_fast": lambda: slow.encode_batch_fast(texts, add_special_tokens=False),
    }
    seconds = {name: float("inf") for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            start = time.process_time()
            work()
            seconds[name] = min(seconds[name], time.process_time() - start)
    for name, cpu in seconds.items():
        print(f"  {name:32} {megabytes / cpu:7.1f} MB a core-second ({cpu:.2f} s)")
    own, bare, batch, fastest = seconds.values()
    print(f"  ours / bare tiktoken             {bare / own:7.2f}   goal: at least {GOAL_TIKTOKEN}")
    print(f"  ours / tokenizers' encode_batch  {batch / own:7.2f}   goal: at least {GOAL_TOKENIZERS}")
    print(f"  ours / its encode_batch_fast     {fastest / own:7.2f}")
    expected = [[*fast.encode_ordinary(text), encoder.end_of_text] for text in texts]
    assert read_megatron(made[-1]) == expected, "the files hold other ids"
    print(f"  {sum(map(len, expected)):,} ids read back as tiktoken has them")
    return megabytes / bare


def on_spark(store: Store, mixes: list[Artifact], tokenizer: Artifact, bare: float) -> None:
    """The whole stage with Spark's JVM and workers, on mixes of rising size.

    Args:
        bare: what tiktoken alone encodes, in megabytes a core-second.
    """
    encode.SPARK_FROM_BYTES = 0
    few = mixture(store, [[row] for row in parts_of(["A few words."] * PARTS)[0]])
    sizes, costs = [], []
    for documents in (few, *mixes):
        before = tree_cpu_seconds()
        made = tokens.run(
            store, documents=documents, tokenizer=tokenizer, params=TokensParams(), runtime=Runtime(cores=2)
        )
        costs.append(tree_cpu_seconds() - before)
        sizes.append(sum(file.n_bytes for file in token_files(made, "train")) / 1e6)
    print(f"  the engine's start               {costs[0]:7.2f} s of CPU")
    for size, cost in zip(sizes[1:], costs[1:], strict=True):
        print(f"  the stage on Spark, {size:6.1f} MB    {size / cost:7.1f} MB a core-second ({cost:.2f} s)")
    more = (sizes[-1] - sizes[1]) / (costs[-1] - costs[1])
    print(f"  what more text costs there       {more:7.1f} MB a core-second")
    print(f"  that / bare tiktoken             {more / bare:7.2f}   goal: at least {GOAL_TIKTOKEN}")


if __name__ == "__main__":
    main()
