import fcntl
import json
import pickle
from pathlib import Path

import pytest

from infra.canonical import canonical_json, digest
from infra.errors import BadInput, SluiceError
from infra.params import Params
from infra.stage import Draft, stage
from infra.store import Artifact, Store, open_store
from infra.store.lock import StagingLock, check_ours, is_held
from infra.store.maintenance import children, collect_garbage, diff, find_garbage, readable, verify
from infra.store.manifest import Counts, Quantity
from infra.store.running import RunStore


class WordParams(Params):
    word: str = "a"


@stage("word", version=1)
def word(params: WordParams, out: Draft) -> None:
    out.path("folder/word.txt").write_text(params.word)
    out.count("words", 1, out=1)


@stage("longer", version=1)
def longer(word: Artifact, params: WordParams, out: Draft) -> None:
    out.path("word.txt").write_text(word.file("folder/word.txt").read_text() + params.word)
    out.count("words", 1, out=1)


def made(store: Store, text: str) -> Artifact:
    return word.run(store, params=WordParams(word=text))


def test_canonical_json_is_one_text_for_equal_values():
    assert canonical_json({"b": 1, "a": ["é", None, 1.5]}) == canonical_json({"a": ["é", None, 1.5], "b": 1})
    assert canonical_json({"a": "é"}) == '{"a":"é"}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_the_version_is_the_digest_of_the_key(store):
    artifact = made(store, "a")
    assert artifact.version == digest(artifact.manifest.key)
    assert artifact.version != made(store, "b").version


def test_references(store):
    first, second = made(store, "a"), made(store, "b")
    assert store.open("word@latest").ref == store.open("word").ref == second.ref
    assert store.open(f"word/{first.version[:6]}").ref == first.ref
    assert store.tag("good", first.ref) == "word@good"
    assert store.open("word@good").ref == first.ref
    for ref, message in [
        ("word@bad", r"no such tag .*word@good"),
        ("wrod@latest", r"no artifact of that stage .*stages with artifacts: word"),
        ("word/zzzz", "no such artifact"),
        ("word/", "no such artifact"),
        ("../etc", "no such artifact"),
        (f"word/{first.version}/data", "no such artifact"),
        (f"word/../word/{first.version}", "no such artifact"),
    ]:
        with pytest.raises(BadInput, match=message):
            store.open(ref)
    with pytest.raises(BadInput, match="cannot be a tag"):
        store.tag("../x", first.ref)


def test_a_tag_on_a_reference_with_a_trailing_slash_does_not_stop_gc(store):
    first = made(store, "a")
    made(store, "b")
    store.tag("good", f"word/{first.version}/")
    assert (store.root / "tags" / "word" / "good").read_text() == first.version + "\n"
    (store.root / "tags" / "word" / "old").write_text(first.version + "/\n")  # as it was written once
    assert find_garbage(store, keep=1).refs == []
    assert store.open("word@old").ref == first.ref


def test_an_ambiguous_prefix_is_refused(store):
    versions = [made(store, str(n)).version for n in range(17)]  # 17 versions, 16 first digits
    double = next(v[0] for v in versions if sum(w[0] == v[0] for w in versions) > 1)
    with pytest.raises(BadInput, match="versions begin so"):
        store.open(f"word/{double}")


def test_a_folder_without_a_manifest_does_not_exist(store):
    artifact = made(store, "a")
    (artifact.path / "manifest.json").unlink()
    assert store.versions("word") == [] and store.stages() == []
    with pytest.raises(BadInput, match="no artifact of that stage"):
        Store(store.root).open("word@latest")


def test_the_first_commit_wins(store):
    artifact = made(store, "a")
    staging = store.staging_path("word", artifact.version)
    (staging / "data" / "folder").mkdir(parents=True)
    (staging / "data" / "folder" / "word.txt").write_text("late")
    assert store.commit(staging, artifact.manifest) is False
    assert not staging.exists()
    assert artifact.file("folder/word.txt").read_text() == "a"


