"""The Java that Spark starts, found as Spark finds it. Standard library only: it is asked before installation too."""

import os
import re
import shutil
import subprocess
from pathlib import Path

JAVA_MINIMUM = 17  # of Spark 4
ANSWER_SECONDS = 60


def java_binary() -> str | None:
    """`$JAVA_HOME/bin/java` when JAVA_HOME is set (Spark looks nowhere else then), else the `java` of PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else shutil.which("java")


def java_version() -> int | None:
    """Major version of the Java that Spark would start, or None when there is none that works."""
    java = java_binary()
    if java is None:
        return None
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', said.stderr)
    return int(match.group(1)) if match else None
