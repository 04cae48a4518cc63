import pytest

from flows.places import is_reference, split_places
from tests.infra.test_store import made


def test_a_tag_may_hold_dots(store):
    artifact = made(store, "a")
    store.tag("v1.0", artifact.ref)
    artifacts, files = split_places(["word@v1.0"], store)
    assert [one.ref for one in artifacts] == [artifact.ref] and files is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("word", True),
        ("word@latest", True),
        ("word/0123", True),
        ("word/list.txt", False),
        ("words@v1.0", False),
        ("word@folder/list.txt", False),
        ("./word@v1.0", False),
        ("word.txt", False),
    ],
)
def test_references_and_paths(store, value, expected):
    made(store, "a")
    assert is_reference(value, store) is expected


def test_a_file_goes_before_a_reference(store, tmp_path, monkeypatch):
    made(store, "a")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "word@v1.0").touch()
    assert not is_reference("word@v1.0", store)