def test_readers_open_only_listed_files(store):
    artifact = made(store, "a")
    (artifact.path / "data" / "stray.txt").write_text("?")
    with pytest.raises(BadInput, match=r"holds no file 'stray\.txt'"):
        artifact.file("stray.txt")


def test_verify_finds_what_is_wrong(store):
    artifact = made(store, "abc")
    assert verify(artifact, deep=True) == []
    file = artifact.file("folder/word.txt")
    file.write_text("abd")
    assert verify(artifact) == []  # same size: only --deep can see it
    assert "other bytes" in verify(artifact, deep=True)[0]
    file.write_text("ab")
    assert "has 2 bytes, not 3" in verify(artifact)[0]
    file.unlink()
    (artifact.path / "data" / "stray").touch()
    problems = " ".join(verify(artifact))
    assert "is missing" in problems and "not in the manifest" in problems


def test_verify_notices_an_edited_key(store):
    artifact = made(store, "a")
    path = artifact.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["key"]["params"]["word"] = "b"
    path.write_text(json.dumps(manifest))
    assert "manifest was edited" in verify(Store(store.root).open(artifact.ref))[0]


def test_lineage_up_and_down(store):
    artifact = made(store, "a")
    child = longer.run(store, word=artifact, params=WordParams(word="b"))
    assert child.parent("word").ref == artifact.ref
    assert [a.ref for a in child.ancestors()] == [artifact.ref, child.ref]
    assert [m.ref for m in children(store, artifact.ref)] == [child.ref]
    (place, left, right) = next(d for d in diff(artifact.manifest, made(store, "c").manifest) if "params" in d[0])
    assert (place, left, right) == ("key.params.word", "a", "c")


def test_gc_keeps_tagged_recent_and_ancestors(store):
    old, parent = made(store, "old"), made(store, "parent")
    longer.run(store, word=parent)
    tagged, latest = made(store, "tagged"), made(store, "latest")
    store.tag("keep", tagged.ref)
    garbage = find_garbage(store, keep=1)
    assert garbage.refs == [old.ref]
    collect_garbage(store, garbage)
    assert {m.ref for m in store.manifests("word")} == {parent.ref, tagged.ref, latest.ref}
    assert not store.trash.exists()


def test_gc_keeps_what_a_running_stage_reads(store):
    first = made(store, "first")
    middle = longer.run(store, word=first)
    made(store, "newer")
    longer.run(store, word=made(store, "latest"))
    with StagingLock(store.lock_path("tip", "v"), "a run", {"parts": [middle.ref], "base": "gone/0"}) as lock:
        found = find_garbage(store, keep=0)
        lock.acquire()
        assert not {first.ref, middle.ref} & set(find_garbage(store, keep=0).refs)
        collect_garbage(store, found)  # found before the run took it up
    assert {m.ref for m in store.manifests()} == {first.ref, middle.ref}
    assert find_garbage(store, keep=0).refs == sorted([first.ref, middle.ref])


def test_a_stage_says_in_its_lock_what_it_reads(store):
    old, refs = made(store, "old"), []

    @stage("watching", version=1)
    def watching(word: Artifact, params: WordParams, out: Draft) -> None:
        refs.extend(find_garbage(store, keep=0).refs)
        out.count("words", 1, out=1)

    other = made(store, "other")
    watching.run(store, word=old)
    assert refs == [other.ref]


def test_gc_keeps_what_a_run_has_opened_until_it_ends(store):
    first = made(store, "first")
    middle = longer.run(store, word=first)
    with RunStore(store.root) as of_run:
        of_run.open(middle.ref)
        second = made(of_run, "second")
        third = made(store, "third")
        assert find_garbage(store, keep=0).refs == [third.ref]
        assert type(pickle.loads(pickle.dumps(of_run))) is Store  # noqa: S301  as Spark sends it to a worker
    assert find_garbage(store, keep=0).refs == sorted([first.ref, middle.ref, second.ref, third.ref])


