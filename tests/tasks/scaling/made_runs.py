"""Runs without training: artifacts of `pretrain` whose held-out loss is that of a known law, and a little noise."""

import hashlib
import json
from collections.abc import Callable

from infra.stage import Draft, Stage
from infra.store import Artifact, Store
from model.config import LSTMConfig, ModelConfig
from tasks.course import steps_of
from tasks.encoding import Encoder
from tasks.pretrain import PretrainParams, shape_of
from tasks.scaling.grid import counted_params, peak_rate
from tasks.scaling.parametric import ParametricLaw
from tasks.tokenizer.stage import TokenizerParams, Vocabulary, train_tokenizer
from tasks.tokens.files import Tokens
from tasks.tokens.stage import TokensParams, tokens
from tests.tasks.mixtures import mixture

# Besiroglu et al. 2024, table 1, with an A and B that put the best size at 1e10 FLOP near 60,000 parameters.
LAW = ParametricLaw.of(e=1.8172, a=205.0, b=180.0, alpha=0.3478, beta=0.3658)
BEST_RATE = 0.02
NAMES = ("array", "heap", "queue", "socket", "thread", "parser", "window", "stream")

Loss = Callable[[PretrainParams, ModelConfig | LSTMConfig, int], float]


def noise(name: str, size: float) -> float:
    """In [-size, size], the same for the same name."""
    return size * (2 * hashlib.sha256(name.encode()).digest()[0] / 255 - 1)


def law_loss(params: PretrainParams, network: ModelConfig | LSTMConfig, n_tokens: int) -> float:
    """What a run comes to: the law's loss, more away from the best rate, more for an LSTM."""
    away = 0.1 * (peak_rate(params.optim) / BEST_RATE - 1) ** 2
    lstm = 0.2 if isinstance(network, LSTMConfig) else 0.0
    told = f"{counted_params(network)} {n_tokens} {params.seed}"
    return float(LAW.loss(counted_params(network), n_tokens)) + away + lstm + noise(told, 0.003)


def pretend_pretrain(loss: Loss = law_loss) -> Stage:
    """A stage of the name, roles and parameters of `pretrain` that only says what it came to."""

    def run(tokens: Tokens, tokenizer: Vocabulary, model: Artifact | None, params: PretrainParams, out: Draft) -> None:
        network = shape_of(params, tokenizer.encoder.vocab_size)
        steps = steps_of(params, 1)
        n_tokens = steps * params.batch_size * params.seq_len
        out.path("model/config.json").write_text(json.dumps(network.to_hf()), encoding="utf-8")
        value = loss(params, network, n_tokens)
        out.metrics |= {
            "steps": steps,
            "tokens": n_tokens,
            "epochs": 0.5,
            "val_loss": value,
            "val_bits_per_byte": value / 3,
            "training_seconds": 1.0,
        }
        out.count("tokens", n_tokens, out=1, out_unit="models")

    # Made here and not by `@stage`: the registry's `pretrain` is the real one.
    return Stage(run, name="pretrain", version=0, libraries=(), tables={}, one_to_one=False, fingerprint=None)


def little_corpus(store: Store, validation: bool = True) -> tuple[Artifact, Artifact, Artifact]:
    """(mix, tokenizer, tokens) of two domains."""
    documents = [
        {
            "doc_id": f"d{k}",
            "text": f"A {NAMES[k % 8]} is a thing of code. See {NAMES[k % 5]} number {k}, which {NAMES[k % 3]} has.\n"
            * 8,
            "split": "validation" if validation and k % 8 == 7 else "train",
            "domain": "code" if k % 3 else "news",
            "language": "en",
        }
        for k in range(160)
    ]
    mix = mixture(store, [documents])
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=300))
    return mix, tokenizer, tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())


def vocab_size_of(tokenizer: Artifact) -> int:
    return Encoder.load(tokenizer.file("tokenizer.json").parent).vocab_size


def corpus_of(artifact: Artifact) -> Tokens:
    return Tokens(artifact.store, artifact.manifest)
