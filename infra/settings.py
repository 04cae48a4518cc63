"""Where things are and how third parties behave: the environment, read when asked and never at import."""

import hashlib
import os
import sys
from pathlib import Path

DEFAULT_STORE = "store"

# No telemetry of any library, and Prefect's ephemeral server given time to migrate its database on a slow machine.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "sluice",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",  # it forks badly; batches are spread over Spark tasks instead
}


def quiet_environment() -> None:
    """Set what must be set before prefect, transformers or tokenizers are imported; the user's own values win."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def store_url(given: str | None = None) -> str:
    """--store, else SLUICE_STORE, else ./store."""
    return given or os.environ.get("SLUICE_STORE") or DEFAULT_STORE


def cache_dir() -> Path:
    """Folder for what can be rebuilt (compiled extensions): SLUICE_CACHE, else ~/.cache/sluice."""
    base = os.environ.get("SLUICE_CACHE")
    if base:
        return Path(base).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice"


def torch_extensions_dir() -> Path:
    """Where DeepSpeed's C++ extension is built once for this installation: the build names its folders."""
    from importlib.metadata import version

    installation = hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    return cache_dir() / f"torch_extensions-{python}-torch{version('torch')}-{installation}"
