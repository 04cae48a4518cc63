"""From tokens to documents: every token, ranges over file borders, rows of a training step."""

import numpy as np
import pytest

from infra.errors import BadInput
from infra.store import Artifact, Store
from model.data import TokenRows
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens.files import prefixes, token_files
from tasks.tokens.rows import read_rows
from tasks.tokens.stage import TokensParams
from tasks.tokens.stage import tokens as tokens_of
from tasks.tokens.trace import Position, parse_stream, row_documents, trace
from tests.tasks.mixtures import mixture
from tests.tasks.tokens.test_stage import PARTS, read_megatron


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    store = Store(tmp_path_factory.mktemp("store"))
    mix = mixture(store, PARTS)
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=500))
    return tokens_of.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=1))


def owners(split: str, domain: str | None, tokens: Artifact) -> list[tuple[str, int]]:
    """(doc_id, offset in the document) of every token of a stream, from the files themselves."""
    result = []
    for file, prefix in zip(
        token_files(tokens, split, domain), prefixes(tokens, token_files(tokens, split, domain)), strict=True
    ):
        ids = [row["doc_id"] for row in PARTS[file.group] if (row["split"], row["domain"]) == (file.split, file.domain)]
        for doc_id, document in zip(ids, read_megatron(prefix), strict=True):
            result += [(doc_id, offset) for offset in range(len(document))]
    return result


@pytest.mark.parametrize(("name", "domain"), [("general/train", "general"), ("code/train", "code"), ("train", None)])
def test_every_token_leads_to_its_document(tokens: Artifact, name: str, domain: str | None) -> None:
    expected = owners("train", domain, tokens)
    for offset in {0, len(expected) - 1, *range(0, len(expected), 61)}:
        found = trace(tokens, name, offset)
        assert (found.doc_id, found.offset) == expected[offset]
        assert PARTS[found.part][found.row // 2]["doc_id"] == found.doc_id


def test_borders_between_documents_and_files_belong_to_the_right_side(tokens: Artifact) -> None:
    expected = owners("train", None, tokens)
    borders = [i for i in range(1, len(expected)) if expected[i][1] == 0]
    for border in borders:
        for offset in (border - 1, border):
            found = trace(tokens, "train", offset)
            assert (found.doc_id, found.offset) == expected[offset]


def test_a_range_lists_all_its_documents_in_order(tokens: Artifact) -> None:
    expected = owners("train", None, tokens)
    for start, stop in [(0, len(expected)), (10, 11), (500, 1500), (len(expected) - 300, len(expected))]:
        found = row_documents(tokens, Position("train", start, stop))
        assert [document.doc_id for document in found] == list(
            dict.fromkeys(doc_id for doc_id, _ in expected[start:stop])
        )
        assert found[0].offset == expected[start][1]
        assert all(document.offset == 0 for document in found[1:])


def test_a_row_of_a_step_is_what_the_loader_shows(tokens: Artifact) -> None:
    rows = TokenRows(prefixes(tokens, token_files(tokens, "train")), seq_len=32)
    reading = read_rows(tokens, 32)
    for number in (0, 1, len(rows) // 2, len(rows) - 1):
        position = reading.position(number)
        np.testing.assert_array_equal(rows[number].tokens, rows.read(position.start, position.stop - 1))
        assert row_documents(tokens, position)


@pytest.mark.parametrize("name", ["/train", "general/", ""])
def test_a_malformed_stream_is_named(name: str) -> None:
    with pytest.raises(BadInput, match="DOMAIN/SPLIT"):
        parse_stream(name)


def test_positions_outside_are_named_with_the_size_of_the_stream(tokens: Artifact) -> None:
    size = sum(file.tokens for file in token_files(tokens, "test"))
    with pytest.raises(BadInput, match=f"has {size} tokens"):
        trace(tokens, "test", size)
    with pytest.raises(BadInput, match="not in"):
        trace(tokens, "test", -1)
    with pytest.raises(BadInput, match="it holds code/test"):
        trace(tokens, "law/train", 0)
