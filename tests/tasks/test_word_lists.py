import pytest

from infra.errors import BadInput
from infra.stage import Source
from tasks.word_lists import open_word_lists, word_lists


def source(store, tmp_path, **files):
    paths = []
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        paths.append(path)
    return Source.of_files(paths, store.digest_cache())


def test_files_become_lists_named_after_them(store, tmp_path):
    files = {"en": b"# rude\none two\n\nthree\n", "de.txt": "\ufeffdrei\r\nvier\r\n".encode()}
    artifact = word_lists.run(store, lists=source(store, tmp_path, **files))
    assert artifact.manifest.metrics["lists"] == {"de": 2, "en": 2}
    counts = artifact.manifest.counts
    assert (counts.in_.n, counts.dropped, counts.out.n) == (6, {"blank_or_comment": 2}, 4)
    lists = open_word_lists(artifact)
    assert {(entry.list, entry.text) for entry in lists.entries} == {
        ("de", "drei"),
        ("de", "vier"),
        ("en", "one two"),
        ("en", "three"),
    }
    assert open_word_lists(artifact) is lists


def test_equal_files_in_another_folder_are_the_same_lists(store, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = word_lists.run(store, lists=source(store, tmp_path / "a", en=b"one\n"))
    second = word_lists.run(store, lists=source(store, tmp_path / "b", en=b"one\n"))
    other = word_lists.run(store, lists=source(store, tmp_path / "b", en=b"two\n"))
    assert first.ref == second.ref != other.ref


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe\x00", "not UTF-8 text: byte 0"), (b"# nothing\n\n", "no entry")]
)
def test_what_is_no_list_is_refused(store, tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        word_lists.run(store, lists=source(store, tmp_path, en=content))
