"""Token files: read back by the format's description, resumed, and the same however they were made."""

import errno
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.canonical import digest
from infra.errors import BadInput, EnvironmentProblem, SluiceError
from infra.params import Runtime
from infra.stage import Source
from infra.store import Artifact, Store
from model.indexed import IndexedDataset
from tasks.encoding import Encoder
from tasks.tokenizer import TokenizerParams, learn_bpe, train_tokenizer
from tasks.tokens import encode
from tasks.tokens import stage as tokens_stage
from tasks.tokens.files import file_name, prefixes, read_index, token_files
from tasks.tokens.groups import group_parts
from tasks.tokens.stage import TokensParams, tokens
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


def again(root: Path, params: TokensParams, runtime: Runtime | None = None) -> Artifact:
    """The same in another store."""
    store = Store(root)
    mix = mixture(store, PARTS)
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=500))
    return tokens.run(store, documents=mix, tokenizer=tokenizer, params=params, runtime=runtime)


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


def test_neither_batches_nor_workers_change_a_byte(
    store: Store, mix: Artifact, tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: object
) -> None:
    here = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    monkeypatch.setattr(encode, "BATCH_BYTES", 1)
    batched = again(tmp_path / "batched", params=TokensParams())
    monkeypatch.setattr(encode, "SPARK_FROM_BYTES", 0)
    on_spark = again(tmp_path / "spark", params=TokensParams(), runtime=Runtime(cores=2))
    for other in (batched, on_spark):
        assert here.version == other.version
        assert [entry.sha256 for entry in here.files()] == [entry.sha256 for entry in other.files()]


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


@pytest.mark.parametrize("where", ["encoding part 2", "writing group 2", "marking group 1"])
def test_a_killed_run_keeps_its_finished_parts_and_groups(
    store: Store, mix: Artifact, tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    params = TokensParams(group_bytes=1)
    done: list[str] = []

    def watched(name: str, place: object, real: Callable[..., Any], number_of: Callable[..., int]) -> None:
        def call(*given: Any) -> Any:
            step = f"{name} {number_of(*given)}"
            result = real(*given)
            done.append(step)
            if step == where and done.count(step) == 1:
                raise KeyboardInterrupt  # the files are there, and what says so is not
            return result

        monkeypatch.setattr(place, real.__name__, call)

    watched("encoding part", encode, encode.write_part, lambda folder, corpus, part, *rest: part)
    watched("writing group", tokens_stage, tokens_stage.write_group, lambda keep, number, *rest: number)
    watched("marking group", tokens_stage, tokens_stage.mark_done, lambda folder: int(folder.name[-5:]))
    with pytest.raises(KeyboardInterrupt):
        tokens.run(store, documents=mix, tokenizer=tokenizer, params=params)
    resumed = tokens.run(store, documents=mix, tokenizer=tokenizer, params=params)
    twice = {step for step in done if done.count(step) > 1}
    assert twice == ({where} if where != "marking group 1" else set())
    monkeypatch.undo()
    fresh = again(tmp_path / "fresh", params=params)
    assert [(e.path, e.sha256) for e in resumed.files()] == [(e.path, e.sha256) for e in fresh.files()]


def test_a_part_that_fails_is_named_and_the_others_are_kept(
    store: Store, mix: Artifact, tokenizer: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = encode.write_part, []

    def write_part(folder: Path, corpus: Artifact, part: int, *rest: Any) -> None:
        calls.append(part)
        if part == 1 and calls.count(1) == 1:
            raise failure
        real(folder, corpus, part, *rest)

    monkeypatch.setattr(encode, "write_part", write_part)
    failure: Exception = ValueError("a broken part")
    with pytest.raises(RuntimeError, match=r"tokens, part 1: (.|\n)*a broken part"):
        tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    assert sorted(calls) == [0, 1, 1, 2, 3]
    calls.clear()
    failure = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(EnvironmentProblem, match="finished parts are kept"):
        tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=2))
    calls.clear()
    failure = BadInput("no such column")
    with pytest.raises(SluiceError, match=r"^no such column$"):
        tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=3))


