"""Token files: read back by the format's description, resumed, and the same however they were made."""

import struct
from pathlib import Path

import numpy as np
import pytest

from infra.canonical import digest
from infra.errors import BadInput
from infra.store import Artifact, Store
from tasks.encoding import Encoder
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens import stage as tokens_stage
from tasks.tokens.files import file_name, prefixes, read_index, token_files
from tasks.tokens.stage import TokensParams, group_parts, tokens
from tests.tasks.mixtures import mixture
from tests.tasks.test_encoding import HOSTILE, TEXTS

PARTS = [
    [
        {
            "doc_id": f"p{part}d{index}",
            "text": TEXTS[(part + index) % len(TEXTS)] if index != 3 else HOSTILE,
            "split": ("train", "train", "validation", "test")[index % 4],
            "domain": "code" if (part + index) % 3 == 0 else "general",
            "language": "en",
        }
        for index in range(6)
    ]
    for part in range(4)
]


def read_megatron(prefix: Path) -> list[list[int]]:
    """The documents of a .bin/.idx pair, by the published layout and nothing of ours."""
    index = prefix.with_name(prefix.name + ".idx").read_bytes()
    data = prefix.with_name(prefix.name + ".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, n_sequences, n_documents = struct.unpack("<QBQQ", index[9:34])
    assert version == 1
    size, letter = {8: (2, "H"), 4: (4, "i")}[code]
    lengths = struct.unpack(f"<{n_sequences}i", index[34 : 34 + 4 * n_sequences])
    pointers = struct.unpack(f"<{n_sequences}q", index[34 + 4 * n_sequences : 34 + 12 * n_sequences])
    documents = struct.unpack(f"<{n_documents}q", index[34 + 12 * n_sequences :])
    assert documents == tuple(range(n_sequences + 1))
    return [
        list(struct.unpack(f"<{length}{letter}", data[start : start + length * size]))
        for start, length in zip(pointers, lengths, strict=True)
    ]


@pytest.fixture
def mix(store: Store) -> Artifact:
    return mixture(store, PARTS)


@pytest.fixture
def tokenizer(store: Store, mix: Artifact) -> Artifact:
    return train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=500))


def group_bytes_of_one_part() -> int:
    return max(sum(len(row["text"].encode()) for row in part) for part in PARTS) + 1


def test_files_hold_each_document_once_in_order_with_its_end(store: Store, mix: Artifact, tokenizer: Artifact) -> None:
    made = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    encoder = Encoder.load(tokenizer.file("tokenizer.json").parent)
    seen = 0
    for split in ("train", "validation", "test"):
        for file, prefix in zip(token_files(made, split), prefixes(made, token_files(made, split)), strict=True):
            expected = [
                [*encoder.encode(row["text"]), encoder.end_of_text]
                for part in PARTS
                for row in part
                if (row["split"], row["domain"]) == (file.split, file.domain)
            ]
            assert read_megatron(prefix) == expected
            assert file.documents == len(expected)
            assert file.tokens == sum(map(len, expected))
            seen += len(expected)
    assert seen == sum(map(len, PARTS))
    assert read_index(made)["dtype"] == "uint16"
    assert read_index(made)["end_of_text"] == encoder.end_of_text


def test_the_table_says_which_tokens_are_which_document(store: Store, mix: Artifact, tokenizer: Artifact) -> None:
    made = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=1))
    encoder = Encoder.load(tokenizer.file("tokenizer.json").parent)
    table = made.read_table("documents").to_pylist()
    texts = {row["doc_id"]: row["text"] for part in PARTS for row in part}
    assert sorted(row["doc_id"] for row in table) == sorted(texts)
    for row in table:
        ids = np.fromfile(made.file(row["file"] + ".bin"), "<u2")[row["token_start"] : row["token_end"]]
        assert ids[-1] == encoder.end_of_text
        assert encoder.decode(ids[:-1].tolist()) == texts[row["doc_id"]]
        assert row["n_bytes"] == len(texts[row["doc_id"]].encode())
        assert PARTS[row["part"]][row["row"] // 2]["doc_id"] == row["doc_id"]


def test_counts_and_bytes_of_each_split_add_up(store: Store, mix: Artifact, tokenizer: Artifact) -> None:
    made = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    splits = made.manifest.metrics["splits"]
    for split, entry in splits.items():
        texts = [row["text"] for part in PARTS for row in part if row["split"] == split]
        assert entry["documents"] == len(texts)
        assert entry["bytes"] == sum(len(text.encode()) for text in texts)
    counts = made.manifest.counts
    assert counts.in_.n == counts.used == 24
    assert counts.out.n == sum(entry["tokens"] for entry in splits.values())
    assert counts.out.n == sum(entry["tokens"] for entry in made.manifest.metrics["domains"].values())


def test_the_stream_does_not_depend_on_how_text_is_batched(
    store: Store, mix: Artifact, tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    monkeypatch.setattr(tokens_stage, "BATCH_BYTES", 1)
    other_store = Store(tmp_path / "other")
    other_mix = mixture(other_store, PARTS)
    other_tokenizer = train_tokenizer.run(other_store, documents=other_mix, params=TokenizerParams(vocab_size=500))
    other = tokens.run(other_store, documents=other_mix, tokenizer=other_tokenizer, params=TokensParams())
    assert one.version == other.version
    assert [entry.sha256 for entry in one.files()] == [entry.sha256 for entry in other.files()]


def test_groups_cut_files_and_not_the_stream(store: Store, mix: Artifact, tokenizer: Artifact) -> None:
    whole = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    cut = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=1))
    assert len(token_files(cut, "train", "general")) == 4
    for domain in ("code", "general"):
        streams = [
            [ids for prefix in prefixes(made, token_files(made, "train", domain)) for ids in read_megatron(prefix)]
            for made in (whole, cut)
        ]
        assert streams[0] == streams[1]


