"""A mixture: which domain each sample of a run is of, and which of the domain's rows.

Both are pure functions. The domains follow one another in a fixed order in which, after any number n of samples, a
domain of weight w has had between w n - 1 and w n + 1 of them: the chairman assignment problem (Tijdeman 1980, "The
chairman assignment problem", Discrete Mathematics 32), whose schedule is that of earliest deadlines. Weights are
integers of a sum P of about 100,000 at most, so the order repeats after P samples and any place of it is found at once.

The j-th sample of a domain with n rows is row `permute(j mod n)` of its epoch `j div n`: each row once before any
comes twice, as in a run without a mixture. A domain's order depends on the seed and its name, not on what else there
is.
"""

import hashlib
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from model.batching import Int64, mix_bits, permute, sample_rows

MOST_SAMPLES_IN_A_PERIOD = 100_000  # shares of five decimals are exact
ROUNDING = 1e-9  # what floats of such shares are off by at most


class DomainShare(BaseModel):
    """What a run draws of one domain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Of the domain.")
    files: int = Field(ge=1, description="How many of the files that are learnt from are its, in order.")
    weight: float = Field(gt=0, description="Its share of the rows, relative to the others'.")


@dataclass(frozen=True)
class Mixture:
    """Domains of `sizes` rows; of `sum(parts)` samples in a row domain d has `parts[d]`.

    Rows are numbered over the domains, those of one after those of the domain before it.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    parts: tuple[int, ...]

    @classmethod
    def of(cls, shares: Sequence[DomainShare], sizes: Sequence[int]) -> Self:
        """A mixture of domains of so many rows.

        Raises:
            ValueError: no domain, or one without a row.
        """
        if not shares:
            raise ValueError("a mixture needs at least one domain")
        for share, size in zip(shares, sizes, strict=True):
            if size < 1:
                raise ValueError(f"domain {share.name} of the mixture does not fill one row")
        names = tuple(share.name for share in shares)
        return cls(names, tuple(sizes), whole_parts([share.weight for share in shares]))

    def __len__(self) -> int:
        """Rows of all domains."""
        return sum(self.sizes)

    def draws(self, n_samples: int) -> Int64:
        """How many of the first `n_samples` samples each domain has, int64[domains]."""
        order, _ = schedule(self.parts)
        periods, rest = divmod(n_samples, len(order))
        counted = np.bincount(order[:rest], minlength=len(self.parts)).astype(np.int64)
        return periods * np.asarray(self.parts, np.int64) + counted

    def rows(self, first: int, count: int, seed: int) -> Int64:
        """Row numbers of the samples [first, first + count)."""
        order, earlier = schedule(self.parts)
        samples = np.arange(first, first + count, dtype=np.int64)
        periods, places = samples // len(order), samples % len(order)
        rows = np.empty(count, np.int64)
        start = 0
        for domain, size in enumerate(self.sizes):
            here = order[places] == domain
            draws = periods[here] * self.parts[domain] + earlier[places[here]]
            shown = np.empty(len(draws), np.int64)
            for epoch in np.unique(draws // size):
                now = draws // size == epoch
                shown[now] = permute(draws[now] % size, size, domain_seed(seed, self.names[domain]), int(epoch))
            rows[here] = start + shown
            start += size
        return rows


def drawn_rows(first: int, count: int, source: int | Mixture, seed: int) -> Int64:
    """Row numbers of the samples [first, first + count): of a mixture, or of so many rows epoch after epoch."""
    return source.rows(first, count, seed) if isinstance(source, Mixture) else sample_rows(first, count, source, seed)


def whole_parts(weights: Sequence[float]) -> tuple[int, ...]:
    """Positive weights as integers: exact where they are fractions of a common denominator up to the longest period.

    Others are rounded to `MOST_SAMPLES_IN_A_PERIOD`-ths by largest remainders, none to less than one.
    """
    total = sum(weights)
    exact = [Fraction(weight / total).limit_denominator(MOST_SAMPLES_IN_A_PERIOD) for weight in weights]
    period = math.lcm(*(part.denominator for part in exact))
    near = all(abs(part - Fraction(weight / total)) < ROUNDING for part, weight in zip(exact, weights, strict=True))
    if near and all(exact) and sum(exact) == 1 and period <= MOST_SAMPLES_IN_A_PERIOD:
        return tuple(int(part * period) for part in exact)
    wanted = [weight / total * MOST_SAMPLES_IN_A_PERIOD for weight in weights]
    parts = [max(1, math.floor(part + MOST_SAMPLES_IN_A_PERIOD * ROUNDING)) for part in wanted]
    by_remainder = sorted(range(len(parts)), key=lambda d: parts[d] - wanted[d])
    for domain in by_remainder[: max(0, MOST_SAMPLES_IN_A_PERIOD - sum(parts))]:
        parts[domain] += 1
    common = math.gcd(*parts)
    return tuple(part // common for part in parts)


@lru_cache(maxsize=16)
def schedule(parts: tuple[int, ...]) -> tuple[npt.NDArray[np.int32], Int64]:
    """(domain of each sample of a period, how many of the period's samples before it are of that domain).

    Sample n of domain d's j-th turn must lie where neither n w - j nor j + 1 - n w exceeds 1 - 1/(2 D - 2) for D
    domains: it is released at the first such n and due at the last; earliest deadlines first meets them all.
    """
    period, slack = sum(parts), max(2, 2 * len(parts) - 2)
    order, earlier = np.empty(period, np.int32), np.empty(period, np.int64)

    def released(domain: int, turn: int) -> int:
        return -(-period * (turn * slack + 1) // (parts[domain] * slack))

    def due(domain: int, turn: int) -> int:
        return period * (turn * slack + slack - 1) // (parts[domain] * slack)

    waiting = [(released(domain, 0), domain, 0) for domain in range(len(parts))]
    heapq.heapify(waiting)
    ready: list[tuple[int, int, int]] = []
    for place in range(period):
        while waiting and waiting[0][0] <= place + 1:
            _, domain, turn = heapq.heappop(waiting)
            heapq.heappush(ready, (due(domain, turn), domain, turn))
        _, domain, turn = heapq.heappop(ready)
        order[place], earlier[place] = domain, turn
        if turn + 1 < parts[domain]:
            heapq.heappush(waiting, (released(domain, turn + 1), domain, turn + 1))
    return order, earlier


def domain_seed(seed: int, name: str) -> int:
    """Seed of a domain's order."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    mixed = mix_bits(mix_bits(np.array([seed], np.uint64)) ^ np.frombuffer(digest, "<u8").astype(np.uint64))
    return int(mixed[0])
