"""The corpus as training reads it. Start at `stage.py`."""

from tasks.mix.stage import MixParams, mix

__all__ = ["MixParams", "mix"]
