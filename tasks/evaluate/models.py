"""The models to measure: what they were made from, and how they are loaded and asked."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from infra.store import Artifact
from tasks.evaluate.answers import Generate
from tasks.training import Model, model_config

if TYPE_CHECKING:
    from model.transformer import Transformer

# Most prompts of one generation batch (more share the cost of a step), and most bytes that their keys and values take.
PROMPTS_AT_ONCE = 128
CACHE_BYTES = 256 << 20
FLOAT_BYTES = 4


def in_road_order(models: Iterable[Model]) -> list[Model]:
    """Parents before children: base, SFT, DPO."""
    return sorted(models, key=lambda model: (Model.accepts.index(model.stage), model.ref))


def compared(models: Sequence[Model]) -> list[tuple[str, str]]:
    """(before, after): each model with the one it was made from, and with the first of its line."""
    refs = {model.ref for model in models}
    pairs = []
    for model in models:
        line = [ref for ref in _line(model) if ref in refs]
        if line:
            pairs.append((line[0], model.ref))
        if len(line) > 1:
            pairs.append((line[-1], model.ref))
    return pairs


def _line(model: Artifact) -> list[str]:
    """The models that a model was made from, nearest first."""
    line = []
    while model.manifest.parents.get("model"):
        model = model.parent("model")
        line.append(model.ref)
    return line


def context_length(model: Model) -> int:
    """Tokens that a model can attend to."""
    return model_config(model).max_seq_len


def load(model: Model) -> "Transformer":
    """The network in fp32 for inference, on the GPU where there is one."""
    import torch

    from model.hf import load_hf

    return load_hf(model.folder).eval().to("cuda" if torch.cuda.is_available() else "cpu")


def greedy(network: "Transformer") -> Generate:
    """The most likely token at each step, for prompts of like length together."""
    from model.generate import SamplingConfig, generate

    config = network.config
    token_bytes = 2 * config.n_layers * config.n_kv_heads * config.head_size * FLOAT_BYTES

    def answer(prompts: Sequence[Sequence[int]], max_new_tokens: int, stops: Collection[int]) -> list[list[int]]:
        written: list[list[int]] = [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        longest = max(map(len, prompts), default=0) + max_new_tokens
        at_once = max(1, min(PROMPTS_AT_ONCE, CACHE_BYTES // (token_bytes * longest)))
        sampling = SamplingConfig(max_new_tokens=max_new_tokens)
        for start in range(0, len(order), at_once):
            members = order[start : start + at_once]
            completions = generate(network, [prompts[i] for i in members], sampling, list(stops))
            for i, completion in zip(members, completions, strict=True):
                written[i] = completion.tokens
        return written

    return answer
