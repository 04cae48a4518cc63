"""Which labelled texts a classifier learns from, and which it is measured on.

Both are pure functions of the texts and a seed, whatever order they come in:

    order   hash of the text. A class is sampled by taking its lowest hashes, so that a text that is met twice counts
            once, and a larger sample holds the smaller one.
    side    hash of the page (canonical URL; of a text without URL its own digest) or of the site. All versions of a
            page are on one side; by site, the classifier is measured on sites that it has never seen.

Texts lie in a spool file and not in memory: what is held is some 300 bytes an example, and the spool stays near the
size of the sample, since of N texts only about n (1 + ln(N / n)) ever are among the n lowest.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from infra.errors import BadInput
from tasks.dedup.normalise import plain, text_digest
from tasks.dedup.urls import canonical_url
from tasks.extract.provenance import site_of

Side = Literal["train", "heldout"]
Holdout = Literal["page", "site"]
Balance = Literal["cut", "repeat", "none"]
HASH_SPAN = 1 << 64


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text: where it is from (never the text itself) and what was decided on it."""

    source: str  # artifact reference or file name
    doc_id: str | None
    part: int  # of a file: 0
    row: int
    url: str | None
    label: str
    why: str | None  # the rule that gave the label
    digest: str
    order: int
    side: Side
    offset: int  # in the spool
    n_bytes: int

    @property
    def place(self) -> tuple[str, int, int]:
        return self.source, self.part, self.row


class Sampler:
    """Collects labelled texts and keeps those of the sample. A context manager: it holds a file open."""

    def __init__(self, spool: Path, *, per_class: int, heldout: float, holdout_by: Holdout, seed: int) -> None:
        self.offered = 0  # records in all, unusable ones included
        self.seen: Counter[str] = Counter()  # label -> texts
        self.dropped: Counter[str] = Counter()
        self._spool = spool.open("w+b")
        self._per_class = per_class
        self._heldout = heldout
        self._by = holdout_by
        self._seed = seed
        self._heaps: dict[str, list[tuple[int, str]]] = {}  # label -> (-order, digest): the highest order first
        self._members: dict[str, dict[str, Example]] = {}  # label -> digest -> example

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spool.close()

    def add(
        self,
        text: str,
        label: str,
        *,
        source: str,
        row: int,
        part: int = 0,
        doc_id: str | None = None,
        url: str | None = None,
        why: str | None = None,
    ) -> None:
        """Offer one text. Its fate is counted in `dropped` unless it is in the sample at the end."""
        self.offered += 1
        self.seen[label] += 1
        evened = plain(text)
        if not evened:
            self.dropped["empty_text"] += 1
            return
        digest = text_digest(evened)
        heap, members = self._heaps.setdefault(label, []), self._members.setdefault(label, {})
        order = position(digest, self._seed)
        if digest in members:
            self.dropped["duplicate_text"] += 1
            if (source, part, row) >= members[digest].place:
                return
        elif len(heap) < self._per_class:
            heapq.heappush(heap, (-order, digest))
        else:
            self.dropped["not_sampled"] += 1
            if order >= -heap[0][0]:
                return
            _, worst = heapq.heapreplace(heap, (-order, digest))
            del members[worst]
        encoded = text.encode("utf-8", "surrogatepass")
        offset = self._spool.seek(0, 2)
        self._spool.write(encoded)
        members[digest] = Example(
            source=source,
            doc_id=doc_id,
            part=part,
            row=row,
            url=url,
            label=label,
            why=why,
            digest=digest,
            order=order,
            side=self._side(url, digest),
            offset=offset,
            n_bytes=len(encoded),
        )

    def skip(self, reason: str, n: int = 1, *, seen: int | None = None) -> None:
        """Count records that are no examples (`seen`: those of them that were not offered before; default all)."""
        self.offered += n if seen is None else seen
        self.dropped[reason] += n

    def sample(self, balance: Balance, per_site: int | None = None) -> list[Example]:
        """The examples in hash order. Texts under two labels are in neither; `cut` cuts to the smallest class.

        Args:
            per_site: how many of one site a class may have, so that it is not the site that is learnt.
        """
        labels = Counter(digest for members in self._members.values() for digest in members)
        classes: dict[str, list[Example]] = {}
        for label, members in sorted(self._members.items()):
            own = [example for digest, example in members.items() if labels[digest] == 1]
            self.dropped["conflicting_labels"] += len(members) - len(own)
            own.sort(key=lambda example: (example.order, example.digest))
            classes[label] = own if per_site is None else _at_most(own, per_site)
            self.dropped["per_site"] += len(own) - len(classes[label])
        if balance == "cut" and classes:
            smallest = min(map(len, classes.values()))
            for label, own in classes.items():
                self.dropped["balance"] += len(own) - smallest
                classes[label] = own[:smallest]
        return sorted((one for own in classes.values() for one in own), key=lambda one: (one.order, one.digest))

    def texts(self, examples: Sequence[Example]) -> Iterator[str]:
        """The texts of examples, one at a time."""
        for example in examples:
            self._spool.seek(example.offset)
            yield self._spool.read(example.n_bytes).decode("utf-8", "surrogatepass")

    def _side(self, url: str | None, digest: str) -> Side:
        page = canonical_url(url) if url else digest
        if self._by == "site" and url:
            page = _site(url)
        return "heldout" if position(f"side {page}", self._seed) < self._heldout * HASH_SPAN else "train"


def _at_most(examples: Sequence[Example], per_site: int) -> list[Example]:
    taken: Counter[str] = Counter()
    kept = []
    for example in examples:
        site = _site(example.url) if example.url else example.digest  # without URL: a site of its own
        taken[site] += 1
        if taken[site] <= per_site:
            kept.append(example)
    return kept


def _site(url: str) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return site_of(host) if host else url


def position(key: str, seed: int) -> int:
    """64 bits of BLAKE2b keyed with the seed: where a key is in an order that is nobody's."""
    salted = seed.to_bytes(8, "big")
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salted).digest()
    return int.from_bytes(digest, "big")


def check_sample(examples: Sequence[Example], least: int) -> None:
    """Raise `BadInput` unless there are two classes, each with `least` texts to learn from and one to be held out."""
    sides = Counter((example.label, example.side) for example in examples)
    labels = sorted({label for label, _ in sides})
    if len(labels) < 2:
        raise BadInput(f"a classifier needs two classes; there are texts of {labels[0] if labels else 'none'} only")
    for label in labels:
        if sides[label, "train"] < least or not sides[label, "heldout"]:
            raise BadInput(
                f"class {label}: {sides[label, 'train']} texts to learn from and {sides[label, 'heldout']} held out;"
                f" at least {least} and 1 are needed (min_examples, heldout): give more, or another seed"
            )


def training_order(
    examples: Sequence[Example], balance: Balance, max_repeats: int, seed: int
) -> list[tuple[Example, int]]:
    """(example, repetition) in the order of training; with `repeat`, small classes come up to `max_repeats` times.

    A class is repeated until it is as large as the largest; each repetition is shuffled by a hash of its own.
    """
    train = [example for example in examples if example.side == "train"]
    sizes = Counter(example.label for example in train)
    times: Mapping[str, int] = {
        label: min(max_repeats, max(1, round(max(sizes.values()) / n))) if balance == "repeat" else 1
        for label, n in sizes.items()
    }
    turns = [(example, turn) for example in train for turn in range(times[example.label])]
    return sorted(turns, key=lambda pair: (position(f"{pair[1]} {pair[0].digest}", seed), pair[0].label))
