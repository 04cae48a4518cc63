"""Decoding: the cache changes nothing, a batch changes nothing, draws follow the stated distribution."""

import pytest
import torch

from model.config import ModelConfig
from model.generate import KVCache, SamplingConfig, filtered_probabilities, generate
from model.rope_scaling import Llama3Scaling, YarnScaling
from model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=61,
    hidden_size=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    intermediate_size=48,
    max_seq_len=48,
    init_std=0.3,
)
MODEL = Transformer(CONFIG, seed=0)
PROMPTS = [
    torch.randint(61, (length,), generator=torch.Generator().manual_seed(length)).tolist() for length in (1, 7, 19, 4)
]


@torch.no_grad()
def uncached(prompt: list[int], steps: int, model: Transformer = MODEL) -> tuple[list[int], list[float]]:
    """Greedy decoding that computes everything anew for each token."""
    tokens, log_probs = list(prompt), []
    for _ in range(steps):
        logits = model.logits(model(torch.tensor([tokens])))[0, -1]
        tokens.append(int(logits.argmax()))
        log_probs.append(float(logits.log_softmax(0)[tokens[-1]]))
    return tokens[len(prompt) :], log_probs


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_scaling": YarnScaling(factor=4, original_max_seq_len=12)},
        {"rope_scaling": Llama3Scaling(original_max_seq_len=12), "tie_embeddings": True},
        {"attention_bias": True, "rope_theta": 1e6},
        {"qk_norm": True, "rope_scaling": YarnScaling(factor=2, original_max_seq_len=24)},
    ],
)
def test_cached_ragged_batch_is_each_prompt_uncached(changes):
    model = Transformer(CONFIG.model_copy(update=changes), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    completions = generate(model, PROMPTS, SamplingConfig(max_new_tokens=20))
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        tokens, log_probs = uncached(prompt, 20, model)
        assert completion.tokens == tokens
        assert completion.log_probs == pytest.approx(log_probs, abs=1e-4)
        assert completion.finish_reason == "length"


def test_cached_states_are_the_uncached_ones_at_every_position():
    tokens = torch.tensor([PROMPTS[2]])
    cache = KVCache(MODEL, 1, CONFIG.max_seq_len)
    with torch.no_grad():
        whole = MODEL(tokens)
        parts = [
            MODEL(tokens[:, start:end], positions=torch.arange(start, end)[None], cache=cache)
            for start, end in ((0, 5), (5, 6), (6, 19))
        ]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-4)


def test_stop_id_ends_its_row_only_and_is_kept():
    free = generate(MODEL, PROMPTS, SamplingConfig(max_new_tokens=12))
    stop = free[1].tokens[3]
    for plain, completion in zip(
        free, generate(MODEL, PROMPTS, SamplingConfig(max_new_tokens=12), [stop]), strict=True
    ):
        if stop in plain.tokens:
            assert completion.tokens == plain.tokens[: plain.tokens.index(stop) + 1]
            assert completion.finish_reason == "stop"
        else:
            assert completion.tokens == plain.tokens
            assert completion.finish_reason == "length"


def test_generation_ends_where_the_model_does():
    long = [3] * (CONFIG.max_seq_len - 2)
    completion, short = generate(MODEL, [long, [5]], SamplingConfig(max_new_tokens=10))
    assert (len(completion.tokens), completion.finish_reason) == (2, "length")
    assert short.tokens == uncached([5], 10)[0]


def test_one_generator_a_prompt_makes_rows_independent_of_the_batch():
    config = SamplingConfig(max_new_tokens=8, temperature=1.0)

    def seeded(seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = generate(MODEL, PROMPTS, config, generator=seeded([1, 2, 3, 4]))
    alone = generate(MODEL, [PROMPTS[2]], config, generator=seeded([3]))
    assert together[2].tokens == alone[0].tokens


def test_equal_seeds_give_equal_samples_and_others_do_not():
    config = SamplingConfig(max_new_tokens=16, temperature=1.0)

    def sample(seed):
        return [c.tokens for c in generate(MODEL, PROMPTS, config, generator=torch.Generator().manual_seed(seed))]

    assert sample(7) == sample(7) != sample(8)


def test_draws_follow_the_distribution():
    config = SamplingConfig(max_new_tokens=1, temperature=1.3, top_k=5)
    with torch.no_grad():
        logits = MODEL.logits(MODEL(torch.tensor([PROMPTS[1]])))[:, -1]
    expected = filtered_probabilities(logits, config)[0]
    n = 4000
    drawn = generate(MODEL, [PROMPTS[1]] * n, config, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.tensor([c.tokens[0] for c in drawn]), minlength=61).double()
    assert (counts[expected == 0] == 0).all()
    # Chi-square with 4 degrees of freedom: 18.5 is its 99.9th percentile.
    seen = expected > 0
    assert ((counts[seen] - n * expected[seen]) ** 2 / (n * expected[seen])).sum() < 18.5


def test_log_probs_are_the_models_own_whatever_the_temperature():
    config = SamplingConfig(max_new_tokens=3, temperature=0.5, top_k=3)
    (completion,) = generate(MODEL, [PROMPTS[1]], config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = MODEL.logits(MODEL(torch.tensor([PROMPTS[1] + completion.tokens])))[0]
    expected = logits.log_softmax(-1)[len(PROMPTS[1]) - 1 : -1].gather(1, torch.tensor(completion.tokens)[:, None])
    assert completion.log_probs == pytest.approx(expected[:, 0].tolist(), abs=1e-4)


LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"temperature": 1.0}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 1.0, "top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"temperature": 1.0, "top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 1.0, "top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"temperature": 1.0, "top_p": 0.81}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        ({"temperature": 1.0, "top_p": 0.01}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
    ],
)
def test_filters_leave_the_stated_probabilities(config, expected):
    assert filtered_probabilities(LOGITS, SamplingConfig(**config))[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("prompts", "config", "generator", "message"),
    [
        ([[]], {}, None, "empty"),
        ([[1] * 48], {}, None, "leaves no room"),
        ([[1]], {"temperature": 1.0}, None, r"torch\.Generator"),
        ([[1], [2]], {"temperature": 1.0}, [torch.Generator()], "1 generators for 2 prompts"),
    ],
)
def test_what_cannot_be_generated_is_said(prompts, config, generator, message):
    with pytest.raises(ValueError, match=message):
        generate(MODEL, prompts, SamplingConfig(**config), generator=generator)


def test_no_prompts_give_no_completions():
    assert generate(MODEL, [], SamplingConfig()) == []