def test_gc_looks_at_a_store_that_cannot_be_written(store, monkeypatch):
    old, other = made(store, "old"), made(store, "other")
    really_open = Path.open

    def read_only(path: Path, mode: str = "r", *rest, **named):
        if path.is_relative_to(store.root) and set(mode) & set("wax+"):
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, mode, *rest, **named)

    with StagingLock(store.lock_path("word", old.version), "one") as lock:
        lock.acquire()
        monkeypatch.setattr(Path, "open", read_only)
        assert is_held(lock.path) and not is_held(store.lock_path("word", "no such"))
        assert find_garbage(store, keep=0).refs == [other.ref]
    with RunStore(store.root) as of_run:
        assert of_run.open(old.ref).ref == old.ref


def test_a_look_at_a_lock_holds_nobody_up(store):
    path = store.lock_path("word", "v")
    path.parent.mkdir(parents=True)
    path.touch()
    with path.open("rb") as somebody_looks:
        fcntl.flock(somebody_looks, fcntl.LOCK_SH)
        assert not is_held(path)


def edit(artifact: Artifact, change) -> None:
    path = artifact.path / "manifest.json"
    path.write_text(change(path.read_text()))


def test_gc_takes_no_parent_of_an_artifact_whose_manifest_is_damaged(store):
    parent = made(store, "parent")
    child = longer.run(store, word=parent)
    other = made(store, "other")
    whole = (child.path / "manifest.json").read_text()
    edit(child, lambda text: text.replace("{", '{"new": 1,', 1))  # of a later Sluice: its parents can be read
    found = find_garbage(Store(store.root), keep=0)
    assert found.refs == [other.ref]
    assert child.ref in found.problems[0] and found.problems[0].endswith("; it stays")
    edit(child, lambda _: whole[:40])
    found = find_garbage(Store(store.root), keep=0)
    assert found.refs == [] and found.bytes == 0
    assert child.ref in found.problems[0] and "no artifact is removed before it is mended" in found.problems[0]
    edit(child, lambda _: "[]")
    assert find_garbage(Store(store.root), keep=0).refs == []


def test_a_manifest_in_a_foreign_folder_is_damaged(store):
    artifact = made(store, "a")
    artifact.path.rename(artifact.path.with_name("copy"))
    fresh = Store(store.root)
    manifests, damaged = readable(fresh)
    assert manifests == [] and f"is the manifest of {artifact.ref}" in damaged["word/copy"]
    assert find_garbage(fresh, keep=0).refs == []


def test_a_lock_dies_with_its_holder_and_its_token_tells_workers(store):
    path = store.lock_path("word", "v")
    with StagingLock(path, "one") as lock:
        lock.acquire()
        assert is_held(path)
        check_ours(path, lock.token)
    assert not is_held(path)
    with StagingLock(path, "two") as other:
        other.acquire()
        with pytest.raises(SluiceError, match="another run has taken over"):
            check_ours(path, lock.token)


def test_counts_add_up_or_say_why():
    counts = Counts(in_=Quantity(unit="pages", n=5), used=3, dropped={"bad": 2}, out=Quantity(unit="pages", n=3))
    assert counts.problem(one_to_one=True) is None
    assert "3 used + 1 dropped = 4" in counts.model_copy(update={"dropped": {"bad": 1}}).problem()
    wide = counts.model_copy(update={"out": Quantity(unit="pages", n=4)})
    assert wide.problem() is None and "one-to-one" in wide.problem(one_to_one=True)


def test_a_store_must_be_a_folder_with_a_known_scheme(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SluiceError, match="that is a file"):
        open_store(tmp_path / "file")
    with pytest.raises(SluiceError, match="no backend for s3:// yet"):
        open_store("s3://bucket/store")
    with pytest.raises(SluiceError, match=f"--store .*/file/sub/store: {tmp_path}/file is a file; give a folder"):
        open_store(tmp_path / "file" / "sub" / "store")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(SluiceError, match="that is a link to nowhere, which is not there"):
        open_store(tmp_path / "link")
    with pytest.raises(SluiceError, match=f"{tmp_path}/link is a link to nowhere"):
        open_store(tmp_path / "link" / "store")
    (tmp_path / "nowhere").mkdir()
    assert open_store(tmp_path / "link" / "store").stages() == []
