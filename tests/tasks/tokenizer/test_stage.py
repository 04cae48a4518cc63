"""Learning a vocabulary: determinism, the split it may see, what it measures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infra.errors import BadInput
from infra.store import Store
from tasks.encoding import Encoder, write_hf_files
from tasks.split_patterns import SPLIT_PATTERNS
from tasks.tokenizer import TokenizerParams, learn_bpe, picked, train_tokenizer
from tasks.tokenizer import stage as tokenizer_stage
from tasks.tokenizer.stage import Group, bytes_per_token
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
def test_no_token_holds_more_digits_than_asked(pattern: str, digits: int) -> None:
    text = " ".join(f"year 20{year:02d} code 123456" for year in range(100)) * 3
    encoder = Encoder(learn_bpe([[text]], 400, pattern, digits))
    pieces = [encoder.decode([token]) for token in range(encoder.end_of_text)]
    longest = max(len(run) for piece in pieces for run in re.findall(r"\d+", piece))
    assert longest == digits


@pytest.mark.parametrize("alias", ["cl100k", "o200k", "r50k"])
def test_a_pattern_has_one_name_in_the_key(alias: str) -> None:
    name = TokenizerParams.model_validate({"split_pattern": alias}).split_pattern
    assert name in SPLIT_PATTERNS and TokenizerParams(split_pattern=name).split_pattern == name


CHINESE = (
    "\u6570\u636e\u7ed3\u6784\u662f\u8ba1\u7b97\u673a\u5b58\u50a8\u3001\u7ec4\u7ec7\u6570\u636e\u7684\u65b9\u5f0f\u3002"
)
THAI = (
    "\u0e42\u0e04\u0e23\u0e07\u0e2a\u0e23\u0e49\u0e32\u0e07\u0e02\u0e49\u0e2d\u0e21\u0e39\u0e25\u0e04\u0e37\u0e2d\u0e27"
    "\u0e34\u0e18\u0e35\u0e01\u0e32\u0e23\u0e08\u0e31\u0e14\u0e40\u0e01\u0e47\u0e1a\u0e02\u0e49\u0e2d\u0e21\u0e39\u0e25"
)


@pytest.mark.parametrize("pattern", sorted(SPLIT_PATTERNS))
@pytest.mark.parametrize("text", [CHINESE, THAI])
def test_scripts_without_spaces_come_back_whether_the_vocabulary_knows_them_or_not(pattern: str, text: str) -> None:
    unknown, known = Encoder(learn_bpe([TEXTS], 600, pattern)), Encoder(learn_bpe([[text * 9]], 600, pattern))
    for encoder in (unknown, known):
        assert encoder.decode(encoder.encode(text)) == text
        assert encoder.token_bytes()[encoder.encode(text)].sum() == len(text.encode())
    assert len(unknown.encode(text)) > 2 * len(text)  # bytes: three a character, some of them merged by chance
    assert len(known.encode(text)) < len(text)


def test_a_vocabulary_of_128k_learns_encodes_and_comes_back(tmp_path: Path) -> None:
    letters = np.random.default_rng(0).integers(ord("a"), ord("z") + 1, size=(100_000, 7), dtype=np.uint8)
    words = [word.tobytes().decode() for word in letters]
    write_hf_files(learn_bpe([[" ".join(words)]], 128_000, "qwen3_5", 1, min_frequency=1), tmp_path)
    encoder = Encoder.load(tmp_path)
    assert encoder.vocab_size == 128_000
    assert list(encoder.special_ids.values()) == list(range(127_996, 128_000))
    assert encoder.fast is not None
    text = " ".join(words[::50])
    assert max(encoder.encode(text)) > 1 << 16
    assert encoder.decode(encoder.encode(text)) == text
    assert encoder.encode(text) == Encoder(encoder.tokenizer).encode(text)


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


def test_the_manifest_says_which_program_encodes_and_that_texts_come_back(store: Store) -> None:
    made = train_tokenizer.run(store, documents=mixture(store, [documents(9)]), params=SMALL)
    metrics = made.manifest.metrics
    assert (metrics["encoder"], metrics["round_trip"]) == ("tiktoken", 1.0)
    assert metrics["compared_bytes"] == sum(len(row["text"].encode()) for row in documents(9))
    assert Encoder.load(made.path / "data").fast is not None


def test_should_ids_differ_after_all_the_merges_encode(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    proven = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, text: proven(self, text)[bool(self.fast) :])
    made = train_tokenizer.run(store, documents=mixture(store, [documents(2)]), params=SMALL)
    monkeypatch.undo()
    assert made.manifest.metrics["encoder"] == "tokenizers"
    assert Encoder.load(made.path / "data").fast is None
    assert "ids differ" in json.loads(made.file("encoder.json").read_text())["reason"]


def test_a_tokenizer_changed_afterwards_is_not_trusted_to_be_proven(store: Store, tmp_path: Path) -> None:
    write_hf_files(learn_bpe([TEXTS], 400), tmp_path)
    assert Encoder.load(tmp_path).fast is not None
    (tmp_path / "tokenizer.json").write_text(learn_bpe([TEXTS], 410).to_str(pretty=True))
    assert Encoder.load(tmp_path).fast is None


def test_comparing_stops_after_enough_text(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_stage, "COMPARED_BYTES", 1)
    made = train_tokenizer.run(store, documents=mixture(store, [documents(9)]), params=SMALL)
    assert made.manifest.metrics["compared_bytes"] == len(documents(1)[0]["text"].encode())
