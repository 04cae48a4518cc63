"""The command line as its user sees it: what it prints, how it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.output import described
from infra.store import Store
from tests.infra.test_store import made

ROOT = Path(__file__).resolve().parents[2]


def sluice(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `sluice` as a process, as a user would."""
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def fails(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a failed call says."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("sluice: ")
    return line


@pytest.mark.parametrize("command", [["show"], ["plan", "--params", "x"], ["ls", "--nope"], ["nope"]])
def test_a_mistaken_command_gets_one_line_too(command):
    done = sluice(*command)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and line.startswith("sluice: ") and "--help lists what it takes" in line
    assert not done.stdout


@pytest.fixture
def filled(tmp_path):
    store = Store(tmp_path / "store")
    return store, made(store, "a"), made(store, "b")


def test_ls_show_tag_path_diff(filled):
    store, one, two = filled
    root = str(store.root)
    listed = json.loads(sluice("ls", "--store", root, "--json").stdout)
    assert [row["ref"] for row in listed] == [one.ref, two.ref]
    assert one.ref in sluice("ls", SLUICE_STORE=root).stdout
    assert sluice("tag", "good", one.ref, "--store", root).stdout == f"word@good is {one.ref}\n"
    assert "word = a" in sluice("show", "word@good", "--store", root).stdout
    assert sluice("path", "word@good", "--store", root).stdout == f"{one.path}\n"
    assert "key.params.word:  a  ->  b" in sluice("diff", one.ref, two.ref, "--store", root).stdout


def test_nested_figures_are_shown_whole():
    languages = {f"l{k}": k / 10 for k in range(40)}
    lines = list(
        described({"n": 3, "none": {}, "bytes": {"split": {"test": 3.4}, "language": languages}, "long": [0] * 99})
    )
    assert lines[:3] == ["n = 3", "none = {}", "bytes.split: test 3.4"]
    shown = " ".join(line.strip() for line in lines[3:-1])
    assert shown == "bytes.language: " + ", ".join(f"{name} {value}" for name, value in languages.items())
    assert lines[-1].endswith("…") and max(map(len, lines[:-1])) <= 110


def test_verify_fails_when_a_byte_changed(filled):
    store, one, _ = filled
    assert sluice("verify", "--deep", "--store", str(store.root)).returncode == 0
    one.file("folder/word.txt").write_text("x")
    done = sluice("verify", "--deep", "--store", str(store.root))
    assert done.returncode == 1 and "other bytes" in done.stdout


def test_a_damaged_manifest_stops_neither_ls_nor_verify_nor_gc(filled):
    store, one, two = filled
    root = str(store.root)
    (one.path / "manifest.json").write_text("{")
    two.file("folder/word.txt").unlink()
    line = f"warning: {one.path}/manifest.json: not a manifest"
    listed = sluice("ls", "--store", root, "--json")
    assert [row["ref"] for row in json.loads(listed.stdout)] == [two.ref]
    assert listed.returncode == 0 and listed.stderr.startswith(line) and listed.stderr.count("\n") == 1
    done = sluice("verify", "--store", root)
    assert done.returncode == 1 and "2 artifacts checked, 2 problems" in done.stdout and not done.stderr
    assert "not a manifest" in done.stdout and "folder/word.txt is missing" in done.stdout
    done = sluice("gc", "--keep", "0", "--yes", "--store", root)
    assert done.returncode == 0 and done.stdout.startswith("removed 0 artifacts")
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1
    assert one.path.exists() and two.path.exists()


def test_gc_says_first_and_does_with_yes(filled):
    store, one, two = filled
    arguments = ("gc", "--keep", "1", "--store", str(store.root))
    assert "would remove 1 artifacts" in sluice(*arguments).stdout
    assert store.exists("word", one.version)
    assert "removed 1 artifacts" in sluice(*arguments, "--yes").stdout
    assert Store(store.root).versions("word") == [two.version]


def test_an_unknown_reference_is_one_line(filled):
    store, _, _ = filled
    assert "no artifact of that stage" in fails(sluice("show", "extract@latest", "--store", str(store.root)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "crawl.paths=/nowhere"), "/nowhere"),
        (("--set", "extract.part_byte=1"), "unknown key extract.part_byte; did you mean 'part_bytes'?"),
        (("--set", "extract.part_bytes=x"), "valid integer"),
        (("--until", "nothing"), "--until nothing: curate has no such stage"),
        (("--profile", "nothing"), "no profile is called 'nothing'"),
    ],
)
def test_bad_input_of_a_run_is_one_line(tmp_path, arguments, message):
    assert message in fails(sluice("run", "curate", "--store", str(tmp_path / "store"), *arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pretrain", "--set", "runtime.zero_stage=3"), "runtime and pretrain: muon works at ZeRO stages 0 to 2"),
        (("pipeline", "--set", "runtime.parallel.sequence=2"), "runtime and dpo: parallel.sequence is for"),
        (("scaling", "--set", "runtime.parallel.sequence=3"), "does not divide rows of 256 tokens: take a divisor"),
    ],
)
def test_a_layout_that_cannot_be_is_one_line_before_any_work(tmp_path, arguments, message):
    store = tmp_path / "store"
    assert message in fails(sluice("run", *arguments, "--store", str(store)))
    assert not list(store.rglob("*.json"))


def test_a_tokenizer_that_is_missing_is_told_before_the_crawl_is_read(tmp_path):
    store = tmp_path / "store"
    line = fails(sluice("run", "pipeline", "--set", "tokenizer_file=/nowhere/tokenizer.json", "--store", str(store)))
    assert "/nowhere/tokenizer.json: no such file" in line
    assert not list(store.rglob("manifest.json"))


def test_odd_crawls_are_refused_by_name(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text"
    text.mkdir()
    (text / "notes.warc.gz").write_text("these are notes\n")
    for folder, message in ((empty, "no WARC file in this folder"), (text, "not a WARC file")):
        line = fails(sluice("stage", "extract", "--in", f"crawl={folder}", "--store", str(tmp_path / "store")))
        assert str(folder) in line and message in line


def test_without_java_spark_is_not_started(tmp_path):
    from tests.miniature import miniature_crawl

    crawl = miniature_crawl(tmp_path / "crawl")
    arguments = ("stage", "extract", "--in", f"crawl={crawl}", "--store", str(tmp_path / "store"))
    line = fails(sluice(*arguments, JAVA_HOME=str(tmp_path / "no-java")))
    assert "Spark needs Java 17 or newer, but no working java was found" in line


def test_debug_shows_the_traceback(filled):
    store, _, _ = filled
    done = sluice("--debug", "show", "extract@latest", "--store", str(store.root))
    assert done.returncode == 1 and "Traceback" in done.stderr