def test_a_killed_run_continues_after_its_last_finished_group(
    store: Store, mix: Artifact, tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = TokensParams(group_bytes=1)
    written: list[int] = []
    real = tokens_stage.write_group

    def dies_at_two(folder: Path, number: int, *rest: object) -> None:
        written.append(number)
        if number == 2 and written.count(2) == 1:
            real(folder, number, *rest)  # everything of the group but its mark
            raise KeyboardInterrupt
        real(folder, number, *rest)

    monkeypatch.setattr(tokens_stage, "write_group", dies_at_two)
    with pytest.raises(KeyboardInterrupt):
        tokens.run(store, documents=mix, tokenizer=tokenizer, params=params)
    resumed = tokens.run(store, documents=mix, tokenizer=tokenizer, params=params)
    assert written == [0, 1, 2, 2, 3]
    monkeypatch.undo()
    fresh_store = Store(tmp_path / "fresh")
    fresh_mix = mixture(fresh_store, PARTS)
    fresh_tokenizer = train_tokenizer.run(fresh_store, documents=fresh_mix, params=TokenizerParams(vocab_size=500))
    fresh = tokens.run(fresh_store, documents=fresh_mix, tokenizer=fresh_tokenizer, params=params)
    assert [(e.path, e.sha256) for e in resumed.files()] == [(e.path, e.sha256) for e in fresh.files()]


@pytest.mark.parametrize(
    ("sizes", "limit", "groups"),
    [
        ([5, 5, 5], 10, [(0, 2), (2, 3)]),
        ([50, 1], 10, [(0, 1), (1, 2)]),
        ([1, 1, 1], 100, [(0, 3)]),
        ([0, 0], 1, [(0, 2)]),
        ([], 1, []),
    ],
)
def test_a_group_ends_with_the_part_that_fills_it(sizes: list[int], limit: int, groups: list[tuple[int, int]]) -> None:
    assert [(group.start, group.stop) for group in group_parts(sizes, limit)] == groups


@pytest.mark.parametrize("domain", ["../../etc", "a/b", ".", "..", "", "news & talk", "中文"])
def test_a_domain_cannot_lead_out_of_the_folder(domain: str, tmp_path: Path) -> None:
    path = (tmp_path / file_name(domain, "train", 0)).resolve()
    assert path.parent.parent == tmp_path.resolve()


def test_domains_with_different_names_have_different_files() -> None:
    names = ["a/b", "a%2Fb", "..", "%2E%2E", "", "%", "a b"]
    assert len({file_name(name, "train", 0) for name in names}) == len(names)


def test_a_mix_without_documents_is_refused(store: Store, tokenizer: Artifact) -> None:
    with pytest.raises(BadInput, match="nothing to tokenize"):
        tokens.run(store, documents=mixture(store, [[], []]), tokenizer=tokenizer, params=TokensParams())


def test_contract_equal_documents_give_equal_files(store: Store, mix: Artifact, tokenizer: Artifact) -> None:
    """When this fails on purpose, raise the version of the stage (tokenizer or tokens) and put the new digest here."""
    learnt = [entry.sha256 for entry in tokenizer.files() if entry.path != "encoder.json"]
    assert digest(learnt) == "a59d77045c91482a"
    assert tokenizer.manifest.code.stage_version == 2
    made = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=1))
    assert digest([[entry.path, entry.sha256] for entry in made.files()]) == "8720b3feb029737c"
