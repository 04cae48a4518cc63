from collections import Counter
from pathlib import Path

import pytest

from infra.errors import BadInput
from tasks.classifier.examples import Example, Sampler, check_sample, training_order

TEXTS = [f"text number {k}" for k in range(200)]


def sampled(
    folder: Path, texts: list[tuple[str, str, str | None]], per_class: int = 1000, balance="none", **options
) -> tuple[list[Example], Sampler]:
    """Offer (text, label, url) in order."""
    given = {"heldout": 0.2, "holdout_by": "page", "seed": 0, **options}
    per_site = given.pop("per_site", None)
    with Sampler(folder / "spool", per_class=per_class, **given) as sampler:
        for row, (text, label, url) in enumerate(texts):
            sampler.add(text, label, source="s", row=row, url=url)
        examples = sampler.sample(balance, per_site)
        assert list(sampler.texts(examples)) == [texts[one.row][0] for one in examples]
    assert sampler.offered == len(examples) + sum(sampler.dropped.values())
    return examples, sampler


def test_the_sample_depends_on_the_texts_and_not_on_their_order(tmp_path: Path) -> None:
    offered = [(text, "a", None) for text in TEXTS]
    forwards, _ = sampled(tmp_path, offered, per_class=50)
    backwards, _ = sampled(tmp_path, offered[::-1], per_class=50)
    assert [(one.digest, one.side) for one in forwards] == [(one.digest, one.side) for one in backwards]
    larger, _ = sampled(tmp_path, offered, per_class=80)
    assert {one.digest for one in forwards} < {one.digest for one in larger}
    other, _ = sampled(tmp_path, offered, per_class=50, seed=1)
    assert {one.digest for one in other} != {one.digest for one in forwards}


def test_all_versions_of_a_page_are_on_one_side(tmp_path: Path) -> None:
    offered = [
        (f"{text} {v}", "a", f"http://x.example/{k}?utm_source={v}") for v in "abc" for k, text in enumerate(TEXTS)
    ]
    examples, _ = sampled(tmp_path, offered)
    sides: dict[int, set[str]] = {}
    for one in examples:
        sides.setdefault(one.row % len(TEXTS), set()).add(one.side)
    assert all(len(found) == 1 for found in sides.values())
    assert Counter(next(iter(found)) for found in sides.values())["heldout"] == pytest.approx(40, abs=20)


def test_by_site_all_pages_of_a_site_are_on_one_side(tmp_path: Path) -> None:
    offered = [
        (f"{text} {host}", "a", f"http://{host}.example/{k}")
        for host in "abcdefgh"
        for k, text in enumerate(TEXTS[:20])
    ]
    examples, _ = sampled(tmp_path, offered, holdout_by="site", heldout=0.5)
    sides = {(str(one.url).split("/")[2], one.side) for one in examples}
    assert len(sides) == 8
    assert {side for _, side in sides} == {"train", "heldout"}


def test_repeated_contradictory_and_empty_texts_are_counted_and_left_out(tmp_path: Path) -> None:
    offered = [
        ("one  text", "a", None),
        ("one text\n", "a", None),
        ("two", "a", None),
        ("two", "b", None),
        (" \n", "b", None),
    ]
    examples, sampler = sampled(tmp_path, offered)
    assert [(one.label, one.row) for one in examples] == [("a", 0)]
    assert +sampler.dropped == {"duplicate_text": 1, "conflicting_labels": 2, "empty_text": 1}


def test_classes_are_cut_to_the_smallest_and_sites_to_their_share(tmp_path: Path) -> None:
    offered = [
        (text, "a" if k % 4 else "b", f"http://{'big' if k % 2 else k}.example/{k}") for k, text in enumerate(TEXTS)
    ]
    examples, _ = sampled(tmp_path, offered, balance="cut")
    assert Counter(one.label for one in examples) == {"a": 50, "b": 50}
    examples, sampler = sampled(tmp_path, offered, per_site=10)
    assert Counter(one.label for one in examples) == {"a": 60, "b": 50}  # a: 50 sites of one page, one of 100
    assert sampler.dropped["per_site"] == 90


def test_small_classes_are_repeated_within_bounds_and_the_heldout_never_learnt(tmp_path: Path) -> None:
    offered = [(text, "a" if k % 20 else "b", None) for k, text in enumerate(TEXTS)]
    examples, _ = sampled(tmp_path, offered)
    n = Counter((one.label, one.side) for one in examples)
    turns = training_order(examples, "repeat", 4, seed=0)
    assert Counter(one.label for one, _ in turns) == {"a": n["a", "train"], "b": 4 * n["b", "train"]}
    assert all(one.side == "train" for one, _ in turns)
    assert training_order(examples[::-1], "repeat", 4, seed=0) == turns
    assert len(training_order(examples, "cut", 4, seed=0)) == n["a", "train"] + n["b", "train"]


def test_too_few_texts_are_an_error_that_says_what_is_needed(tmp_path: Path) -> None:
    examples, _ = sampled(tmp_path, [(text, "a", None) for text in TEXTS])
    with pytest.raises(BadInput, match="two classes; there are texts of a only"):
        check_sample(examples, 10)
    examples, _ = sampled(tmp_path, [(text, "a" if k else "b", None) for k, text in enumerate(TEXTS)])
    with pytest.raises(BadInput, match=r"class b: .* at least 10 and 1"):
        check_sample(examples, 10)
