"""What a run shows: by phases and mixtures, the same as the training process, and back to the documents."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.errors import BadConfig, BadInput
from infra.store import Artifact, Store
from model.course import course_of, streams_of
from model.data import MixedRows, TokenRows
from model.job import Data, Job
from model.mixture import Mixture
from tasks.course import check_names, phases_of, readings_of, shown, steps_of
from tasks.pretrain import PretrainParams
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens import TokensParams
from tasks.tokens import tokens as tokens_stage
from tasks.tokens.files import Tokens, prefixes, token_files
from tasks.tokens.rows import read_rows
from tasks.tokens.trace import TracedDocument, row_documents
from tests.tasks.mixtures import mixture
from tests.tasks.test_encoding import TEXTS

DOMAINS = ("code", "general", "law")
RECIPE = {
    "domains": {"code": {"drawn": 0.5}, "general": {"drawn": 0.5}, "law": {"drawn": 0.0}},
    "max_epochs": 4.0,
    "annealing": {"domains": {"code": {"drawn": 0.8}, "general": {"drawn": 0.2}}, "max_epochs": 2.0},
}
GIVEN = {"seq_len": 16, "batch_size": 6, "seed": 3}


def documents() -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "doc_id": f"p{part}d{k}",
                "text": f"{k} {TEXTS[(part + k) % len(TEXTS)]}",
                "split": "validation" if k == 5 else "train",
                "domain": DOMAINS[(part + k) % 3],
                "language": "en",
                "anneal": k % 2 == 0 and DOMAINS[(part + k) % 3] != "law",
            }
            for k in range(9)
        ]
        for part in range(3)
    ]


def made_of(store: Store, recipe: dict[str, Any] | None) -> Tokens:
    mix = mixture(store, documents(), recipe)
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=400))
    made = tokens_stage.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams(group_bytes=1))
    return Tokens(made.store, made.manifest)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return made_of(Store(tmp_path_factory.mktemp("course")), RECIPE)


PHASED = {
    **GIVEN,
    "mixture": {"code": 2, "general": 1, "law": 1},
    "batch_ramp": [{"tokens": 16 * 6 * 3, "batch_size": 9}],
    "phases": [
        {"name": "main", "steps": 5},
        {"name": "on", "steps": 4, "batch_size": 5},
        {"name": "long", "tokens": 500, "seq_len": 32, "domains": ["law", "general"]},
        {"name": "plain", "steps": 2, "mixture": "natural", "domains": ["law", "general"]},
        {"name": "anneal", "steps": 3, "split": "anneal", "mixture": "recipe"},
    ],
}


@pytest.mark.parametrize(
    "given",
    [
        {**GIVEN, "steps": 8},
        {**GIVEN, "steps": 8, "mixture": "recipe"},
        {**GIVEN, "steps": 20, "mixture": {"law": 0.25, "code": 0.75}, "max_epochs": 9},
        PHASED,
    ],
)
def test_it_is_what_the_training_process_draws(tokens: Tokens, given: dict[str, Any]) -> None:
    params = PretrainParams.model_validate(given)
    phases = phases_of(params, tokens, readings_of(params, tokens))
    steps = steps_of(params, n_rows=0)
    job = Job.model_validate(
        {
            "objective": "lm",
            "shape": params.shape.network(400, 32, True),
            "data": readings_of(params, tokens)[0].data(tokens, document_mask=True),
            "special_tokens": {"bos": 0, "eos": [0], "pad": 1},
            "work": {"folder": "f", "export": "e", "checkpoint_every": 5},
            "optim": {},
            "batch_size": params.batch_size,
            "batch_ramp": params.batch_ramp,
            "phases": phases,
            "steps": steps,
        }
    )
    run = shown(params, tokens, steps)
    run.check()
    assert run.course == course_of(job)
    for step in range(0, steps, 3):
        place = run.course.at(step)
        rows, source = rows_of(streams_of(job)[0][place.stream])
        numbers = course_of(job).rows(step, source, params.seed)
        for row in (0, place.batch_size - 1):
            position = run.position(step, row)
            files = TokenRows(prefixes(tokens, position.files or ()), 16)
            shown_tokens = rows[int(numbers[row])].tokens
            assert files.read(position.start, position.stop - 1).tolist() == shown_tokens.tolist()
            assert row_documents(tokens, position)


def rows_of(data: Data) -> tuple[TokenRows, Any]:
    """As model/engine.py makes them."""
    if data.mixture:
        mixed = MixedRows(data.train, data.mixture, data.seq_len, data.document_mask)
        return mixed, mixed.mixture
    rows = TokenRows(data.train, data.seq_len, data.document_mask)
    return rows, len(rows)


def spans_of(tokens: Tokens, part: int, row: int) -> list[TracedDocument]:
    return [
        TracedDocument(**{name: entry[name] for name in SPAN}, offset=0)
        for entry in tokens.read_table("documents").to_pylist()
        if (entry["part"], entry["row"]) == (part, row)
    ]


SPAN = ("doc_id", "part", "row", "domain", "split", "file", "token_start", "token_end")


def test_a_document_is_shown_in_the_steps_whose_rows_hold_it(tokens: Tokens) -> None:
    params = PretrainParams.model_validate(PHASED)
    run = shown(params, tokens, 99)
    expected: Counter[tuple[str, int, int]] = Counter()
    for step in range(run.course.steps):
        for row in range(run.course.at(step).batch_size):
            position = run.position(step, row)
            for found in {one.doc_id: one for one in row_documents(tokens, position)}.values():
                # The first token of a row is not predicted by it.
                last_is_first = found.token_end - found.token_start - found.offset == 1
                starts_here = row_documents(tokens, position)[0].doc_id == found.doc_id
                expected[found.doc_id, step, 0] += not (last_is_first and starts_here)
    for part, k in [(0, 0), (1, 2), (2, 6), (0, 5)]:
        spans = spans_of(tokens, part, 2 * k)
        by_stream = run.steps_showing(run.rows_of(spans))
        found = Counter(step for steps in by_stream for step in steps)
        assert found == {step: n for (name, step, _), n in expected.items() if name == f"p{part}d{k}" and n}
        assert bool(found) == (k != 5)


def test_the_recipes_shares_of_bytes_become_shares_of_tokens(tokens: Tokens) -> None:
    reading = read_rows(tokens, 16, mixture="recipe")
    assert [share.name for share in reading.shares] == ["code", "general"]
    assert reading.limits == {"code": 4.0, "general": 4.0}
    drawn = {}
    for share in reading.shares:
        files = token_files(tokens, "train", share.name)
        drawn[share.name] = share.weight * sum(f.n_bytes for f in files) / sum(f.tokens for f in files)
    assert drawn["code"] == pytest.approx(drawn["general"])  # bytes of each, as the recipe has them
    annealing = read_rows(tokens, 16, split="anneal", mixture="recipe", max_epochs=3)
    assert annealing.limits == {"code": 3, "general": 3}
    assert annealing.shares[0].weight / annealing.shares[1].weight == pytest.approx(4, rel=0.2)
    assert all(file.split == "anneal" for file in annealing.files)


def test_counts_by_domain_follow_the_weights(tokens: Tokens) -> None:
    run = shown(PretrainParams.model_validate({**GIVEN, "mixture": {"code": 3, "law": 1}, "steps": 40}), tokens, 40)
    shown_domains = Counter(
        run.position(step, row).files[0].domain
        for step in range(40)
        for row in range(6)  # type: ignore[index]
    )
    assert shown_domains == {"code": 180, "law": 60}
    assert run.streams[0].shown_rows(40 * 6) == sum(np.minimum(run.streams[0].sizes, [180, 60]))


def test_a_run_that_needs_more_than_the_epochs_allow_is_refused_in_one_line(tokens: Tokens) -> None:
    params = PretrainParams.model_validate({**GIVEN, "mixture": {"code": 1, "law": 1}, "max_epochs": 1, "steps": 400})
    with pytest.raises(BadConfig, match=r"^pretrain.max_epochs: by step 400 the train text of \w+ is shown") as no:
        shown(params, tokens, 400).check()
    assert "\n" not in str(no.value)
    longest = int(str(no.value).split(" steps keep to that")[0].split()[-1])
    run = shown(params, tokens, longest)
    run.check()
    assert isinstance(run.streams[0].source, Mixture)
    assert (run.streams[0].source.draws(longest * 6) <= run.streams[0].sizes).all()
    with pytest.raises(BadConfig, match=f"; {longest} steps keep to that: train for no more, or raise it$"):
        shown(params, tokens, longest + 1).check()
    assert (run.streams[0].source.draws((longest + 1) * 6) > run.streams[0].sizes).any()


def test_all_text_as_one_has_a_limit_of_epochs_too(tokens: Tokens) -> None:
    params = PretrainParams.model_validate({**GIVEN, "max_epochs": 2})
    n_rows = readings_of(params, tokens)[0].n_rows
    shown(params, tokens, 2 * n_rows // 6).check()
    with pytest.raises(BadConfig, match=r"max_epochs: by step .* text of code is shown 2\.\d+ times, and 2 are"):
        shown(params, tokens, 2 * n_rows // 6 + 1).check()
    only_law = params.model_copy(update={"max_epochs": {"law": 1}})  # all domains are shown equally often
    shown(only_law, tokens, n_rows // 6).check()
    with pytest.raises(BadConfig, match="train text of law is shown"):
        shown(only_law, tokens, n_rows // 6 + 1).check()


@pytest.mark.parametrize("epochs", [1, 2])
def test_as_many_epochs_as_the_limit_can_be_asked_for(tokens: Tokens, epochs: int) -> None:
    params = PretrainParams.model_validate({**GIVEN, "epochs": epochs, "max_epochs": epochs})
    n_rows = readings_of(params, tokens)[0].n_rows
    assert epochs * n_rows % 6  # whole batches would show some rows once more
    steps = steps_of(params, n_rows)
    assert steps == epochs * n_rows // 6
    shown(params, tokens, steps).check()
    assert steps_of(params.model_copy(update={"max_epochs": None}), n_rows) == steps + 1


def phased(*phases: dict[str, Any], **more: Any) -> PretrainParams:
    named = [{"name": f"p{k}", **phase} for k, phase in enumerate(phases)]
    return PretrainParams.model_validate({**GIVEN, **more, "phases": named})


@pytest.mark.parametrize("mixture", ["natural", {"code": 1, "law": 1}])
def test_a_limit_holds_over_phases_of_other_lengths(tokens: Tokens, mixture: Any) -> None:
    """Half a pass in rows of 16 and three quarters in rows of 64 are more than one, though neither is by itself."""
    part = read_rows(tokens, 16, mixture=mixture)
    smallest = min(part.sizes)
    rows = 2 * smallest if part.shares else smallest  # of a mixture of halves, one pass over the smaller domain
    short, long = {"steps": rows // 12}, {"steps": rows // 4 * 3 // 4 // 6, "seq_len": 64}
    shown(phased(short, mixture=mixture, max_epochs=1), tokens, 0).check()
    shown(phased(long, mixture=mixture, max_epochs=1), tokens, 0).check()
    both = phased(short, long, mixture=mixture, max_epochs=1)
    with pytest.raises(BadConfig, match=r"by step \d+ the train text of \w+ is shown 1\.\d+ times, and 1 are allowed"):
        shown(both, tokens, 0).check()
    shown(both.model_copy(update={"max_epochs": 1.3}), tokens, 0).check()


def test_a_phases_own_limit_holds_by_its_end(tokens: Tokens) -> None:
    rows = readings_of(PretrainParams.model_validate(GIVEN), tokens)[0].n_rows
    part = {"steps": rows // 12}
    shown(phased(part, part, {**part, "max_epochs": 1.6}), tokens, 0).check()
    with pytest.raises(BadConfig, match=r"is shown 1\.4\d+ times, and 1.2 are allowed"):
        shown(phased(part, part, {**part, "max_epochs": 1.2}), tokens, 0).check()
    halves = {**part, "mixture": {"code": 1, "law": 1}}
    limited = shown(phased(halves, {**halves, "max_epochs": 3}), tokens, 0)
    assert len(limited.streams) == 1  # a limit is no reason to begin the order of rows anew
    annealing = phased(part, part, {"steps": 1, "split": "anneal", "max_epochs": 1})
    shown(annealing, tokens, 0).check()  # copies are counted apart


def test_the_runs_limit_holds_in_a_phase_with_a_mixture_of_its_own(tokens: Tokens) -> None:
    rows = read_rows(tokens, 16, mixture={"law": 1}).n_rows
    twice = {"steps": 2 * rows // 6, "mixture": {"law": 1}}
    shown(phased({"steps": 1}, twice), tokens, 0).check()
    shown(phased({"steps": 1}, {**twice, "max_epochs": 3}, max_epochs=1), tokens, 0).check()
    with pytest.raises(BadConfig, match=r"the train text of law is shown 1\.\d+ times, and 1 are allowed"):
        shown(phased({"steps": 1}, twice, max_epochs=1), tokens, 0).check()
    recipe = {"steps": 1, "split": "anneal", "mixture": "recipe"}  # which allows 2
    for run, phase, allowed in ((100, None, 2), (1, None, 1), (1, 5, 5)):
        (reading,) = readings_of(phased({**recipe, "max_epochs": phase}, max_epochs=run), tokens)
        assert set(reading.limits.values()) == {allowed}


def test_what_keeps_to_a_limit_is_told_truly(tokens: Tokens) -> None:
    rows = readings_of(PretrainParams.model_validate(GIVEN), tokens)[0].n_rows
    half = {"steps": rows // 12}
    with pytest.raises(BadConfig, match=r"and 0.3 are allowed; 0.\d+ before this phase already: train for less before"):
        shown(phased(half, {**half, "max_epochs": 0.3}), tokens, 0).check()
    with pytest.raises(BadConfig, match=rf"{int(0.3 * rows / 6)} steps keep to that: train for no more, or raise it$"):
        shown(phased({**half, "max_epochs": 0.3}), tokens, 0).check()
    with pytest.raises(BadConfig, match=r"allowed; train for fewer steps, or raise it$"):
        shown(phased({"steps": 1, "batch_size": rows, "max_epochs": 0.5}), tokens, 0).check()


@pytest.mark.parametrize(
    ("phase", "run", "message"),
    [
        (
            {},
            {"mixture": {"code": 1, "cod": 1}},
            r"^pretrain.mixture names 'cod', of which .* it has code, general, law",
        ),
        ({}, {"max_epochs": {"cod": 1}}, "^pretrain.max_epochs names 'cod', of which"),
        ({"max_epochs": {"cod": 1}}, {}, "^phase p0: max_epochs names 'cod', of which"),
        ({"domains": ["code"], "mixture": {"code": 1, "law": 1}}, {}, "names 'law', which `domains` leaves out"),
    ],
)
def test_domains_that_are_not_there_are_named_with_phases_too(tokens: Tokens, phase, run, message: str) -> None:
    params = phased({"steps": 1, **phase}, **run)
    with pytest.raises(BadInput, match=message):
        check_names(params, tokens)
        readings_of(params, tokens)


def test_a_limit_may_be_of_one_domain(tokens: Tokens) -> None:
    assert read_rows(tokens, 16, mixture="recipe", max_epochs={"code": 1}).limits == {"code": 1, "general": 4.0}
    assert read_rows(tokens, 16, mixture={"code": 1, "law": 1}, max_epochs={"law": 2}).limits == {"law": 2}
    with pytest.raises(BadInput, match="max_epochs names 'poems'"):
        read_rows(tokens, 16, mixture="recipe", max_epochs={"poems": 1})


def test_a_domain_that_does_not_fill_a_row_is_left_out_and_named(tokens: Tokens) -> None:
    """Of the recipe and of weights that are the whole run's; not of weights for just these rows."""
    sizes = {domain: sum(f.tokens for f in token_files(tokens, "train", domain)) for domain in ("code", "general")}
    small, large = sorted(sizes, key=lambda domain: sizes[domain])
    halves = dict.fromkeys(sizes, 1.0)
    for given in ({"mixture": "recipe"}, {"mixture": halves, "inherited": True}):
        reading = read_rows(tokens, sizes[small], **given)
        assert reading.left_out == {small: sizes[small]} and [share.name for share in reading.shares] == [large]
        assert read_rows(tokens, sizes[small] - 1, **given).left_out == {}
        with pytest.raises(BadInput, match=rf"no domain of the mixture fills one row of {sizes[large]}"):
            read_rows(tokens, sizes[large], **given)
    with pytest.raises(BadInput, match=f"training tokens of {small} do not fill one row"):
        read_rows(tokens, sizes[small], mixture=halves)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mixture": {"poems": 1.0}}, "names 'poems', of which .* holds no training text; it has code, general, law"),
        ({"mixture": {"code": 0.0}}, "gives no weight to what"),
        ({"domains": ["poems"]}, "holds no train text of poems; it has code, general, law"),
        ({"split": "anneal", "domains": ["law"]}, "holds no anneal text of law; it has code, general"),
        ({"seq_len": 1 << 20}, "training tokens do not fill one row of 1048576"),
        ({"seq_len": 200_000, "mixture": {"law": 1.0}}, "training tokens of law do not fill one row of 200000"),
        ({"split": "holdout"}, "holds no text of holdout; it holds code/anneal"),
    ],
)
def test_what_is_not_there_is_named(tokens: Tokens, given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_rows(tokens, **{"seq_len": 16, **given})


def test_a_phase_names_itself_in_an_error(tokens: Tokens) -> None:
    params = PretrainParams.model_validate({**GIVEN, "phases": [{"name": "last", "steps": 1, "domains": ["poems"]}]})
    with pytest.raises(BadInput, match=r"^phase last: .*poems"):
        readings_of(params, tokens)


def test_inherited_weights_count_for_the_domains_there_are(tokens: Tokens) -> None:
    reading = read_rows(tokens, 16, split="anneal", mixture={"law": 5, "code": 2, "general": 1}, inherited=True)
    assert [(share.name, share.weight) for share in reading.shares] == [("code", 2), ("general", 1)]


def test_without_a_recipe_it_is_asked_for(tmp_path: Path) -> None:
    plain = made_of(Store(tmp_path / "plain"), None)
    with pytest.raises(BadInput, match="has no recipe for training text: give the mixture as weights by domain"):
        read_rows(plain, 16, mixture="recipe")
    half = made_of(Store(tmp_path / "half"), {**RECIPE, "annealing": None})
    with pytest.raises(BadInput, match="has no recipe for annealing text"):
        read_rows(half, 16, split="anneal", mixture="recipe")


def test_parameters_are_json_and_refuse_negative_weights(tokens: Artifact) -> None:
    params = PretrainParams.model_validate(PHASED)
    assert PretrainParams.model_validate(json.loads(params.model_dump_json())) == params
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        PretrainParams.model_validate({"mixture": {"code": -1}})
