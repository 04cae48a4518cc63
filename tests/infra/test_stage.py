import multiprocessing
import sys
from pathlib import Path

import pytest

import infra.stage.draft as draft_module
from infra.errors import BadConfig, BadInput, SluiceError
from infra.params import Runtime
from infra.stage import Draft, RunContext, Source, parse_params
from infra.store import Store

# Loaded under a plain name so that Spark's workers, which import part functions by name, find it on PYTHONPATH.
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stages(spark, request):
    sys.path.insert(0, str(HERE))
    import counting_stages

    spark.sparkContext.addPyFile(str(HERE / "counting_stages.py"))
    yield counting_stages
    sys.path.remove(str(HERE))


def crawl(folder: Path, store: Store, **files: str) -> Source:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return Source.of_files([folder / name for name in files], store.digest_cache())


def digests(artifact):
    return {entry.path: entry.sha256 for entry in artifact.manifest.files}


def test_parts_are_computed_counted_and_committed(stages, store, tmp_path):
    made = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1 2 300", b="4"))
    assert made.read_table("numbers").column("n").to_pylist() == [1, 2, 4]
    counts = made.manifest.counts
    assert (counts.in_.n, counts.used, counts.dropped, counts.out.n) == (4, 3, {"too_large": 1}, 3)
    assert made.manifest.metrics == {"sum": 7}
    assert sorted(p.name for p in made.path.iterdir()) == ["data", "manifest.json"]


def test_a_second_call_reuses(stages, store, tmp_path):
    source = crawl(tmp_path / "in", store, a="1")
    context = RunContext(store=store)
    for _ in range(2):
        stages.numbers.run_in(context, params=stages.NumbersParams(), files=source)
    assert [result.reused for result in context.results] == [False, True]


def test_neither_folder_nor_order_nor_cores_change_version_or_bytes(stages, store, tmp_path):
    one = stages.numbers.run(store, files=crawl(tmp_path / "x", store, a="1", b="2"))
    other = Store(tmp_path / "other")
    two = stages.numbers.run(other, files=crawl(tmp_path / "y", other, b="2", a="1"), runtime=Runtime(cores=1))
    assert (one.ref, digests(one)) == (two.ref, digests(two))


def test_a_grown_crawl_computes_only_its_new_part(stages, store, tmp_path):
    trace = tmp_path / "trace"
    trace.mkdir()
    params = stages.NumbersParams(trace=str(trace))
    stages.numbers.run(store, params=params, files=crawl(tmp_path / "in", store, b="1", c="2"))
    for mark in trace.iterdir():
        mark.unlink()
    grown = stages.numbers.run(store, params=params, files=crawl(tmp_path / "in", store, a="9", b="1", c="2"))
    assert [mark.name for mark in trace.iterdir()] == ["a"]
    assert grown.read_table("numbers").column("n").to_pylist() == [9, 1, 2]
    doubled = stages.doubled.run(store, numbers=grown)
    assert doubled.read_table("numbers").column("n").to_pylist() == [18, 2, 4]


def test_a_part_made_under_another_value_of_the_whole_is_not_reused(stages, store, tmp_path, caplog):
    def distances(**files: str) -> list[int]:
        made = stages.numbers.run(store, files=crawl(tmp_path / "in", store, **files))
        return stages.below_top.run(store, numbers=made).read_table("numbers").column("n").to_pylist()

    caplog.set_level("INFO", logger="sluice.below_top")
    assert distances(a="1", b="5") == [4, 0]
    assert distances(a="1", b="5", c="2") == [4, 0, 3]
    assert "2 of 3 parts exist already" in [r.message for r in caplog.records if r.name == "sluice.below_top"]
    caplog.clear()
    assert distances(a="1", b="5", c="2", d="9") == [8, 4, 7, 0]
    assert not [r for r in caplog.records if r.name == "sluice.below_top"]


def test_a_failed_run_keeps_its_finished_parts(stages, store, tmp_path):
    trace = tmp_path / "trace"
    trace.mkdir()
    params = stages.NumbersParams(trace=str(trace))
    source = crawl(tmp_path / "in", store, a="1", b="2", c="bad")
    with pytest.raises(SluiceError, match=r"^c: line 1 is no number; mend the file$"):
        stages.numbers.run(store, params=params, files=source)
    assert store.versions("numbers") == []
    assert sorted(mark.name for mark in trace.iterdir()) == ["a", "b"]
    for mark in trace.iterdir():
        mark.unlink()
    mended = crawl(tmp_path / "in", store, a="1", b="2", c="3")
    made = stages.numbers.run(store, params=params, files=mended)
    assert [mark.name for mark in trace.iterdir()] == ["c"]
    assert made.read_table("numbers").column("n").to_pylist() == [1, 2, 3]


