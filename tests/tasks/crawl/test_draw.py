"""Taking some of the files: by name and seed alone."""

import random

from tasks.crawl.draw import draw

NAMES = [f"CC-MAIN-20260101000000-{k:05d}.warc.gz" for k in range(5000)]


def take(names: list[str], sample: float | None = None, most: int | None = None, seed: int = 0) -> list[str]:
    return draw(names, str, sample=sample, most=most, seed=seed)


def test_order_does_not_matter() -> None:
    shuffled = random.Random(1).sample(NAMES, len(NAMES))
    for sample, most in [(None, 7), (0.1, None), (30, None), (0.1, 9)]:
        assert take(shuffled, sample, most) == take(NAMES, sample, most)
    assert take(shuffled) == NAMES


def test_the_first_by_name() -> None:
    assert take(NAMES, most=3) == NAMES[:3]
    assert take(NAMES, 0.5, 3) == take(NAMES, 0.5)[:3]


def test_a_share_is_about_that_and_a_number_exactly_that() -> None:
    assert 400 < len(take(NAMES, 0.1)) < 600  # standard deviation 21
    assert len(take(NAMES, 30)) == 30
    assert len(take(NAMES, 1)) == 1
    assert len(take(NAMES[:3], 30)) == 3


def test_a_larger_sample_holds_the_smaller_one() -> None:
    assert set(take(NAMES, 0.1)) < set(take(NAMES, 0.2))
    assert set(take(NAMES, 30)) < set(take(NAMES, 31)) < set(take(NAMES, 0.5))


def test_what_was_drawn_by_share_stays_when_the_crawl_grows() -> None:
    assert set(take(NAMES[:2500], 0.1)) == {name for name in take(NAMES, 0.1) if name < NAMES[2500]}


def test_seeds_draw_differently() -> None:
    assert take(NAMES, 30, seed=1) != take(NAMES, 30, seed=2)
    assert take(NAMES, 3, seed=1) == [NAMES[2001], NAMES[2292], NAMES[3209]]  # on any machine
