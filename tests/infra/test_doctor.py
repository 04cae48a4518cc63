"""The doctor finds what is missing and says how to mend it."""

import importlib.metadata
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra import doctor
from infra.doctor import GIB, Check

ROOT = Path(__file__).parents[2]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def mended(check: Check) -> bool:
    """A problem must say what to do, and nothing needs saying when all is well."""
    return bool(check.mend) == (check.status != "ok")


def test_other_pythons_are_refused() -> None:
    assert doctor.check_python((3, 11, 7)).status == "ok"
    for version in ((3, 10, 14), (3, 12, 0), (2, 7, 18)):
        check = doctor.check_python(version)
        assert check.status == "problem" and "3.11" in check.mend


def test_missing_headers_name_the_package_to_install(tmp_path: Path) -> None:
    check = doctor.check_headers(tmp_path)
    assert check.status == "problem" and str(tmp_path) in check.found and "python3.11-dev" in check.mend
    (tmp_path / "Python.h").touch()
    assert doctor.check_headers(tmp_path).status == "ok"


@pytest.mark.parametrize(
    ("says", "status", "found"),
    [
        ('echo "openjdk version \\"21.0.2\\" 2024-01-16" >&2', "ok", "21"),
        ('echo "openjdk version \\"17\\" 2021-09-14" >&2', "ok", "17"),
        ('echo "java version \\"1.8.0_392\\"" >&2', "problem", "version 1"),
        ("exit 127", "problem", "no working java"),
    ],
)
def test_java_is_asked_for_its_version(
    says: str, status: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin" / "java", says)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    check = doctor.check_java()
    assert check.status == status and found in check.found and mended(check)


def test_a_wrong_java_home_is_a_problem_even_with_java_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "java", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert doctor.check_java().status == "problem"
    check = doctor.check_java_home()
    assert check.status == "problem" and "PATH would do" in check.mend
    monkeypatch.delenv("JAVA_HOME")
    assert doctor.check_java_home().status == "ok"


def test_the_compiler_may_be_named_by_cxx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "g++" in doctor.check_compiler().mend
    monkeypatch.setenv("CXX", str(script(tmp_path / "my-compiler", "echo my compiler 1.0")))
    assert doctor.check_compiler() == Check("C++ compiler", "ok", "my compiler 1.0")


def test_libraries_out_of_bounds_or_absent_are_named() -> None:
    installed = importlib.metadata.version("sqlalchemy")
    checks = doctor.check_libraries({"sqlalchemy": ("1.0", "1.4", "because"), "no-such-thing": ("1", "2", "")})
    assert [(check.name, check.found) for check in checks] == [
        ("sqlalchemy", installed),
        ("no-such-thing", "not installed"),
    ]
    assert "because" in checks[0].mend
    assert [check.status for check in doctor.check_libraries()] == ["ok"]


def test_the_bounds_are_those_of_the_pins() -> None:
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8")))
    held = {name.lower(): version for name, version in pins.items()}
    for name, (first, end, _) in doctor.BOUNDS.items():
        assert doctor._numbers(first) <= doctor._numbers(held[name]) < doctor._numbers(end), name
    assert "fasttext-predict" not in held


@pytest.mark.parametrize(("total", "status"), [(2 * GIB, "problem"), (4 * GIB, "warning"), (16 * GIB, "ok")])
def test_memory(total: int, status: str) -> None:
    check = doctor.check_memory(total)
    assert check.status == status and mended(check)


def test_a_container_limit_counts(tmp_path: Path) -> None:
    whole = doctor.memory_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor.memory_bytes(tmp_path) == whole
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert doctor.memory_bytes(tmp_path) == GIB


def test_disk_and_store_are_checked_where_the_store_will_be(tmp_path: Path) -> None:
    store = tmp_path / "not" / "yet" / "there"
    assert str(tmp_path) in doctor.check_disk(store).found
    assert doctor.check_disk(store, needed=1 << 60).status == "problem"
    assert doctor.check_disk(store, needed=1, wanted=1 << 60).status == "warning"
    assert doctor.check_store(store).status == "ok"
    (tmp_path / "file").touch()
    assert doctor.check_store(tmp_path / "file" / "store").status == "problem"


def test_a_host_without_address_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    check = doctor.check_host_name("no-such-host.invalid")
    assert check.status == "problem" and "/etc/hosts" in check.mend


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"true" if self.path == "/api/health" else b"false"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Healthy) as held:
        thread = threading.Thread(target=held.serve_forever)
        thread.start()
        yield held.server_address[1]
        held.shutdown()
        thread.join()


def test_a_taken_port_is_fine_when_prefect_has_it(server: int) -> None:
    assert doctor.check_port(server).found == "a Prefect server answers there"
    assert doctor.check_prefect_api(f"http://127.0.0.1:{server}/api").status == "ok"
    assert doctor.check_prefect_api(f"http://127.0.0.1:{server}/elsewhere").status == "problem"


def test_a_taken_port_is_a_warning_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.2)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert doctor.check_port(port).status == "warning"
    assert doctor.check_port(port).status == "ok"


def test_clashing_versions_show_when_prefect_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefect.py").write_text("raise ImportError('cannot import name Clash')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = doctor.check_prefect_import()
    assert check.status == "problem" and "cannot import name Clash" in check.found and "make setup" in check.mend


def test_before_installation_only_the_standard_library_is_needed(tmp_path: Path) -> None:
    # -I -S: no site-packages at all, as on a fresh machine.
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import infra.doctor; sys.exit(infra.doctor.main())"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_problems_are_reported_with_their_mending(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [Check("a", "ok", "fine"), Check("b", "problem", "broken", "glue it")]
    assert doctor.main(lambda: checks) == 1
    assert capsys.readouterr().err == "PROBLEM b: broken\n        -> glue it\n"
    assert doctor.report(checks).splitlines() == ["ok      a: fine", "PROBLEM b: broken", "        -> glue it"]


def test_run_checks_covers_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_prefect_import", lambda: Check("Prefect", "ok", "imported elsewhere"))
    names = [check.name for check in doctor.run_checks(tmp_path)]
    assert {"Python", "Python headers", "Java", "C++ compiler", "disk", "memory", "store", "Prefect"} <= set(names)
    assert len(set(names)) == len(names)
