import pyarrow as pa
import pytest

from infra.errors import BadConfig
from tasks.mix.recipe import Sizes, add_sizes, make_recipe, sizes_of

SIZES: Sizes = {
    "code": {"train": {"documents": 3, "bytes": 300}, "test": {"documents": 1, "bytes": 70}},
    "news": {"train": {"documents": 1, "bytes": 100}, "validation": {"documents": 2, "bytes": 9}},
}


def test_sizes_are_counted_by_domain_and_split() -> None:
    table = pa.table({"domain": ["a", "a", "b"], "split": ["train", "train", "test"], "n_bytes": [5, 6, 7]})
    total: Sizes = {}
    for _ in range(2):
        add_sizes(total, sizes_of(table))
    assert total == {
        "a": {"train": {"documents": 4, "bytes": 22}},
        "b": {"test": {"documents": 2, "bytes": 14}},
    }


def test_without_wishes_a_run_draws_what_there_is() -> None:
    recipe = make_recipe(SIZES, None, 4.0)
    domains = recipe["domains"]
    assert (domains["code"]["share"], domains["news"]["share"]) == (0.75, 0.25)
    assert domains["code"]["drawn"] == 0.75
    assert domains["code"]["validation"] == {"documents": 0, "bytes": 0}
    assert (recipe["max_epochs"], recipe["annealing"], recipe["unit"]) == (4.0, [], "utf-8 bytes")


def test_wishes_are_weights_over_the_domains_there_are() -> None:
    domains = make_recipe(SIZES, {"news": 3, "code": 1}, 4.0)["domains"]
    assert (domains["news"]["drawn"], domains["code"]["drawn"]) == (0.75, 0.25)
    assert make_recipe(SIZES, {"news": 1}, 4.0)["domains"]["code"]["drawn"] == 0


def test_a_wish_for_text_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadConfig, match="'poems', which has no training text; there is: code, news"):
        make_recipe(SIZES, {"poems": 1.0}, 4.0)
    with pytest.raises(BadConfig, match="sums to 0"):
        make_recipe(SIZES, {"code": 0.0}, 4.0)


def test_an_empty_corpus_has_an_empty_recipe() -> None:
    assert make_recipe({}, None, 1.0)["domains"] == {}
