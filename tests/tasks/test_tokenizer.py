"""Learning a vocabulary: determinism, the split it may see, what it measures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors import BadInput
from infra.store import Store
from tasks.encoding import Encoder
from tasks.tokenizer import (
    SPLIT_PATTERNS,
    Group,
    SplitPattern,
    TokenizerParams,
    bytes_per_token,
    learn_bpe,
    picked,
    train_tokenizer,
)
from tests.tasks.mixtures import mixture
from tests.tasks.test_encoding import TEXTS

SMALL = TokenizerParams(vocab_size=500)


def documents(n: int, split: str = "train", text: str | None = None) -> list[dict[str, str]]:
    return [
        {
            "doc_id": f"{split}-{index:04d}",
            "text": text or TEXTS[index % len(TEXTS)],
            "split": split,
            "domain": "code" if index % 2 else "news",
            "language": "en",
        }
        for index in range(n)
    ]


def test_order_and_batches_of_the_text_do_not_matter() -> None:
    one = learn_bpe([TEXTS], 500).to_str()
    assert one == learn_bpe([[text] for text in reversed(TEXTS)], 500).to_str()


def test_the_number_of_threads_does_not_matter(tmp_path) -> None:
    program = (
        "import json, sys; from tasks.tokenizer import learn_bpe;print(learn_bpe([json.load(sys.stdin)], 500).to_str())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(TEXTS),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads, "PYTHONPATH": str(Path.cwd())},
        ).stdout
        for threads in ("1", "3")
    }
    assert len(outputs) == 1


def test_the_vocabulary_holds_all_bytes_and_the_asked_number_of_ids() -> None:
    tokenizer = learn_bpe([TEXTS], 500)
    encoder = Encoder(tokenizer)
    assert encoder.vocab_size == 500
    assert encoder.decode(encoder.encode("\x00\x01\u07ff\uffff\U0010ffff")) == "\x00\x01\u07ff\uffff\U0010ffff"


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("pattern", sorted(SPLIT_PATTERNS))
def test_no_token_holds_more_digits_than_asked(pattern: SplitPattern, digits: int) -> None:
    text = " ".join(f"year 20{year:02d} code 123456" for year in range(100)) * 3
    encoder = Encoder(learn_bpe([[text]], 400, pattern, digits))
    pieces = [encoder.decode([token]) for token in range(encoder.end_of_text)]
    longest = max(len(run) for piece in pieces for run in re.findall(r"\d+", piece))
    assert longest == digits


def test_merges_never_cross_a_word_border() -> None:
    encoder = Encoder(learn_bpe([["of the end. " * 500]], 400))
    assert [encoder.decode([token]) for token in encoder.encode("of the end.")] == ["of", " the", " end", "."]


def test_a_sample_grows_with_its_fraction_and_keeps_what_it_had() -> None:
    ids = [f"doc{index}" for index in range(2000)]
    small = {doc_id for doc_id in ids if picked(doc_id, 0.1, 0)}
    large = {doc_id for doc_id in ids if picked(doc_id, 0.3, 0)}
    assert small < large
    assert 140 < len(small) < 260
    assert all(picked(doc_id, 1.0, 0) for doc_id in ids)
    assert not any(picked(doc_id, 0.0, 0) for doc_id in ids)


def test_bytes_per_token_weights_groups_by_all_their_text() -> None:
    english, german = Group("train", "news", "en"), Group("train", "news", "de")
    ratios = bytes_per_token({english: (100, 25), german: (100, 50)}, {english: 3000, german: 1000})
    assert ratios["language"] == {"de": 2.0, "en": 4.0}
    assert ratios["split"] == {"train": round(4000 / (3000 / 4 + 1000 / 2), 4)}


def test_the_stage_learns_from_the_training_split_only(store: Store) -> None:
    heldout = documents(5, "test", text="zyzzyva zyzzyva qqqq " * 400)
    with_heldout = train_tokenizer.run(store, documents=mixture(store, [documents(12) + heldout]), params=SMALL)
    without = train_tokenizer.run(store, documents=mixture(store, [documents(12)]), params=SMALL)
    assert with_heldout.ref != without.ref
    assert with_heldout.file("tokenizer.json").read_bytes() == without.file("tokenizer.json").read_bytes()
    counts = with_heldout.manifest.counts
    assert (counts.in_.n, counts.used, counts.dropped, counts.out.n) == (17, 12, {"held_out": 5}, 500)


def test_the_stage_reports_bytes_per_token_of_every_group(store: Store) -> None:
    rows = [*documents(8), *documents(4, "validation"), *documents(4, "test", text="zyzzyva " * 50)]
    made = train_tokenizer.run(store, documents=mixture(store, [rows[:9], rows[9:]]), params=SMALL)
    ratios = made.manifest.metrics["bytes_per_token"]
    assert set(ratios) == {"split", "domain", "language"}
    assert set(ratios["split"]) == {"train", "validation", "test"}
    assert set(ratios["domain"]) == {"code", "news"}
    assert (
        ratios["split"]["train"] > 1.5 > ratios["split"]["test"] == 1.0
    )  # one byte a token: no merge was learnt for it


def test_sampled_training_text_is_counted(store: Store) -> None:
    mix = mixture(store, [documents(40), documents(7, "validation")])
    params = TokenizerParams(vocab_size=400, sample_bytes=10_000)
    made = train_tokenizer.run(store, documents=mix, params=params)
    counts = made.manifest.counts
    assert counts.dropped["held_out"] == 7
    assert counts.dropped["not_sampled"] == 40 - counts.used > 0
    assert 0 < made.manifest.metrics["learnt_from_bytes"] < 20_000


def test_a_mix_without_training_text_is_refused(store: Store) -> None:
    with pytest.raises(BadInput, match="no text to learn"):
        train_tokenizer.run(store, documents=mixture(store, [documents(3, "test")]), params=SMALL)
