from collections import Counter

import pytest
from pydantic import ValidationError

from infra.split import SplitParams, split_of

PAGES = [f"example.org/page/{k}" for k in range(20_000)]


def test_sides_of_known_pages_are_pinned() -> None:
    """The split of published corpora must never move."""
    params = SplitParams(seed=0, validation=0.25, test=0.25)
    assert [split_of(page, params) for page in PAGES[:8]] == PINNED


PINNED = ["train", "test", "validation", "train", "validation", "test", "validation", "test"]


def test_fractions_are_met_in_expectation() -> None:
    counts = Counter(split_of(page, SplitParams(validation=0.1, test=0.05)) for page in PAGES)
    assert abs(counts["validation"] / len(PAGES) - 0.1) < 0.01
    assert abs(counts["test"] / len(PAGES) - 0.05) < 0.008
    assert counts["train"] == len(PAGES) - counts["validation"] - counts["test"]


def test_growing_the_validation_share_moves_pages_only_out_of_training() -> None:
    small, large = SplitParams(validation=0.02, test=0.02), SplitParams(validation=0.1, test=0.02)
    moves = {(split_of(page, small), split_of(page, large)) for page in PAGES}
    assert moves == {("train", "train"), ("train", "validation"), ("validation", "validation"), ("test", "test")}


def test_another_seed_is_another_split() -> None:
    params = [SplitParams(seed=seed, validation=0.5, test=0) for seed in (0, 1)]
    agreeing = sum(split_of(page, params[0]) == split_of(page, params[1]) for page in PAGES)
    assert abs(agreeing / len(PAGES) - 0.5) < 0.02


def test_zero_shares_hold_nothing_out() -> None:
    assert {split_of(page, SplitParams(validation=0, test=0)) for page in PAGES} == {"train"}


def test_shares_that_leave_no_training_pages_are_refused() -> None:
    with pytest.raises(ValidationError, match="leaves no page for training"):
        SplitParams(validation=0.5, test=0.5)
