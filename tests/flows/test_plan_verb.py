"""`sluice plan` as its user sees it: the table, --json, --published, and what it refuses."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from infra.errors import BadConfig
from tests.flows.test_cli import fails, sluice

LLAMA_3_405B = ("--params", "405e9", "--tokens", "15.6e12", "--gpus", "16384", "--achieved", "400e12")


def planned(*arguments: str) -> str:
    """What `sluice plan` prints."""
    done = CliRunner().invoke(app, ["plan", *arguments])
    assert done.exception is None and done.exit_code == 0, done.output
    return done.output


def line(text: str, name: str) -> str:
    (found,) = [one for one in text.splitlines() if one.startswith(name)]
    return " ".join(found.split())


def test_llama_3_405b_is_3_8e25_flop_and_26_million_hours_in_about_seventy_days():
    text = planned(*LLAMA_3_405B)
    assert line(text, "training FLOP").startswith("training FLOP 3.79e+25 (6ND); ")
    assert line(text, "GPU hours") == "GPU hours 26,325,000 on h100 at 400 TFLOP/s each"
    assert line(text, "time") == "time 66.9 days on 16,384 GPUs"
    assert "warning: 3.8e+25 FLOP is above 1e25" in text


@pytest.mark.parametrize(
    ("params", "tokens", "flops"), [("175e9", "300e9", "3.15e+23"), ("70e9", "1.4e12", "5.88e+23")]
)
def test_gpt_3_and_chinchilla(params, tokens, flops):
    assert line(planned("--params", params, "--tokens", tokens), "training FLOP").split()[2] == flops


def test_the_4200_hours_are_1_17_million():
    text = planned("--params", "7e9", "--tokens", "1e12", "--gpu", "v100", "--achieved", "10e12")
    assert line(text, "GPU hours") == "GPU hours 1,166,667 on v100 at 10 TFLOP/s each"


def test_1e26_flop_are_warned_about():
    assert "warning: 1.2e+26 FLOP is at or above 1e26" in planned("--params", "1e12", "--tokens", "2e13")


def test_both_recipes_are_shown_ours_first():
    text = planned("--preset", "8b", "--gpus", "64")
    ours, paper = text.index("as pretrain trains"), text.index("mixed precision of the ZeRO paper")
    assert ours < paper and text.count("ZeRO 3") == 2
    assert line(text, "checkpoint") == (
        "checkpoint 128.5 GB as pretrain writes it, kept ones 1.3 TB; mixed precision 112.4 GB"
    )


def test_every_parameter_of_the_plan_can_be_given():
    given = {
        "--params": "8e9", "--tokens": "1e9", "--gpu": "a100", "--gpus": "4", "--mfu": "0.5", "--layers": "32",
        "--hidden": "4096", "--heads": "32", "--kv-heads": "8", "--vocab": "1000", "--seq-len": "8192",
        "--micro-batch": "2", "--optimizer": "adamw", "--checkpoints": "3", "--price": "2", "--people": "2",
        "--salary": "365250", "--pue": "1", "--host-share": "0", "--carbon": "1",
    }  # fmt: skip
    made = json.loads(planned(*(one for pair in given.items() for one in pair), "--checkpointing", "--json"))
    assert made["inference_cache"] == 2**30  # grouped queries: a quarter of 4 GiB
    assert made["checkpoint_storage"] == 3 * made["checkpoint"] == 3 * 16 * 8e9
    assert made["kwh"] == pytest.approx(0.4 * made["gpu_hours"]) == pytest.approx(1000 * made["tonnes_co2e"])
    assert made["people_cost"] == pytest.approx(2 * 1000 * made["days"])
    assert [one["stage"] for one in made["training"]] == [0, 1, 2, 3]
    assert made["training"][3]["total"] < made["training"][0]["total"]
    assert made["training_published"][0]["optimizer"] == 12 * 8e9
    wide = json.loads(planned("--params", "8e9", "--layers", "32", "--hidden", "4096", "--kv-width", "1024", "--json"))
    assert wide["inference_cache"] == 2**30


def test_published_runs_stand_beside_their_arithmetic():
    text = planned("--published")
    llama = "Llama 3 405B 405B 15.6T 3.79e+25 3.80e+25 30,840,000 16,384 78 341 h100"
    assert line(text, "Llama 3 405B").startswith(llama)
    runs = {run["name"]: run for run in json.loads(planned("--published", "--json"))}
    assert runs["Chinchilla 70B"]["planned_flops"] == pytest.approx(5.88e23)


def test_a_bad_value_is_one_line():
    assert "plan.pue: Input should be greater than or equal to 1" in fails(
        sluice("plan", "--params", "8e9", "--pue", ".5")
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--params 70e9 or --preset 8b"),
        (("--preset", "9b"), "plan.preset: Input should be '1m'"),
        (("--params", "1e9", "--kv-heads", "3"), "--kv-heads needs --heads"),
        (("--params", "1e9", "--optimizer", "sgd"), "'adamw' or 'muon'"),
        (("--params", "1e9", "--gpu", "h1000"), "no GPU is called 'h1000'"),
    ],
)
def test_what_makes_no_plan_is_refused(arguments, said):
    refused = CliRunner().invoke(app, ["plan", *arguments]).exception
    assert isinstance(refused, BadConfig) and said in str(refused)
