"""The Spark session: one a process, started when the first part has to be computed.

Stages use Spark in two ways: `map_parts` (one task a part, pyarrow in and out; Spark only places and retries the work)
and DataFrame jobs over ids and hashes (dedup). Texts never go through a shuffle.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import EnvironmentProblem
from infra.java import JAVA_MINIMUM, java_version
from infra.params import Runtime
from infra.process import usable_cores
from infra.settings import cache_dir

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TASK_FAILURES = 4  # a worker killed from outside is tried again
ROOT = Path(__file__).resolve().parents[1]
LOG4J = Path(__file__).with_name("spark_conf") / "log4j2.properties"


def require_java() -> None:
    """Raise when Spark could not start.

    Raises:
        EnvironmentProblem: no Java, or one that is too old.
    """
    found = java_version()
    if found is None or found < JAVA_MINIMUM:
        have = "no working java was found" if found is None else f"java is version {found}"
        where = f" (JAVA_HOME={os.environ['JAVA_HOME']})" if "JAVA_HOME" in os.environ else ""
        raise EnvironmentProblem(
            f"Spark needs Java {JAVA_MINIMUM} or newer, but {have}{where}; install one (Debian:"
            " openjdk-17-jre-headless) or point JAVA_HOME at it; `sluice doctor` checks the rest"
        )


def session(runtime: Runtime | None = None) -> "SparkSession":
    """The process's Spark session, started on first use with this runtime.

    Raises:
        EnvironmentProblem: no usable Java.
    """
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    require_java()
    runtime = runtime or Runtime()
    cores = runtime.cores or usable_cores()
    scratch = runtime.spark.local_dirs or _scratch()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join(_import_path())
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["SPARK_CONF_DIR"] = str(LOG4J.parent)
    builder = (
        SparkSession.builder.appName("sluice")
        .master(runtime.spark.master or f"local[{cores},{TASK_FAILURES}]")
        .config("spark.driver.memory", runtime.spark.driver_memory)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile=file:{LOG4J} {_jvm_options(runtime)}")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(max(2 * cores, 4)))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "4096")
        .config("spark.local.dir", scratch)
        .config("spark.sql.warehouse.dir", str(Path(scratch) / "warehouse"))
        .config("spark.python.worker.faulthandler.enabled", "true")
    )
    with _stderr_to(cache_dir() / "spark.log"):
        return builder.getOrCreate()


def _jvm_options(runtime: Runtime) -> str:
    """On one machine jobs are short: the quick compiler alone saves a third of the JVM's CPU time (docs/log.md)."""
    return "" if runtime.spark.master else "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def stop_session() -> None:
    """End the JVM, if there is one: before training, which wants the memory."""
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        active.stop()


@contextmanager
def _stderr_to(log: Path) -> Iterator[None]:
    """Start children with their stderr in a file: what the JVM has to say there helps no user."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    ours = os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


@lru_cache
def _scratch() -> str:
    """A folder for shuffle files that goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="sluice-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _import_path() -> list[str]:
    """Where workers find the house and whatever the driver was started with."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([str(ROOT), *(path for path in inherited if path)]))