def test_a_worker_that_outlived_its_run_does_no_harm(
    store: Store, mix: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    job = encode.EncodeJob(str(store.root), mix.ref, tokenizer.ref, 0, 1, str(tmp_path), annealing=True)
    assert encode.encode_job(job) is None
    made = {path.name: path.read_bytes() for path in (tmp_path / "part-00000").rglob("*.*")}
    assert encode.encode_job(job) is None
    assert {path.name: path.read_bytes() for path in (tmp_path / "part-00000").rglob("*.*")} == made
    assert not list(tmp_path.glob("*.tmp"))


def test_documents_marked_for_the_last_phase_are_a_split_of_their_own(store: Store, tokenizer: Artifact) -> None:
    def marked(part: int, index: int) -> bool:
        return (part + index) % 3 == 0

    parts = [[{**row, "anneal": marked(p, index)} for index, row in enumerate(rows)] for p, rows in enumerate(PARTS)]
    made = tokens.run(store, documents=mixture(store, parts), tokenizer=tokenizer, params=TokensParams())
    plain = tokens.run(store, documents=mixture(store, PARTS), tokenizer=tokenizer, params=TokensParams())
    off = tokens.run(store, documents=mixture(store, parts), tokenizer=tokenizer, params=TokensParams(annealing=False))
    encoder = Encoder.load(tokenizer.file("tokenizer.json").parent)
    wanted = [row["text"] for rows in parts for row in rows if row["anneal"] and row["split"] == "train"]
    found = [
        encoder.decode(ids[:-1])
        for file, prefix in zip(token_files(made, "anneal"), prefixes(made, token_files(made, "anneal")), strict=True)
        for ids in read_megatron(prefix)
    ]
    assert sorted(found) == sorted(wanted) and wanted
    assert {e.path: e.sha256 for e in off.files()} == {e.path: e.sha256 for e in plain.files()}
    same = {e.path: e.sha256 for e in plain.files() if e.path.endswith((".bin", ".idx"))}
    assert same.items() <= {e.path: e.sha256 for e in made.files()}.items()
    assert made.manifest.counts == plain.manifest.counts
    assert made.manifest.metrics["domains"] == plain.manifest.metrics["domains"]
    for row in made.read_table("documents").to_pylist():
        ids = np.fromfile(made.file(row["file"] + ".bin"), "<u2")[row["token_start"] : row["token_end"]]
        assert encoder.decode(ids[:-1].tolist()) == PARTS[row["part"]][row["row"] // 2]["text"]


def test_a_vocabulary_beyond_65536_is_written_in_four_bytes(store: Store, tmp_path: Path) -> None:
    """Megatron's format has no uint32: int32 is what it uses for large vocabularies."""
    spec = json.loads(learn_bpe([TEXTS], 400).to_str())
    for token in spec["added_tokens"]:
        token["id"] += 100_000
    spec["model"]["vocab"] |= {f"\u0120unused{number}": number for number in range(396, 100_396)}
    (tmp_path / "large.json").write_text(json.dumps(spec))
    file = Source.of_files([tmp_path / "large.json"], store.digest_cache())
    mix = mixture(store, PARTS[:1])
    tokenizer = train_tokenizer.run(store, documents=mix, file=file, params=TokenizerParams())
    made = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    encoder = Encoder.load(tokenizer.path / "data")
    assert encoder.end_of_text == 100_396 == read_index(made)["end_of_text"]
    assert read_index(made)["dtype"] == "int32"
    (prefix,) = prefixes(made, token_files(made, "train", "general"))
    expected = [
        [*encoder.encode(row["text"]), 100_396]
        for row in PARTS[0]
        if (row["split"], row["domain"]) == ("train", "general")
    ]
    assert read_megatron(prefix) == expected
    assert [ids.tolist() for ids in IndexedDataset(prefix)] == expected


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
    assert tokenizer.manifest.code.stage_version == 4
    made = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=1))
    assert digest([[entry.path, entry.sha256] for entry in made.files()]) == "8720b3feb029737c"
