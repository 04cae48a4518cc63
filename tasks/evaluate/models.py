"""The models to measure: what they were made from, and how they are loaded and asked."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.store import Artifact
from tasks.evaluate.answers import Generate

if TYPE_CHECKING:
    from model.transformer import Transformer

MODEL_FOLDER = "model"
# Of one generation batch. More share the cost of a step; the batch runs until its last answer ends.
PROMPTS_AT_ONCE = 64


class Model(Artifact):
    """Role: a trained model with its tokenizer."""

    accepts = ("pretrain", "sft", "dpo")

    @property
    def folder(self) -> Path:
        """The Hugging Face folder."""
        return self.file(f"{MODEL_FOLDER}/config.json").parent


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
    from model.config import ModelConfig

    return ModelConfig.from_hf(json.loads((model.folder / "config.json").read_text(encoding="utf-8"))).max_seq_len


def load(model: Model) -> "Transformer":
    """The network in fp32, for inference."""
    from model.hf import load_hf

    return load_hf(model.folder).eval()


def greedy(network: "Transformer") -> Generate:
    """The most likely token at each step, for prompts of like length together."""
    from model.generate import SamplingConfig, generate

    def answer(prompts: Sequence[Sequence[int]], max_new_tokens: int, stops: Collection[int]) -> list[list[int]]:
        written: list[list[int]] = [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), PROMPTS_AT_ONCE):
            members = order[start : start + PROMPTS_AT_ONCE]
            sampling = SamplingConfig(max_new_tokens=max_new_tokens)
            completions = generate(network, [prompts[i] for i in members], sampling, list(stops))
            for i, completion in zip(members, completions, strict=True):
                written[i] = completion.tokens
        return written

    return answer
