"""Some of the files of a crawl: which, depends on their names and a seed alone."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

F = TypeVar("F")


def draw(files: Sequence[F], name: Callable[[F], str], *, sample: float | None, most: int | None, seed: int) -> list[F]:
    """Take a sample of the files, then at most `most` of those, the first by name.

    Args:
        sample: below 1: each file is taken with this probability, for itself, so that a crawl that grows keeps what
            was drawn; from 1 on: the so many files with the smallest hashes.

    >>> draw(["b", "a", "c"], str, sample=None, most=2, seed=0)
    ['a', 'b']
    """
    taken = sorted(files, key=name)
    if sample is not None and sample < 1:
        taken = [file for file in taken if _hash(seed, name(file)) < sample * 2.0**64]
    elif sample is not None:
        chosen = sorted(taken, key=lambda file: _hash(seed, name(file)))[: math.floor(sample)]
        taken = sorted(chosen, key=name)
    return taken[:most]


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogateescape")).digest()[:8], "big")
