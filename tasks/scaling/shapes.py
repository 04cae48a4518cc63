"""Shapes for a ladder of sizes: near the size that is asked for, and of like proportions from rung to rung.

Below `FINE` the presets' steps (whole heads of 32, feed-forward layers in multiples of 64) are as large as the
networks: neighbouring sizes would differ more in proportions than in size, and the law would have kinks. There, widths
go in steps of 8 with heads of about 24, and a shape of the right proportions is worth more than one of the exact size,
since fits take each shape's own count.

What is not size is the same on every rung: a `Family`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.errors import BadConfig
from model.config import LSTMConfig, ModelConfig
from model.presets import WIDTH_A_LAYER, Sizes, matmul_params, shape_for_params, sizes_of_width
from model.rope_scaling import RopeScaling
from tasks.shape import Shape

FINE = 2_000_000  # parameters of matrix products
STEP = 8  # of widths and feed-forward layers
HEAD = 24
NARROWEST, WIDEST = 16, 256
PROPORTIONS = 0.25  # what a factor in width over layers weighs, against the same factor in size
LEAST = 0.9  # of the smallest network: a size below it cannot be meant


@dataclass(frozen=True)
class Family:
    """What the transformers of a ladder share. `head_size`: width of a head; None: by the width of the network.
    `queries_a_kv_head`: query heads to each key and value head. The rest is named as in `Shape`."""

    head_size: int | None = None
    queries_a_kv_head: int = 1
    tie_embeddings: bool = True
    qk_norm: bool = False
    attention_bias: bool = False
    rope_theta: float | None = None
    rope_scaling: RopeScaling | None = None

    def shape(self, sizes: Sizes) -> Shape:
        """The member of these sizes."""
        return Shape(
            **sizes,
            tie_embeddings=self.tie_embeddings,
            qk_norm=self.qk_norm,
            attention_bias=self.attention_bias,
            rope_theta=self.rope_theta,
            rope_scaling=self.rope_scaling,
        )


USUAL = Family()


def family_of(networks: Sequence[ModelConfig | LSTMConfig]) -> Family:
    """What these have in common. Where they differ, it is as in `USUAL`.

    Raises:
        BadConfig: an LSTM is among them; ladders are of transformers.
    """
    transformers = [network for network in networks if isinstance(network, ModelConfig)]
    if len(transformers) < len(networks):
        raise BadConfig("scaling: shapes for a size are those of transformers, and these runs are LSTMs")

    def shared(values: list[Any], usual: Any) -> Any:
        return values[0] if all(value == values[0] for value in values) else usual

    whole = all(one.head_size * one.n_heads == one.hidden_size for one in transformers)
    named = ("tie_embeddings", "qk_norm", "attention_bias", "rope_theta", "rope_scaling")
    return Family(
        head_size=shared([one.head_size for one in transformers], None) if whole else None,
        queries_a_kv_head=shared([one.n_heads // one.n_kv_heads for one in transformers], 1),
        **{name: shared([getattr(one, name) for one in transformers], getattr(USUAL, name)) for name in named},
    )


def shape_near(size: float, vocab_size: int, aspect: float = WIDTH_A_LAYER, family: Family = USUAL) -> Shape:
    """The transformer of about so many parameters in matrix products, head included; all its sizes said.

    Args:
        aspect: width over layers that shapes are to have.
        family: what is not size.

    Raises:
        BadConfig: smaller than any that this vocabulary allows.
    """
    widths = [width for width in range(NARROWEST, WIDEST + 1, STEP) if _heads(width, family)]

    def coarse(width: int, n_layers: int) -> Sizes:
        return sizes_of_width(width, n_layers, family.head_size, family.queries_a_kv_head)

    if size >= FINE or not widths:
        try:
            return family.shape(shape_for_params(size, vocab_size, aspect, coarse))
        except ValueError as error:
            least = _sizes(widths[0], 1, family) if widths else coarse(NARROWEST, 1)
            raise _too_small(size, vocab_size, least) from error
    smallest = _sizes(widths[0], 1, family)
    if size < matmul_params(smallest, vocab_size) * LEAST:
        raise _too_small(size, vocab_size, smallest)

    def away(sizes: Sizes) -> float:
        skewed = abs(math.log(sizes["hidden_size"] / sizes["n_layers"] / aspect))
        return abs(math.log(matmul_params(sizes, vocab_size) / size)) + PROPORTIONS * skewed

    shapes = [
        _sizes(width, n_layers, family) for width in widths for n_layers in _depths(width, size, vocab_size, family)
    ]
    return family.shape(min(shapes, key=away))


def _depths(width: int, size: float, vocab_size: int, family: Family) -> tuple[int, int]:
    """The two numbers of layers of a width that are nearest to the size."""
    one, two = (matmul_params(_sizes(width, n, family), vocab_size) for n in (1, 2))
    below = max(1, math.floor((size - (2 * one - two)) / (two - one)))
    return below, below + 1


def _heads(width: int, family: Family) -> list[int]:
    """Numbers of query heads that a width can be divided into."""
    each = family.queries_a_kv_head
    heads = [n for n in range(each, width // 2 + 1, each) if width % n == 0 and width // n % 2 == 0]
    return [n for n in heads if family.head_size in (None, width // n)]


def _sizes(width: int, n_layers: int, family: Family) -> Sizes:
    """Of a small network, whose width has `_heads`."""
    n_heads = min(_heads(width, family), key=lambda n: abs(math.log(width / n / HEAD)))
    return Sizes(
        hidden_size=width,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads // family.queries_a_kv_head,
        # as many parameters as an MLP of 4 (Shazeer 2020)
        intermediate_size=STEP * math.ceil(8 * width / 3 / STEP),
    )


def _too_small(size: float, vocab_size: int, smallest: Sizes) -> BadConfig:
    least = matmul_params(smallest, vocab_size)
    return BadConfig(
        f"scaling: no network of {size:,.0f} parameters: with {vocab_size:,} tokens the least is {least:,}; take larger"
        " sizes or a smaller tokenizer.vocab_size"
    )
