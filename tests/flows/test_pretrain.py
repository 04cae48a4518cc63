"""Which artifacts the pretrain flow hands from stage to stage."""

from typing import Any

import pytest

from flows.config import PretrainConfig
from flows.pretrain import pretrain_road
from flows.resolving import resolve
from infra.errors import BadConfig, BadInput
from infra.stage import Stage
from infra.store import Artifact
from tasks.pretrain import PretrainParams
from tasks.tokenizer import vocabulary_of
from tests.tasks.little_road import little_road


class RecordingRoad:
    """Answers with artifacts that exist, and remembers what each stage was given."""

    def __init__(self, made: dict[str, Artifact]) -> None:
        self.made = made
        self.given: dict[str, dict[str, Any]] = {}

    def __call__(self, stage: Stage, *, params: Any, **roles: Any) -> Artifact:
        self.given[stage.name] = roles
        return self.made[stage.name]


def test_a_run_that_starts_from_a_model_takes_its_tokenizer(store):
    made = little_road(store)
    anew = RecordingRoad(made)
    assert pretrain_road(anew, PretrainConfig(), made["mix"]).model is made["pretrain"]
    assert list(anew.given) == ["tokenizer", "tokens", "pretrain"] and anew.given["pretrain"]["model"] is None
    further = RecordingRoad(made)
    with pytest.raises(BadConfig, match=r"pretrain.seq_len: dpo/.* has 96 positions, and rows have 256"):
        pretrain_road(further, PretrainConfig(), made["mix"], made["dpo"])
    with pytest.raises(BadInput, match=r"start_from: tokens/.* is no model; give one of imported-model, pretrain, sft"):
        pretrain_road(further, PretrainConfig(), made["mix"], made["tokens"])
    assert not further.given  # before anything is made
    pretrain_road(further, PretrainConfig(pretrain=PretrainParams(seq_len=64)), made["mix"], made["dpo"])
    assert list(further.given) == ["tokens", "pretrain"]
    assert further.given["tokens"]["tokenizer"].ref == made["tokenizer"].ref
    assert further.given["pretrain"]["model"] is made["dpo"]
    assert further.given["pretrain"]["tokenizer"].ref == vocabulary_of(made["pretrain"]).ref == made["tokenizer"].ref


def test_two_tokenizers_are_refused():
    with pytest.raises(BadConfig, match="leave tokenizer_file out"):
        resolve("pretrain", "demo", None, ["start_from=imported-model@latest", "tokenizer_file=tokenizer.json"])
