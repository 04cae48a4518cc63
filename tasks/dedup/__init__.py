"""Duplicates. Start at `stage.py`; the steps are `normalise`, `minhash`, `candidates`, `components` and `keep`."""

from tasks.dedup.stage import DedupParams, deduplicate

__all__ = ["DedupParams", "deduplicate"]
