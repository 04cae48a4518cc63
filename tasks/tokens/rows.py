"""Which rows a run learns from: files of a split, cut as one stream or domain by domain, and how it draws from them.

The stage that trains and whoever asks later what it was shown both come here, so they cannot disagree.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any, Literal

from infra.errors import BadInput
from model.job import Data
from model.mixture import DomainShare, Mixture
from tasks.tokens.files import ANNEAL, TokenFile, Tokens, prefixes, token_files
from tasks.tokens.trace import Position

RECIPE_FILE = "recipe.json"
Weights = Mapping[str, float] | Literal["recipe", "natural"]


@dataclass(frozen=True)
class Reading:
    """Rows of `seq_len` labels. Without `shares` all files are one stream; with them each domain is one.

    Rows are numbered over the streams, as `model.data` numbers them.
    """

    files: tuple[TokenFile, ...]
    seq_len: int
    shares: tuple[DomainShare, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Domain -> how often its text may be shown over the whole run; one without may be shown any number of times."""
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Domain -> its tokens, of the domains that would be drawn from but do not fill one row."""

    @cached_property
    def streams(self) -> list[tuple[TokenFile, ...]]:
        """The files of each stream."""
        ends = list(accumulate(share.files for share in self.shares)) or [len(self.files)]
        return [self.files[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    @cached_property
    def sizes(self) -> list[int]:
        """Rows of each stream."""
        return [max(0, sum(file.tokens for file in files) - 1) // self.seq_len for files in self.streams]

    @property
    def n_rows(self) -> int:
        """Rows of all streams."""
        return sum(self.sizes)

    @cached_property
    def source(self) -> int | Mixture:
        """What the order of rows is drawn from."""
        return Mixture.of(self.shares, self.sizes) if self.shares else self.n_rows

    def data(self, tokens: Tokens, **more: Any) -> Data:
        """The same for a training job."""
        return Data(train=prefixes(tokens, self.files), mixture=list(self.shares), seq_len=self.seq_len, **more)

    def shown_rows(self, n_samples: int) -> int:
        """How many different rows a run of so many samples shows."""
        draws = self.source.draws(n_samples).tolist() if isinstance(self.source, Mixture) else [n_samples]
        return sum(min(size, drawn) for size, drawn in zip(self.sizes, draws, strict=True))

    def passes(self, first: int, stop: int) -> dict[str, float]:
        """How often the samples [first, stop) of this order show each domain; of one stream, all equally often."""
        if not isinstance(self.source, Mixture):
            return dict.fromkeys((file.domain for file in self.files), (stop - first) / self.n_rows)
        drawn = self.source.draws(stop) - self.source.draws(first)
        return {share.name: n / size for share, n, size in zip(self.shares, drawn.tolist(), self.sizes, strict=True)}

    def position(self, row: int) -> Position:
        """Which tokens a row is: its inputs and the last label, seq_len + 1 tokens."""
        stream = 0
        while row >= self.sizes[stream]:
            row -= self.sizes[stream]
            stream += 1
        start = row * self.seq_len
        files = self.streams[stream]
        return Position(files[0].split, start, start + self.seq_len + 1, files=files)

    def rows_of(self, file: str, token_start: int, token_end: int) -> range:
        """The rows that predict one of these tokens of a file: row r predicts r T + 1 … r T + T of its stream."""
        first_row = 0
        for files, size in zip(self.streams, self.sizes, strict=True):
            before = 0
            for one in files:
                if one.file == file:
                    first = max(before + token_start - 1, 0) // self.seq_len
                    last = min((before + token_end - 2) // self.seq_len, size - 1)
                    return range(first_row + first, first_row + last + 1)
                before += one.tokens
            first_row += size
        return range(0)


def read_rows(
    tokens: Tokens,
    seq_len: int,
    *,
    split: str = "train",
    domains: Collection[str] | None = None,
    mixture: Weights = "natural",
    inherited: bool = False,
    max_epochs: float | Mapping[str, float] | None = None,
    inherited_limits: bool = False,
) -> Reading:
    """What a run learns from.

    Args:
        split: train, or anneal: what the mix has marked for the last phase.
        domains: of these only; None: of all.
        mixture: weights by domain, as shares of tokens; recipe: those that the mix has drawn up; natural: all text as
            one stream. A domain without a weight is left out.
        inherited: the weights are the whole run's: those of other domains than there are here do not count.
        max_epochs: how often a row may be shown, of all domains or domain by domain; None: as the recipe says, or any
            number.
        inherited_limits: the same of `max_epochs`; a recipe for just these rows may have a lower one.

    A domain that does not fill a row is left out of a recipe and of inherited weights; where its own are given for just
    these rows, that is a mistake.

    Raises:
        BadInput: domains or a recipe that are not there, rows longer than what there is.
    """
    files = token_files(tokens, split)
    there = sorted({file.domain for file in files})
    missing = sorted(set(domains or ()) - set(there))
    if missing:
        raise BadInput(f"{tokens.ref} holds no {split} text of {', '.join(missing)}; it has {', '.join(there)}")
    if domains is not None:
        there = [domain for domain in there if domain in domains]
    shares: tuple[DomainShare, ...] = ()
    left_out: dict[str, int] = {}
    most = None
    limited = set(max_epochs) if isinstance(max_epochs, Mapping) and not inherited_limits else set()
    if unknown := sorted(limited - {file.domain for file in files}):
        raise BadInput(f"max_epochs names {unknown[0]!r}, of which {tokens.ref} holds no {_called(split)} text")
    if mixture != "natural":
        if mixture == "recipe":
            weights, most = _recipe(tokens, split, files)
        else:
            weights = dict(mixture)
            if not inherited and (unknown := sorted(set(weights) - set(there))):
                raise BadInput(
                    f"the mixture names {unknown[0]!r}, which `domains` leaves out"
                    if unknown[0] in {file.domain for file in files}
                    else f"the mixture names {unknown[0]!r}, of which {tokens.ref} holds no {_called(split)} text;"
                    f" it has {', '.join(there)}"
                )
        weighted = [domain for domain in there if weights.get(domain, 0.0) > 0]
        if not weighted:
            raise BadInput(f"the mixture gives no weight to what {tokens.ref} has: {', '.join(there) or 'nothing'}")
        sizes = _sizes(files)
        if mixture == "recipe" or inherited:
            left_out = {domain: sizes[domain][0] for domain in weighted if sizes[domain][0] <= seq_len}
        there = [domain for domain in weighted if domain not in left_out]
        if not there:
            told = f"no domain of the mixture fills one row of {seq_len} with its {_called(split)} tokens"
            raise BadInput(f"{tokens.ref}: {told}: {', '.join(weighted)}")
        files = [file for file in files if file.domain in there]
        shares = tuple(
            DomainShare(name=domain, files=len(list(own)), weight=weights[domain])
            for domain, own in groupby(files, key=lambda file: file.domain)
        )
    kept = tuple(file for file in files if file.domain in there)
    told_of = {domain: _limit(max_epochs, domain, most) for domain in there}
    if inherited_limits and not inherited and most is not None:
        told_of = {domain: most if limit is None else min(limit, most) for domain, limit in told_of.items()}
    limits = {domain: limit for domain, limit in told_of.items() if limit is not None}
    reading = Reading(kept, seq_len, shares, limits, left_out)
    for stream, size in zip(reading.streams, reading.sizes, strict=True):
        if size < 1:
            of = f" of {stream[0].domain}" if shares else ""
            n_tokens = sum(file.tokens for file in stream)
            raise BadInput(f"{tokens.ref}: {n_tokens} {_called(split)} tokens{of} do not fill one row of {seq_len}")
    return reading


def _limit(max_epochs: float | Mapping[str, float] | None, domain: str, recipe: float | None) -> float | None:
    """How often rows of a domain may be shown; None: any number of times."""
    if isinstance(max_epochs, Mapping):
        return max_epochs.get(domain, recipe)
    return recipe if max_epochs is None else max_epochs


def _called(split: str) -> str:
    return {"train": "training", ANNEAL: "annealing"}.get(split, split)


def _recipe(tokens: Tokens, split: str, files: Sequence[TokenFile]) -> tuple[dict[str, float], float | None]:
    """(weight by domain, most epochs) of the mix's recipe. Its shares are of bytes; a row holds tokens."""
    mix = tokens.parent("documents")
    has_one = any(entry.path == RECIPE_FILE for entry in mix.files())
    recipe = json.loads(mix.file(RECIPE_FILE).read_text(encoding="utf-8")) if has_one else None
    if split == ANNEAL:
        recipe = (recipe or {}).get("annealing")
    if recipe is None:
        raise BadInput(f"{mix.ref} has no recipe for {_called(split)} text: give the mixture as weights by domain")
    sizes = _sizes(files)
    weights = {
        domain: entry["drawn"] * sizes[domain][0] / sizes[domain][1]
        for domain, entry in recipe["domains"].items()
        if domain in sizes and sizes[domain][1]
    }
    return weights, recipe["max_epochs"]


def _sizes(files: Iterable[TokenFile]) -> dict[str, tuple[int, int]]:
    """domain -> (tokens, bytes)."""
    sizes: dict[str, tuple[int, int]] = {}
    for file in files:
        n_tokens, n_bytes = sizes.get(file.domain, (0, 0))
        sizes[file.domain] = n_tokens + file.tokens, n_bytes + file.n_bytes
    return sizes
