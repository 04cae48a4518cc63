"""The last step of a stage, cut short at each point: nothing that was computed may be lost."""

import errno

import pytest

import infra.store.store as store_module
from infra.canonical import digest
from infra.errors import EnvironmentProblem
from infra.params import Params
from infra.stage import Draft, RunContext, stage
from infra.store import Artifact, Store
from infra.store.maintenance import verify

made: list[str] = []  # what each call of `model` found: "new" or "checkpoint"


class ModelParams(Params):
    word: str = "a"


@stage("model", version=1)
def model(params: ModelParams, out: Draft) -> None:
    """Trains: leaves a checkpoint, and goes on from one."""
    checkpoint = out.keep / "checkpoint"
    made.append("checkpoint" if checkpoint.exists() else "new")
    checkpoint.write_text("state")
    out.path("folder/model.bin").write_text(params.word)
    out.count("rows", 1, out=1)


@pytest.fixture(autouse=True)
def nothing_made():
    made.clear()


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours may take it."""


def kill(*_: object, **__: object) -> None:
    raise Killed


def staged(store: Store) -> list[str]:
    return sorted(p.name for p in (store.root / ".staging").glob("model/*/*"))


def files_of(artifact: Artifact) -> list[str]:
    return sorted(path.name for path in artifact.path.iterdir())


def test_a_kill_before_the_manifest_keeps_the_checkpoint(store, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(store_module, "write_text", kill)
        model.run(store)
    assert files_of(model.run(store)) == ["data", "manifest.json"]
    assert made == ["new", "checkpoint"]


def test_a_full_disk_at_the_manifest_keeps_the_checkpoint(store, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(EnvironmentProblem, match="finished parts are kept"):
        patch.setattr(store_module, "write_text", full)
        model.run(store)
    assert "keep" in staged(store)
    model.run(store)
    assert made == ["new", "checkpoint"]


@pytest.mark.parametrize("step", ["_strip", "_move"])
def test_a_commit_cut_short_after_the_manifest_is_finished_without_computing(store, monkeypatch, step):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(store_module if step == "_strip" else Store, step, kill)
        model.run(store)
    assert store.versions("model") == []
    artifact = model.run(store)
    assert made == ["new"]
    assert files_of(artifact) == ["data", "manifest.json"] and verify(artifact, deep=True) == []
    assert not staged(store)


def test_a_staged_manifest_whose_files_are_not_there_is_not_believed(store, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "_move", kill)
        model.run(store)
    next((store.root / ".staging").rglob("model.bin")).write_text("")
    assert verify(model.run(store), deep=True) == []
    assert made == ["new", "new"]


def test_a_replacement_cut_short_after_the_old_one_went_is_finished(store, monkeypatch):
    model.run(store)
    store.open("model").file("folder/model.bin").write_text("b")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "_move", kill)
        refreshed(store)
    assert store.versions("model") == []
    assert verify(model.run(Store(store.root)), deep=True) == []
    assert made == ["new", "new"]


def refreshed(store: Store, replace: bool = False) -> bool:
    context = RunContext(store=store, refresh=frozenset({"model"}), replace=replace)
    model.run_in(context, params=ModelParams())
    return context.results[0].reproduced


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(("harm", "said"), [("b", "has other bytes"), ("", "has 0 bytes, not 1"), (None, "is missing")])
def test_a_refresh_mends_a_damaged_artifact(store, caplog, harm, said, replace):
    artifact = model.run(store)
    file = artifact.file("folder/model.bin")
    file.unlink() if harm is None else file.write_text(harm)
    assert not refreshed(store, replace)
    assert verify(store.open(artifact.ref), deep=True) == [] and file.read_text() == "a"
    assert f"{artifact.ref}: was damaged, mended: folder/model.bin {said}" in caplog.text
    assert refreshed(store, replace)  # now it is sound


def test_a_folder_without_a_manifest_does_not_stand_in_the_way(store):
    version = digest(model.key(ModelParams(), {}))
    data = store.artifact_path("model", version) / "data"
    data.mkdir(parents=True)
    (data / "half").write_text("?")
    artifact = model.run(store)
    assert artifact.version == version and verify(artifact, deep=True) == []
    assert [p.name for p in store.trash.glob("*/data/*")] == ["half"]


def test_every_file_is_on_the_disk_before_the_manifest(store, monkeypatch):
    synced: list[str] = []
    fsync, write = store_module.fsync_path, store_module.write_text
    monkeypatch.setattr(store_module, "fsync_path", lambda path: (synced.append(path.name), fsync(path)))
    monkeypatch.setattr(store_module, "write_text", lambda p, text: (synced.append(p.name), write(p, text)))
    model.run(store)
    assert synced.count("model.bin") == 1
    assert max(map(synced.index, ["model.bin", "folder", "data"])) < synced.index("manifest.json")