def unfinished(stages, store, tmp_path, monkeypatch) -> Path:
    """The staging folder of a run with finished parts, which has yet to commit."""

    def not_yet(*_: object) -> None:
        raise SluiceError("not yet")

    with monkeypatch.context() as patch, pytest.raises(SluiceError, match="not yet"):
        patch.setattr(Store, "commit", not_yet)
        stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1", b="5"))
    (staged,) = (store.root / ".staging" / "numbers").iterdir()
    return staged


def test_a_part_that_another_run_commits_meanwhile_is_computed(stages, store, tmp_path, monkeypatch):
    staged = unfinished(stages, store, tmp_path, monkeypatch)
    look = Draft._parts_elsewhere

    def look_and_lose(draft):
        found = look(draft)
        assert found
        staged.rename(tmp_path / "committed")
        return found

    monkeypatch.setattr(Draft, "_parts_elsewhere", look_and_lose)
    made = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1", c="2"))
    assert made.read_table("numbers").column("n").to_pylist() == [1, 2]


def test_a_marker_that_vanishes_under_the_search_is_passed_over(stages, store, tmp_path, monkeypatch):
    staged = unfinished(stages, store, tmp_path, monkeypatch)
    read = draft_module.read_marker

    def lose_and_read(marker):
        if marker.is_relative_to(staged):
            marker.unlink()
        return read(marker)

    monkeypatch.setattr(draft_module, "read_marker", lose_and_read)
    made = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1", c="2"))
    assert made.read_table("numbers").column("n").to_pylist() == [1, 2]


def test_a_defect_carries_the_workers_traceback(stages, store, tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)numbers, a.*read_numbers.*ZeroDivisionError"):
        stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="defect"))


def test_an_account_that_does_not_add_up_is_not_committed(stages, store, tmp_path):
    one = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1 2"))
    with pytest.raises(SluiceError, match="does not add up: 2 numbers in, but 1 used"):
        stages.total.run(store, numbers=[one], params=stages.TotalParams(lose=1))
    assert store.versions("total") == []


def test_a_list_of_parents_is_a_set(stages, store, tmp_path):
    one = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1"))
    two = stages.numbers.run(store, files=crawl(tmp_path / "in", store, b="2"))
    assert stages.total.run(store, numbers=[one, two]).ref == stages.total.run(store, numbers=[two, one]).ref


def test_refresh_says_reproduced_or_names_the_files(stages, store, tmp_path):
    stamp = tmp_path / "stamp"
    stamp.write_text("!")
    one = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1"))
    params = stages.TotalParams(stamp=str(stamp))
    made = stages.total.run(store, numbers=[one], params=params)
    again = RunContext(store=store, refresh=frozenset({"total"}))
    stages.total.run_in(again, params=params, numbers=[one])
    assert again.results[0].reproduced
    stamp.write_text("?")
    with pytest.raises(SluiceError, match=r"NOT reproduced.*total\.txt"):
        stages.total.run_in(again, params=params, numbers=[one])
    assert made.file("total.txt").read_text() == "1!"  # the old one stays
    again.replace = True
    stages.total.run_in(again, params=params, numbers=[one])
    assert made.file("total.txt").read_text() == "1?"
    assert len(list(store.trash.iterdir())) == 1


def test_stages_before_from_must_exist(stages, store, tmp_path):
    context = RunContext(store=store, must_exist={"numbers"})
    with pytest.raises(BadInput, match="does not exist yet; run without --from"):
        stages.numbers.run_in(context, params=stages.NumbersParams(), files=crawl(tmp_path / "in", store, a="1"))


def test_wrong_roles_are_refused_by_name(stages, store, tmp_path):
    one = stages.numbers.run(store, files=crawl(tmp_path / "in", store, a="1"))
    with pytest.raises(BadInput, match="numbers needs something in its role 'files'"):
        stages.numbers.run(store)
    with pytest.raises(BadInput, match="doubled has no role 'nmbers'"):
        stages.doubled.run(store, nmbers=one)
    with pytest.raises(BadInput, match="takes an artifact"):
        stages.doubled.run(store, numbers="numbers@latest")


def test_a_bad_parameter_is_one_line(stages):
    with pytest.raises(BadConfig, match=r"^numbers\.limt: Extra inputs are not permitted") as caught:
        parse_params(stages.NumbersParams, {"limt": 3}, "numbers")
    assert "\n" not in str(caught.value)


def _hold(root: str, started, finish) -> None:
    from infra.store.lock import StagingLock

    with StagingLock(Store(root).lock_path("total", "v"), "first") as lock:
        lock.acquire()
        started.set()
        finish.wait(30)


def test_a_second_run_waits_for_the_first(store):
    from infra.store.lock import StagingLock

    fork = multiprocessing.get_context("fork")
    started, finish = fork.Event(), fork.Event()
    other = fork.Process(target=_hold, args=(str(store.root), started, finish))
    other.start()
    assert started.wait(30)
    heard = []

    def on_wait(holder: str) -> None:
        heard.append(holder)
        finish.set()

    with StagingLock(store.lock_path("total", "v"), "second") as lock:
        lock.acquire(on_wait)
    other.join()
    assert heard and "run 'first'" in heard[0]
