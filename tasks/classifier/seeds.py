"""Domains guessed from a page's address and from signs in its text, to learn a domain classifier from.

The rules are `seeds.yaml`, or a user's own in the same form. They are weak labels: what is measured on the held-out
side is agreement with them, not with the truth.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml
from pydantic import Field, field_validator

from infra.params import Params
from tasks.classifier.signs import signs_of

BUILT_IN = Path(__file__).with_name("seeds.yaml")
# What a recipe can name. `multilingual` is never learnt.
GENERAL, MULTILINGUAL = "general", "multilingual"
DOMAINS = (GENERAL, "math", "code", MULTILINGUAL, "books", "news", "forums")
SIGNS = tuple(signs_of(""))
AMBIGUOUS = "ambiguous"
TRACE = 0.1  # of a sign's least value: from here on a page is not certain to be without it


class DomainSeeds(Params):
    """What marks a page of one domain; see seeds.yaml."""

    hosts: tuple[str, ...] = Field((), description="The host itself or any subdomain of it.")
    host_labels: tuple[str, ...] = Field((), description="One label of the host.")
    path_segments: tuple[str, ...] = Field((), description="One segment of the path, lower case, without extension.")
    path_pattern: str | None = Field(None, description="Regular expression over the lower-case path.")
    signs: dict[str, float] = Field(default_factory=dict, description="Sign of the text -> least value.")

    @field_validator("signs")
    @classmethod
    def _known(cls, signs: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(signs) - set(SIGNS))
        if unknown:
            raise ValueError(f"no sign is called {unknown[0]!r}; there are: {', '.join(SIGNS)}")
        return signs

    @field_validator("path_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"path_pattern is no regular expression: {error}") from error
        return pattern


class Seed(NamedTuple):
    """A guess and the rule it comes from, such as "hosts: arxiv.org". `domain` may be AMBIGUOUS."""

    domain: str
    why: str


@cache
def built_in_seeds() -> Mapping[str, DomainSeeds]:
    """The rules of seeds.yaml by domain."""
    content = yaml.safe_load(BUILT_IN.read_text(encoding="utf-8"))
    return {domain: DomainSeeds.model_validate(rules) for domain, rules in content.items()}


def seeds_digest() -> dict[str, str]:
    """sha256 of seeds.yaml: part of the version of what was learnt from it."""
    return {"seeds.yaml": hashlib.sha256(BUILT_IN.read_bytes()).hexdigest()}


def seed_of(url: str | None, text: str, rules: Mapping[str, DomainSeeds]) -> Seed | None:
    """The domain of a page as its rules tell.

    A page that no rule claims is `general` when it has no trace of any sign (less than a tenth of its least value),
    and None, too uncertain to learn from, when it has.
    """
    host, path = _parts(url)
    claims = _by_host(host, rules) or _by_path(host, path, rules)
    if not claims:
        signs = signs_of(text)
        claims = _by_signs(signs, rules)
        if not claims:
            traces = any(signs[s] >= least * TRACE for seeds in rules.values() for s, least in seeds.signs.items())
            return None if traces else Seed(GENERAL, "no sign of another domain")
    if len({claim.domain for claim in claims}) > 1:
        return Seed(AMBIGUOUS, "; ".join(claim.why for claim in claims))
    return claims[0]


def _parts(url: str | None) -> tuple[str, str]:
    try:
        parts = urlsplit(url or "")
        return (parts.hostname or "").lower(), parts.path.lower()
    except ValueError:
        return "", ""


def _by_host(host: str, rules: Mapping[str, DomainSeeds]) -> list[Seed]:
    """The longest host that matches: math.stackexchange.com outweighs stackexchange.com."""
    found = [
        (len(known), Seed(domain, f"hosts: {known}"))
        for domain, seeds in rules.items()
        for known in seeds.hosts
        if host == known or host.endswith(f".{known}")
    ]
    longest = max((length for length, _ in found), default=0)
    return [seed for length, seed in found if length == longest]


def _by_path(host: str, path: str, rules: Mapping[str, DomainSeeds]) -> list[Seed]:
    labels = set(host.split("."))
    segments = {segment.split(".")[0] for segment in path.split("/")} - {""}
    claims = []
    for domain, seeds in rules.items():
        why = _first("host_labels", seeds.host_labels, labels) or _first("path_segments", seeds.path_segments, segments)
        if why is None and seeds.path_pattern is not None and re.search(seeds.path_pattern, path):
            why = "path_pattern"
        if why is not None:
            claims.append(Seed(domain, why))
    return claims


def _first(kind: str, known: Sequence[str], found: set[str]) -> str | None:
    return next((f"{kind}: {name}" for name in known if name in found), None)


def _by_signs(signs: Mapping[str, float], rules: Mapping[str, DomainSeeds]) -> list[Seed]:
    return [
        Seed(domain, f"signs: {sign} {signs[sign]:.2f}")
        for domain, seeds in rules.items()
        for sign, least in seeds.signs.items()
        if signs[sign] >= least
    ]
