"""A ladder's shapes: what they share, whatever their size."""

import pytest

from infra.errors import BadConfig
from model.config import LSTMConfig, ModelConfig
from model.presets import shape_for_params
from model.rope_scaling import YarnScaling
from tasks.scaling.shapes import FINE, USUAL, Family, family_of, shape_near

VOCABULARY = 512


def network(**given: object) -> ModelConfig:
    usual = {"hidden_size": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "intermediate_size": 128}
    return ModelConfig.model_validate({"vocab_size": VOCABULARY, "max_seq_len": 32, **usual, **given})


def test_what_networks_share_is_their_family_and_the_rest_is_usual():
    said = {"qk_norm": True, "tie_embeddings": True, "rope_scaling": YarnScaling(factor=2, original_max_seq_len=32)}
    family = family_of([network(**said), network(**said, hidden_size=128, n_heads=8, n_kv_heads=4)])
    assert family == Family(head_size=16, queries_a_kv_head=2, rope_theta=10_000.0, **said)
    other = network(attention_bias=True, tie_embeddings=True, hidden_size=128, n_kv_heads=4, rope_theta=5e5)
    assert family_of([network(qk_norm=True), other]) == USUAL
    assert family_of([network(head_dim=32)]).head_size is None  # no head of this size divides a width
    with pytest.raises(BadConfig, match="these runs are LSTMs"):
        family_of([LSTMConfig(vocab_size=VOCABULARY, max_seq_len=32, hidden_size=64, n_layers=2)])


@pytest.mark.parametrize("size", [3e5, 1e6, 5e6, 1e8])
@pytest.mark.parametrize("family", [Family(head_size=32, queries_a_kv_head=4), Family(queries_a_kv_head=3), Family(24)])
def test_shapes_of_a_family_have_its_heads_and_come_near_the_size(size, family):
    config = shape_near(size, VOCABULARY, 32, family).network(VOCABULARY, 32)
    assert family.head_size in (None, config.head_size)
    assert config.n_heads == family.queries_a_kv_head * config.n_kv_heads
    assert 0.6 < config.n_matmul_params / size < 1.7
    assert config.intermediate_size < 3.5 * config.hidden_size


def test_the_usual_family_has_the_presets_proportions_from_where_they_are_fine_enough():
    shape = shape_near(FINE * 3, VOCABULARY, 64, USUAL)
    assert shape.model_dump(include=(sizes := shape_for_params(FINE * 3, VOCABULARY, 64)).keys()) == sizes


def test_a_family_whose_smallest_is_larger_is_one_line():
    wide = Family(head_size=128, queries_a_kv_head=4)  # 512 wide at least
    with pytest.raises(BadConfig, match=r"no network of 100,000 parameters: with 512 tokens the least is \d"):
        shape_near(1e5, VOCABULARY, 64, wide)
