"""The hand-written texts of `oddtexts.yaml`, typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True)
class Foreign:
    """A page in another language and the charset it is sent in."""

    language: str
    charset: str
    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class English:
    """An ordinary English page that is not documentation."""

    path: str
    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OddTexts:
    """All texts; `personal` is full of (invented) personal data."""

    foreign: tuple[Foreign, ...]
    english: tuple[English, ...]
    personal: tuple[str, ...]


@cache
def odd_texts() -> OddTexts:
    """Read the texts."""
    held = yaml.safe_load(Path(__file__).with_name("oddtexts.yaml").read_text(encoding="utf-8"))
    return OddTexts(
        tuple(Foreign(p["language"], p["charset"], p["title"], tuple(p["paragraphs"])) for p in held["foreign"]),
        tuple(English(p["path"], p["title"], tuple(p["paragraphs"])) for p in held["english"]),
        tuple(held["personal"]),
    )
