"""What the process tree costs: Spark's JVM, Python workers and training ranks are all other processes."""

import os

import psutil


def tree_cpu_seconds() -> float:
    """User + system CPU seconds of this process and all its descendants so far, those already reaped included."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended between the listing and the look; its parent has its time
        total += times.user + times.system + times.children_user + times.children_system
    return total


def usable_cores() -> int:
    """Cores that this process may run on (its affinity, not the machine's)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
