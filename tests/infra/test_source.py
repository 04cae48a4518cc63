"""External files as inputs: identity, order, what is written of them, and how a part opens its bytes."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.errors import BadInput, SluiceError
from infra.params import Params
from infra.remote import Access, Changed, RemoteBuffer
from infra.stage import Draft, PartSource, Source, stage
from infra.store import Store, digests
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


def rewrite(path: Path) -> None:
    path.write_bytes(b"stone")
    os.utime(path, ns=(1, 1))  # the clock of a filesystem may not have ticked since


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"stone")
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` and `rsync -t` do
    other.replace(path)


def grow(path: Path) -> None:
    path.write_bytes(b"breads")


CHANGES = [(rewrite, "it was written to"), (replace, "another file took its place"), (grow, "5 bytes became 6")]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_part_does_not_read_another_file_than_was_digested(
    tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"bread")
    source = Source.of_files([path], DigestCache(tmp_path / "d.json"))
    part = source.part(source.files[0], 0, 5)
    assert "stamp" not in source.files[0].model_dump() and "stamp" not in part.origin()
    with part.open() as found:
        assert found[:] == b"bread"
    change(path)
    with pytest.raises(Changed, match=f"^{path}: the file changed while it was used .{said}"), part.open():
        pass


def test_a_file_that_is_written_to_under_a_part_ends_it_however_the_reader_fares(tmp_path: Path) -> None:
    path = tmp_path / "b"
    for stumbles in (False, True):
        path.write_bytes(b"bread")
        source = Source.of_files([path], DigestCache(tmp_path / "d.json"))
        with pytest.raises(Changed, match="written to"), source.part(source.files[0], 0, 5).open():
            rewrite(path)
            if stumbles:
                raise ValueError("not bread")


def test_a_file_that_changes_while_it_is_digested_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"bread")
    cache = DigestCache(tmp_path / "d.json")
    with monkeypatch.context() as patch, pytest.raises(Changed, match="written to"):
        patch.setattr(digests, "file_sha256", lambda path: rewrite(path) or "0" * 64)
        Source.of_files([path], cache)
    assert Source.of_files([path], cache).files[0].sha256 == hashlib.sha256(b"stone").hexdigest()


class CopyParams(Params):
    change: bool = False


@stage("copied", version=1)
def copied(file: Source, params: CopyParams, out: Draft) -> None:
    """A global stage that reads a file by its path, and has it changed by somebody else."""
    path = Path(file.files[0].path)
    if params.change:
        rewrite(path)
    out.path("copy").write_bytes(path.read_bytes())
    out.count("files", 1, out=1)


def test_a_stage_that_reads_a_file_whole_does_not_commit_another_files_bytes(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"bread")
    source = Source.of_files([path], store.digest_cache())
    with pytest.raises(Changed, match="written to"):
        copied.run(store, params=CopyParams(change=True), file=source)
    assert store.versions("copied") == []
    made = copied.run(store, file=Source.of_files([path], store.digest_cache()))
    path.unlink()
    assert copied.run(store, file=Source.of_inputs(made.manifest.inputs["file"])).ref == made.ref


def test_a_digest_cache_that_cannot_be_saved_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "b").write_bytes(b"bread")
    (tmp_path / "store").write_bytes(b"no folder: stands for one that is read-only, which root may write to")
    source = Source.of_files([tmp_path / "b"], DigestCache(tmp_path / "store" / "digests.json"))
    assert source.files[0].sha256 == hashlib.sha256(b"bread").hexdigest()
    assert "digests.json: cannot be written" in caplog.text


@pytest.mark.parametrize("name", [b"caf\xe9.warc.gz", b"caf\xe9/a.warc.gz"])
def test_a_path_that_is_not_utf8_is_refused_in_printable_form(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"bread")
    with pytest.raises(BadInput, match=r"caf\\xe9.*must be UTF-8, and this is not; rename it") as caught:
        Source.of_files([path], DigestCache(tmp_path / "d.json"))
    assert str(caught.value).isprintable()
