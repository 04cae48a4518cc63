from pathlib import Path

import pytest

from flows.config import CONFIGS
from flows.resolving import profile_names, resolve
from flows.road import RunOptions
from infra.errors import BadConfig
from tasks.shape import Shape

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"hidden_size", "n_layers", "n_heads", "n_kv_heads", "intermediate_size", "head_dim"}


def test_every_profile_resolves_for_every_flow():
    assert {"demo", "laptop"} <= set(profile_names())
    for profile in profile_names():
        for flow in CONFIGS:
            assert resolve(flow, profile).model_dump()


def test_set_beats_file_beats_profile(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tokenizer: {vocab_size: 1000}\nmix: {min_words: 7}\n")
    config = resolve("pipeline", "demo", file, ["tokenizer.vocab_size=2000", "crawl.paths=[a, b]"])
    assert (config.tokenizer.vocab_size, config.mix.min_words, config.crawl.paths) == (2000, 7, ("a", "b"))


@pytest.mark.parametrize(
    ("setting", "left"),
    [("preset=125m", {"preset": "125m"}), ("depth=6", {"depth": 6}), ("n_layers=3", {"n_layers": 3})],
)
def test_one_way_to_say_a_shape_takes_the_place_of_another(setting, left):
    shape = resolve("pretrain", "demo", None, [f"pretrain.shape.{setting}"]).pretrain.shape.model_dump()
    assert left.items() <= shape.items()
    assert (shape["hidden_size"] is None) == ("n_layers" not in left)  # the profile gives sizes


@pytest.mark.parametrize("profile", ["demo", "gpu"])
def test_heads_and_inner_width_go_with_the_width_they_were_chosen_for(profile):
    wider = ["pretrain.shape.hidden_size=512", "pretrain.shape.n_layers=8"]
    shape = resolve("pretrain", profile, None, wider).pretrain.shape
    assert shape.model_dump(include=SIZES) == Shape(hidden_size=512, n_layers=8).model_dump(include=SIZES)
    for order in (1, -1):
        said = resolve("pretrain", profile, None, ["pretrain.shape.n_heads=2", *wider][::order]).pretrain.shape
        assert (said.n_heads, said.hidden_size, said.intermediate_size) == (2, 512, None)
    profiles = resolve("pretrain", profile).pretrain.shape
    same = resolve("pretrain", profile, None, [f"pretrain.shape.hidden_size={profiles.hidden_size}"]).pretrain.shape
    assert same == profiles
    kept = resolve("pretrain", profile, None, ["pretrain.shape.n_layers=3"]).pretrain.shape
    assert kept.n_heads and kept.intermediate_size and kept.n_layers == 3


@pytest.mark.parametrize("said", ["steps=7", "tokens=9000", "epochs=3", "phases=[{name: all, steps: 5}]"])
@pytest.mark.parametrize("profile", ["demo", "laptop"])
def test_one_way_to_say_how_long_a_run_is_takes_the_place_of_another(profile, said):
    values = resolve("pretrain", profile, None, [f"pretrain.{said}"]).pretrain.model_dump(exclude_unset=True)
    assert {"steps", "tokens", "epochs", "phases"} & values.keys() == {said.partition("=")[0]}


def test_the_last_setting_takes_the_place_of_those_it_is_an_alternative_to():
    said = ["pretrain.steps=100", "pretrain.shape.depth=6", "pretrain.epochs=3", "pretrain.shape.preset=30m"]
    chosen = resolve("pretrain", "demo", None, said).pretrain
    assert (chosen.steps, chosen.epochs, chosen.shape.depth, chosen.shape.preset) == (None, 3, None, "30m")
    assert resolve("pretrain", "demo", None, ["pretrain.shape.hidden_size=null", "pretrain.shape.depth=3"])


def test_a_file_may_hold_sections_of_other_flows_but_a_setting_may_not(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tokenizer: {vocab_size: 1000}\n")
    assert "tokenizer" not in resolve("curate", "demo", file).model_dump()
    with pytest.raises(BadConfig, match="unknown key tokenizer"):
        resolve("curate", "demo", None, ["tokenizer.vocab_size=1000"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("extract.part_byte=1", r"unknown key extract\.part_byte; did you mean 'part_bytes'\?"),
        ("extract.part_bytes=many", r"extract\.part_bytes: .*valid integer.* \(got 'many'\)"),
        ("extract.part_bytes=1", r"extract\.part_bytes: .*greater than or equal"),
        ("filtr.languages=[en]", r"unknown key filtr; did you mean 'filter'\?"),
        ("extract", "write section.key=value"),
        ("extract.part_bytes=[", "the value is not YAML"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(setting, message):
    with pytest.raises(BadConfig, match=message) as caught:
        resolve("curate", "demo", None, [setting])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flow", "profile", "settings", "message"),
    [
        ("pretrain", "demo", ["runtime.zero_stage=3"], "runtime and pretrain: muon works at ZeRO stages 0 to 2"),
        ("scaling", "demo", ["runtime.zero_stage=3"], "runtime and pretrain: muon works at ZeRO stages 0 to 2"),
        ("pretrain", "gpu", ["runtime.zero_stage=3"], "runtime and pretrain: compile works at ZeRO stages 0 to 2"),
        ("pretrain", "demo", ["runtime.parallel.sequence=3"], "parallel.sequence 3 does not divide rows of 256 tokens"),
        ("pipeline", "demo", ["runtime.parallel.sequence=2"], "runtime and dpo: parallel.sequence is for transformers"),
        ("posttrain", "demo", ["runtime.parallel.sequence=2"], "runtime and dpo: parallel.sequence is for"),
        (
            "scaling",
            "demo",
            ["runtime.parallel.sequence=2", "scaling.compare.architectures.at=[{flops: 1e12, params: 1e6}]"],
            "runtime and scaling.compare: .* not for dpo or an LSTM",
        ),
        (
            "pretrain",
            "demo",
            ["pretrain.batch_ramp=[{tokens: 5, batch_size: 3}, {tokens: 4, batch_size: 5}]"],
            "pretrain: the steps of batch_ramp must be in the order of their tokens$",
        ),
        ("pretrain", "demo", ["start_from=a@latest", "tokenizer_file=b"], "config: start_from brings the model's"),
        (
            "pretrain",
            "demo",
            ["runtime.parallel.sequence=4"],
            "runtime and pretrain: parallel.sequence 4 does not divide 2 key and value heads: take a divisor$",
        ),
        (
            "pretrain",
            "demo",
            ["runtime.world_size=1", "runtime.parallel.sequence=2"],
            "runtime: world_size 1 is no multiple of parallel.sequence 2",
        ),
        ("pipeline", "demo", ["pretrain.shape.n_heads=3"], "pretrain.shape: .*128 is not a multiple of n_heads 3"),
        ("pipeline", "demo", ["pretrain.seq_len=96"], "evaluate.max_new_tokens: 96 tokens leave no room .* in the 96"),
        ("pipeline", "demo", ["dpo.optim.z_loss=0.001"], "dpo: optim.z_loss is for what predicts tokens"),
    ],
)
def test_what_does_not_go_together_is_one_short_line_before_any_work(flow, profile, settings, message):
    with pytest.raises(BadConfig, match=message) as caught:
        resolve(flow, profile, None, settings)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("flow", "settings"),
    [
        (
            "pretrain",
            ["runtime.parallel.sequence=4", "start_from=imported-model@latest"],
        ),  # with its own heads
        ("scaling", ["runtime.parallel.sequence=4"]),  # and so has the grid
        (
            "pretrain",  # no row is as long as the default, which 3 does not divide
            [
                "runtime.parallel.sequence=3",
                "pretrain.shape.hidden_size=384",
                "pretrain.shape.n_kv_heads=3",
                "pretrain.shape.n_heads=6",
                "pretrain.phases=[{name: all, steps: 5, seq_len: 384}]",
            ],
        ),
    ],
)
def test_what_another_part_decides_is_not_judged_by_this_one(flow, settings):
    assert resolve(flow, "demo", None, settings).runtime.parallel.sequence > 2


def test_unknown_flows_profiles_and_sections_are_named(tmp_path):
    with pytest.raises(BadConfig, match="no flow is called 'curat'"):
        resolve("curat")
    with pytest.raises(BadConfig, match=r"no profile is called 'dmo'; the profiles: .*demo"):
        resolve("curate", "dmo")
    file = tmp_path / "mine.yaml"
    file.write_text("extrct: {}\n")
    with pytest.raises(BadConfig, match=r"unknown section 'extrct'; did you mean 'extract'\?"):
        resolve("curate", "demo", file)
    file.write_text("- a\n")
    with pytest.raises(BadConfig, match="sections expected at the top, found list"):
        resolve("curate", "demo", file)
    with pytest.raises(BadConfig, match="No such file"):
        resolve("curate", "demo", tmp_path / "none.yaml")


def test_run_options_are_not_lost():
    assert resolve("curate", run=RunOptions(until="mix")).run.until == "mix"


def test_prefect_yaml_is_what_the_profiles_say():
    from flows.deployments import prefect_yaml

    assert (ROOT / "prefect.yaml").read_text() == prefect_yaml(), "run `python -m flows.deployments > prefect.yaml`"


def test_every_field_of_the_form_is_described():
    def undescribed(schema: dict) -> list[str]:
        defs = schema.get("$defs", {})
        models = {"": schema, **defs}
        return [
            f"{model}.{name}"
            for model, body in models.items()
            for name, field in body.get("properties", {}).items()
            if "description" not in {**defs.get(field.get("$ref", "").rpartition("/")[2], {}), **field}
        ]

    assert undescribed(CONFIGS["pipeline"].model_json_schema()) == []
