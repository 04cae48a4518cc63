import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import BadConfig
from tasks.classifier.seeds import DOMAINS
from tasks.mix.recipe import LLAMA3_SHARES, Sizes, add_sizes, make_recipe, select_annealing, sizes_of

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
    assert (recipe["max_epochs"], recipe["annealing"], recipe["unit"]) == (4.0, None, "utf-8 bytes")
    assert (domains["code"]["wanted"], domains["code"]["epochs"], recipe["budget_bytes"]) == (0.75, 1.0, 400)
    assert recipe["lacking"] == recipe["short"] == {}


def test_wishes_are_weights_over_the_domains_there_are() -> None:
    domains = make_recipe(SIZES, {"news": 3, "code": 1}, 4.0)["domains"]
    assert (domains["news"]["drawn"], domains["code"]["drawn"]) == (0.75, 0.25)
    assert make_recipe(SIZES, {"news": 1}, 4.0)["domains"]["code"]["drawn"] == 0


def test_a_wish_for_text_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadConfig, match="'poems', which has no training text; there is: code, news"):
        make_recipe(SIZES, {"poems": 1.0, "news": 1.0}, 4.0)
    with pytest.raises(BadConfig, match="sums to 0"):
        make_recipe(SIZES, {"code": 0.0}, 4.0)


def test_shares_that_would_draw_nothing_are_refused() -> None:
    with pytest.raises(BadConfig, match="only domains without training text: books, math; there is: code, news"):
        make_recipe(SIZES, {"math": 0.5, "books": 0.5, "code": 0.0}, 4.0)
    assert make_recipe({}, {"math": 1.0}, 4.0)["lacking"] == {"math": 1.0}  # of no text there is nothing to draw


LLAMA_SIZES: Sizes = {
    name: {"train": {"documents": 1, "bytes": size}}
    for name, size in {"general": 600, "books": 200, "math": 50, "code": 100}.items()
}


def test_llamas_shares_are_of_groups_and_what_the_data_lacks_is_said() -> None:
    recipe = make_recipe(LLAMA_SIZES, LLAMA3_SHARES, 100.0, groups=True)
    assert recipe["lacking"] == {"multilingual": 0.08}
    wanted = {name: domain["wanted"] for name, domain in recipe["domains"].items()}
    # 50 : 25 : 17 over 92; books are general knowledge and share its half by size
    assert wanted == pytest.approx({"general": 0.375 / 0.92, "books": 0.125 / 0.92, "math": 25 / 92, "code": 17 / 92})
    assert recipe["short"] == {}


def test_a_domain_that_a_model_knows_may_lack_and_is_said() -> None:
    recipe = make_recipe(LLAMA_SIZES, {"news": 1.0, "code": 1.0}, 100.0)
    assert (recipe["lacking"], recipe["domains"]["code"]["wanted"]) == ({"news": 1.0}, 1.0)


def test_no_domain_is_repeated_more_often_than_allowed_and_the_others_make_up_for_it() -> None:
    recipe = make_recipe(LLAMA_SIZES, LLAMA3_SHARES, 4.0, groups=True)
    domains = recipe["domains"]
    assert domains["math"]["epochs"] == pytest.approx(4.0)
    assert recipe["short"] == {"math": {"wanted": 0.271739, "drawn": 0.210526}}  # 4 * 50 of 950 bytes
    assert sum(domain["drawn"] for domain in domains.values()) == pytest.approx(1.0)
    assert domains["general"]["drawn"] / domains["code"]["drawn"] == pytest.approx(0.375 / 0.17)  # as was wanted
    assert max(domain["epochs"] for domain in domains.values()) <= 4.0 + 1e-9


@given(
    st.dictionaries(st.sampled_from(DOMAINS), st.integers(1, 1000), min_size=1),
    st.floats(0.5, 8),
    st.integers(1, 10_000),
)
def test_what_is_drawn_sums_to_one_within_the_epochs(sizes: dict[str, int], epochs: float, budget: int) -> None:
    there: Sizes = {name: {"train": {"documents": 1, "bytes": size}} for name, size in sizes.items()}
    recipe = make_recipe(there, {"general": 3.0, "code": 1.0, next(iter(sizes)): 1.0}, epochs, budget_bytes=budget)
    assert sum(domain["drawn"] for domain in recipe["domains"].values()) == pytest.approx(1.0)
    assert all(domain["epochs"] <= epochs * (1 + 1e-6) for domain in recipe["domains"].values())
    assert recipe["budget_bytes"] <= budget


def test_a_budget_beyond_all_repeats_is_cut_to_what_can_be_had() -> None:
    recipe = make_recipe(SIZES, {"news": 1.0}, 2.0)
    assert (recipe["budget_bytes"], recipe["domains"]["news"]["epochs"]) == (200, 2.0)


def test_the_annealing_selection_draws_more_of_what_it_weights() -> None:
    annealing = select_annealing(SIZES, 0.9, {"code": 0.5, "news": 0.7}, {"code": 3.0}, 4.0)
    assert annealing["domains"]["code"] == {"documents": 3, "bytes": 300, "share": 0.75, "drawn": 0.9}
    assert (annealing["quality_at_least"], annealing["column"]) == ({"code": 0.5, "news": 0.7}, "anneal")


def test_an_empty_corpus_has_an_empty_recipe() -> None:
    assert make_recipe({}, None, 1.0)["domains"] == {}
