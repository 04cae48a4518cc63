"""Which side of the train/validation/test split a page is on.

The side is a pure function of a seed and the page's canonical URL, and of nothing else: not of the time of capture,
the file a record came from, or what else is in the crawl. So a page never changes sides when a crawl grows, is
repeated or is read in another order, and every later stage (tokens, chat data, evaluation) can copy the side.

    position = first 64 bits of BLAKE2b(key = seed as 8 bytes, UTF-8 of the canonical URL) / 2^64, uniform in [0, 1)
    test        if position < test
    validation  if position < test + validation
    train       otherwise

A larger fraction only moves pages out of `train` (or, for `test`, also out of `validation`); it never puts a
held-out page into training.
"""

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from infra.params import Params

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class SplitParams(Params):
    """Shares of the pages that are held out. They are expectations: the hash of a URL decides, no page is counted."""

    seed: int = Field(0, ge=0, lt=1 << 63, description="Seed of the hash; another seed is another split.")
    validation: float = Field(0.02, ge=0, lt=1, description="Share of pages held out for validation.")
    test: float = Field(0.02, ge=0, lt=1, description="Share of pages held out for the final test.")

    @model_validator(mode="after")
    def _leaves_training_pages(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test = {self.validation + self.test:g} leaves no page for training")
        return self


def split_of(canonical_url: str, params: SplitParams) -> Split:
    """The side of one page, by its canonical URL (a document without URL: by its doc_id)."""
    key = params.seed.to_bytes(8, "big")
    digest = hashlib.blake2b(canonical_url.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < params.test:
        return "test"
    if position < params.test + params.validation:
        return "validation"
    return "train"
