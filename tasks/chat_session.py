"""A conversation with a trained model: the history, the prompt made of it, and the answer piece by piece.

`sluice chat REF` prints what `ChatSession.reply` yields. A chat model is asked in ChatML, exactly as it was trained; a
base model, which has never seen ChatML, is asked as in its evaluation, with `Question: … Answer:`.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import BadInput
from infra.store import Artifact
from tasks.chat import Message
from tasks.encoding import TEMPLATE_FILE, Encoder
from tasks.evaluate.answers import CHATML, PLAIN, Question, prompt_ids, stop_ids
from tasks.training import Model, model_config

if TYPE_CHECKING:
    import torch

    from model.generate import SamplingConfig
    from model.transformer import Transformer

MAX_NEW_TOKENS = 256
REPLACEMENT = "\ufffd"


@dataclass
class ChatSession:
    """One conversation. `style` is chatml or plain; `messages` is what was said so far."""

    network: "Transformer"
    encoder: Encoder
    style: str
    sampling: "SamplingConfig"
    generator: "torch.Generator"
    messages: list[Message] = field(default_factory=list)

    @classmethod
    def open(
        cls, artifact: Artifact, *, temperature: float = 0.0, max_new_tokens: int = MAX_NEW_TOKENS, seed: int = 0
    ) -> "ChatSession":
        """Load the model of an artifact.

        Raises:
            BadInput: the artifact holds no model, or one that writes no text.
        """
        if not artifact.files("model/config.json"):
            raise BadInput(f"{artifact.ref} is not a model; chat with one of dpo, sft, pretrain or imported-model")
        model_config(Model(artifact.store, artifact.manifest))
        folder = artifact.file("model/config.json").parent
        return cls.load(folder, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)

    @classmethod
    def load(
        cls, folder: Path, *, temperature: float = 0.0, max_new_tokens: int = MAX_NEW_TOKENS, seed: int = 0
    ) -> "ChatSession":
        """Load a model's folder. Temperature 0 always answers with the likeliest token."""
        import torch

        from model.generate import SamplingConfig
        from model.hf import load_hf

        return cls(
            network=load_hf(folder).eval(),
            encoder=Encoder.load(folder),
            style=CHATML if (folder / TEMPLATE_FILE).is_file() else PLAIN,
            sampling=SamplingConfig(temperature=temperature, max_new_tokens=max_new_tokens),
            generator=torch.Generator().manual_seed(seed),
        )

    def reply(self, question: str) -> Iterator[str]:
        """Answer a question, piece by piece as it is written; both are remembered once the answer is complete.

        Raises:
            BadInput: the question alone is too long for the model.
        """
        asked: list[Message] = [*self.messages, {"role": "user", "content": question}]
        prompt, kept = self._prompt(asked)
        stops = stop_ids(self.encoder, self.style)
        pieces = []
        tokens = stream_tokens(self.network, prompt, self.sampling, stops, self.generator)
        for piece in readable(self.encoder, tokens, first_line=self.style == PLAIN):
            pieces.append(piece)
            yield piece
        self.messages = [*kept, {"role": "assistant", "content": "".join(pieces)}]

    def _prompt(self, messages: Sequence[Message]) -> tuple[list[int], list[Message]]:
        """(ids, messages that they hold): the oldest exchanges go when the context is full."""
        context = self.network.config.max_seq_len
        room = context - min(self.sampling.max_new_tokens, context // 2)
        kept = list(messages)
        while True:
            ids = prompt_ids(self.encoder, Question(0, tuple(kept), ""), self.style)
            if len(ids) <= room:
                return ids, kept
            if len(kept) == 1:
                raise BadInput(f"the question takes {len(ids):,} tokens; this model reads {room:,}: ask a shorter one")
            kept = kept[2:]


def stream_tokens(
    network: "Transformer",
    prompt: Sequence[int],
    sampling: "SamplingConfig",
    stops: Sequence[int],
    generator: "torch.Generator",
) -> Iterator[int]:
    """Tokens after a prompt, one at a time, without the one that ends them.

    The same distribution as `model.generate.generate` for a batch of one; greedy output is equal to its.
    """
    import torch

    from model.generate import KVCache, filtered_probabilities

    limit = min(sampling.max_new_tokens, network.config.max_seq_len - len(prompt))
    cache = KVCache(network, 1, len(prompt) + limit)
    tokens, start = list(prompt), 0
    for _ in range(limit):
        # Entered for each step: a generator must not leave the mode on while its consumer runs.
        with torch.inference_mode():
            positions = torch.arange(start, start + len(tokens))[None]
            hidden = network(torch.tensor([tokens]), positions=positions, cache=cache)
            logits = network.logits(hidden[:, -1])
            if sampling.temperature == 0:
                token = int(logits.argmax(dim=-1))
            else:
                probabilities = filtered_probabilities(logits, sampling)
                token = int(torch.multinomial(probabilities, 1, generator=generator))
        if token in stops:
            return
        yield token
        start += len(tokens)
        tokens = [token]


def readable(encoder: Encoder, tokens: Iterable[int], first_line: bool = False) -> Iterator[str]:
    """Text of a stream of tokens as far as it is certain, without leading blanks and safe for a terminal.

    A character whose last bytes are still to come is held back. Control characters become replacement marks, or a
    model could move the cursor or retitle the window. `first_line`: end after the first line that holds anything.
    """
    written: list[int] = []
    shown = 0
    text = ""
    for token in tokens:
        written.append(token)
        text = encoder.decode(written).lstrip()
        if first_line and "\n" in text:
            text = text.partition("\n")[0]
            break
        certain = len(text.rstrip(REPLACEMENT))
        if certain > shown:
            yield _safe(text[shown:certain])
            shown = certain
    if len(text) > shown:
        yield _safe(text[shown:])


def _safe(text: str) -> str:
    return "".join(REPLACEMENT if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)
