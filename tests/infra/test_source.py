"""External files as inputs: identity, order, what is written of them, and how a part opens its bytes."""

import hashlib
from pathlib import Path

import pytest

from infra.errors import SluiceError
from infra.remote import Access, RemoteBuffer
from infra.stage import PartSource, Source
from infra.store.digests import DigestCache
from infra.store.manifest import InputFile
from tests.failing_server import HASTE, FailingServer


def remote(name: str, etag: str, size: int = 5, at: str = "https://example.org/") -> InputFile:
    return InputFile(name=name, etag=etag, bytes=size, path=at + name)


def test_a_local_file_is_its_bytes_and_a_remote_one_what_its_server_says(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"bread")
    local = Source.of_files([tmp_path / "b"], DigestCache(tmp_path / "d.json")).files[0]
    source = Source.of_inputs([remote("c", '"1"'), local, remote("a", '"2"')], Access(attempts=3))
    assert source.key() == [
        {"name": "a", "bytes": 5, "etag": '"2"'},
        {"name": "b", "sha256": hashlib.sha256(b"bread").hexdigest()},
        {"name": "c", "bytes": 5, "etag": '"1"'},
    ]
    first = source.part(source.files[0], 2, 4)
    assert first.origin() == {"name": "a", "bytes": 5, "etag": '"2"', "start": 2, "end": 4}
    assert first.access == Access(attempts=3) and first.label == "a[2:4]"
    assert set(source.part(local, 0, 5).origin()) == {"name", "sha256", "start", "end"}


def test_neither_server_nor_order_matter_and_a_file_twice_is_one() -> None:
    here = [remote("a", '"1"'), remote("b", '"1"'), remote("a", '"2"')]
    there = [remote(f.name, f.etag or "", at="s3://bucket/") for f in reversed(here)]
    assert Source.of_inputs(here).key() == Source.of_inputs(there).key() == Source.of_inputs(here + there).key()
    assert len(Source.of_inputs([remote("a", '"1"', 5), remote("a", '"1"', 6)]).files) == 2


def test_an_input_without_identity_is_refused() -> None:
    with pytest.raises(SluiceError, match="needs a sha256, or an etag and a size"):
        _ = InputFile(name="a", bytes=1, path="a").identity
    with pytest.raises(SluiceError, match="needs a sha256"):
        PartSource("a", "a", None, 0, 1).origin()


def test_the_address_with_its_credentials_reaches_the_part_but_no_file() -> None:
    secret = "https://me:hush@example.org/a?sig=hush"
    file = InputFile(name="a", etag='"1"', bytes=5, path="https://example.org/a", location=secret)
    assert "hush" not in file.model_dump_json() and "hush" not in repr(file)
    assert Source.of_inputs([file]).part(file, 0, 5).path == secret
    assert InputFile.model_validate_json(file.model_dump_json()).location is None


def test_a_part_opens_its_file_wherever_it_lies(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40
    for name in ("full", "empty"):
        (tmp_path / name).write_bytes(data if name == "full" else b"")
        with PartSource(name, str(tmp_path / name), "0" * 64, 0, 10).open() as found:
            assert found[:] == (data if name == "full" else b"")
    with (
        FailingServer({"/full": data}) as server,
        PartSource(
            "full", f"{server.url}/full", None, 100, 200, len(data), server.etag("/full"), HASTE
        ).open() as found,
    ):
        assert isinstance(found, RemoteBuffer)
        assert (len(found), found[100:200], found.find(b"\xff", 300)) == (len(data), data[100:200], 511)
        assert (server.log[0].start, server.log[0].stop) == (100, 200)
