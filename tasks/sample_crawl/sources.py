"""What the sample web documents, and how to find it: a fixed list of distributions, read through their RECORD.

Only files that an installation's own RECORD lists are read, in sorted order, so that stray files (caches, editors'
leftovers) never reach a page. What is not installed is skipped.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

STDLIB = "stdlib"

# Parts of a distribution that no reader of its documentation would look for.
_SKIPPED_FOLDERS = frozenset(
    [
        "test", "tests", "testing", "_test", "_testing", "conftest", "benchmark", "benchmarks", "_vendor", "vendor",
        "vendored", "__pycache__", "idlelib", "lib2to3", "turtledemo", "site-packages", "_pytest_plugins",
        "ensurepip", "examples", "lib-dynload", "locale", "templates",
    ]
)  # fmt: skip
_LICENCE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selection:
    """One distribution and which of its packages become pages (empty: all of them)."""

    distribution: str
    packages: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()


# Everything here is a dependency of this project, direct or not (of the tests' tools none, so that the crawl is the
# same without them), chosen for the amount of prose in its docstrings.
_WHOLE: tuple[str, ...] = (
    "redis", "websockets", "alembic", "werkzeug", "docker", "babel", "cyclopts", "rich", "fsspec", "grpcio", "pillow",
    "click", "pyarrow", "griffelib", "jinja2", "packaging", "absl-py", "protobuf", "datasketch", "anyio", "urllib3",
    "lxml", "filelock", "attrs", "markdown", "requests", "psutil", "httpx", "fastapi", "trafilatura", "dateparser",
    "typer", "mako", "pydantic-settings", "tqdm", "jsonschema", "humanize", "regex", "tldextract", "tokenizers",
    "starlette", "pendulum",
)  # fmt: skip
_TORCH = (
    "torch/nn", "torch/optim", "torch/utils/data", "torch/utils/checkpoint.py", "torch/autograd", "torch/distributions",
    "torch/distributed/elastic", "torch/distributed/algorithms", "torch/distributed/fsdp", "torch/functional.py",
    "torch/distributed/distributed_c10d.py", "torch/serialization.py", "torch/hub.py", "torch/amp", "torch/sparse",
    "torch/multiprocessing", "torch/profiler", "torch/library.py", "torch/special", "torch/linalg",
)  # fmt: skip
_PYSPARK_SKIP = ("pyspark/sql/connect", "pyspark/sql/functions", "pyspark/pandas", "pyspark/cloudpickle")
SELECTIONS: tuple[Selection, ...] = (
    Selection(STDLIB),
    Selection("numpy", skip=("numpy/distutils", "numpy/f2py", "numpy/typing")),
    Selection("scipy", skip=("scipy/_lib", "scipy/fftpack", "scipy/odr")),
    Selection("pyspark", skip=_PYSPARK_SKIP),
    Selection("sqlalchemy"),
    Selection("networkx"),
    Selection("torch", packages=_TORCH),
    Selection("transformers", skip=("transformers/models", "transformers/utils/dummy", "transformers/kernels")),
    Selection("huggingface-hub"),
    Selection("prefect", skip=("prefect/server/database/_migrations", "prefect/_vendor")),
    Selection("pydantic", skip=("pydantic/v1",)),
    *(Selection(name) for name in _WHOLE),
)

# Distributions of which only README and licence texts are shown.
README_ONLY: tuple[str, ...] = (
    "aiosqlite", "beartype", "sympy", "annotated-types", "apprise", "deepspeed", "setuptools", "tensorboard",
    "brotli", "cachetools", "certifi", "cffi", "charset-normalizer", "cloudpickle", "colorama", "cronsim",
    "cryptography", "einops", "exceptiongroup", "fasttext", "FastWARC", "graphviz", "greenlet", "h11", "h2",
    "httpcore", "hyperframe", "hpack", "idna", "jsonpatch", "jsonpointer", "justext",
    "courlan", "htmldate", "markdown-it-py", "markupsafe", "mdurl", "mpmath", "msgpack", "ninja", "oauthlib",
    "opentelemetry-api", "orjson", "pluggy", "prometheus-client", "py-cpuinfo", "py4j", "pybind11",
    "pycparser", "pygments", "python-dateutil", "python-dotenv", "python-slugify", "pytz", "pyyaml",
    "readchar", "referencing", "Resiliparse", "rfc3339-validator", "rpds-py", "ruamel.yaml",
    "safetensors", "semver", "shellingham", "six", "sniffio", "sortedcontainers", "tensorboard-data-server",
    "text-unidecode", "tld", "toml", "typing-extensions", "typing-inspection", "tzdata", "tzlocal", "uvicorn",
    "xxhash",
)  # fmt: skip


def _python_files(root: Path) -> Iterator[PurePosixPath]:
    """The Python files under `root`, relative to it; folders that are never shown are not entered."""
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _SKIPPED_FOLDERS]
        base = PurePosixPath(Path(folder).relative_to(root).as_posix())
        yield from (base / name for name in files if name.endswith(".py"))


@dataclass(frozen=True)
class SourceTree:
    """An installed distribution (or the standard library) as something to document."""

    name: str
    version: str
    root: Path
    selection: Selection | None  # None: only its README and licences are shown
    distribution: importlib.metadata.Distribution | None

    @cached_property
    def _recorded(self) -> list[PurePosixPath]:
        if self.distribution is None:
            return sorted(_python_files(self.root))
        return sorted(PurePosixPath(str(file)) for file in self.distribution.files or [])

    def modules(self) -> Iterator[tuple[str, Path]]:
        """(dotted name, file) of every module that is documented, sorted by file."""
        if self.selection is None:
            return
        for file in self._recorded:
            if file.suffix != ".py" or ".." in file.parts or _SKIPPED_FOLDERS & set(file.parts):
                continue
            text = file.as_posix()
            if file.name.startswith(("test_", "setup.py", "conftest")) or text.startswith(
                self.selection.skip or ("\0",)
            ):
                continue
            if self.selection.packages and not text.startswith(self.selection.packages):
                continue
            parts = file.with_suffix("").parts
            if not all(part.isidentifier() for part in parts):
                continue
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), self.root / file

    def readme(self) -> tuple[str, str]:
        """(text, content type) of the project description; ("", "") when there is none."""
        if self.distribution is None:
            return "", ""
        fields = self.distribution.metadata.json
        text = str(fields.get("description") or "")
        # Metadata read as ASCII carries other characters as surrogates.
        kind = str(fields.get("description_content_type") or "text/x-rst")
        return text.encode("utf-8", "replace").decode("utf-8"), kind

    def licences(self) -> Iterator[tuple[str, str]]:
        """(path inside the distribution's metadata, text) of its licence files, sorted."""
        for file in self._recorded if self.distribution is not None else []:
            inside = [part for part in file.parts if part.endswith(".dist-info")]
            if inside and file.parts[0].endswith(".dist-info") and _LICENCE.search(file.name) and file.suffix != ".py":
                path = self.root / file
                if path.is_file():
                    yield "/".join(file.parts[1:]), path.read_bytes().decode("utf-8", "replace")

    def licence_id(self) -> str:
        """The SPDX expression that the distribution declares, or ""."""
        if self.distribution is None:
            return "PSF-2.0"
        return str(self.distribution.metadata.json.get("license_expression") or "")


def find(name: str) -> SourceTree | None:
    """The installed tree of one listed distribution, or None when it is not installed."""
    selection = next((each for each in SELECTIONS if each.distribution == name), None)
    if name == STDLIB:
        return SourceTree("python", platform.python_version(), Path(sysconfig.get_path("stdlib")), selection, None)
    try:
        held = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return SourceTree(name.lower(), held.version, Path(str(held.locate_file(""))), selection, held)


def environment_fingerprint() -> dict[str, str]:
    """What the sample crawl is made from: {distribution: version and digest of what it installed}.

    The digest is over the distribution's RECORD (path, sha256 and size of each file), without compiled files and the
    installer's own notes, so that two builds of one version (a CPU and a CUDA torch) differ. zlib shapes the gzip
    bytes of the WARC files.
    """
    found = {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    for name in (*(each.distribution for each in SELECTIONS), *README_ONLY):
        tree = find(name)
        if tree is None:
            continue
        digest = hashlib.sha256()
        if tree.distribution is None:
            for dotted, path in tree.modules():
                digest.update(dotted.encode() + b"\0" + path.read_bytes())
        else:
            record = tree.distribution.read_text("RECORD") or ""
            digest.update("\n".join(sorted(filter(_shapes_pages, record.splitlines()))).encode())
        found[tree.name] = f"{tree.version} {digest.hexdigest()[:16]}"
    return found


def _shapes_pages(record_line: str) -> bool:
    """Whether a line of a RECORD (`path,sha256=...,size`) is of a file that may become a page.

    A script beside the interpreter is none, and names that interpreter's folder in its first line.
    """
    path, _, digest = record_line.partition(",")
    if not digest.startswith("sha256=") or path.startswith("../"):
        return False
    return path.endswith((".py", "METADATA")) or (".dist-info/" in path and bool(_LICENCE.search(path)))
