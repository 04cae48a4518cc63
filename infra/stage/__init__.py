"""Stages. Start at `stage.py`; `key.py` says what a version is made of, `part.py` and `draft.py` how work resumes."""

from infra.stage.context import RunContext, StageResult, current_run, running
from infra.stage.draft import Draft, PartWriter
from infra.stage.part import Part
from infra.stage.source import PartSource, Source
from infra.stage.stage import REGISTRY, Stage, parse_params, stage

__all__ = [
    "REGISTRY",
    "Draft",
    "Part",
    "PartSource",
    "PartWriter",
    "RunContext",
    "Source",
    "Stage",
    "StageResult",
    "current_run",
    "parse_params",
    "running",
    "stage",
]
