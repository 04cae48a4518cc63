"""Shapes for a ladder of sizes: near the size that is asked for, and of like proportions from rung to rung.

Below `FINE` the presets' steps (whole heads of 32, feed-forward layers in multiples of 64) are as large as the
networks: neighbouring sizes would differ more in proportions than in size, and the law would have kinks. There, widths
go in steps of 8 with heads of about 24, and a shape of the right proportions is worth more than one of the exact size,
since fits take each shape's own count.
"""

import math

from infra.errors import BadConfig
from model.presets import WIDTH_A_LAYER, Sizes, matmul_params, shape_for_params
from tasks.shape import Shape

FINE = 2_000_000  # parameters of matrix products
STEP = 8  # of widths and feed-forward layers
HEAD = 24
NARROWEST, WIDEST = 16, 256
PROPORTIONS = 0.25  # what a factor in width over layers weighs, against the same factor in size
LEAST = 0.9  # of the smallest network: a size below it cannot be meant


def shape_near(size: float, vocab_size: int, aspect: float = WIDTH_A_LAYER) -> Shape:
    """The transformer of about so many parameters in matrix products, head included; all its sizes said.

    Args:
        aspect: width over layers that shapes are to have.

    Raises:
        BadConfig: smaller than any that this vocabulary allows.
    """
    if size >= FINE:
        try:
            return _shape(shape_for_params(size, vocab_size, aspect))
        except ValueError as error:
            raise _too_small(size, vocab_size) from error
    smallest = matmul_params(_sizes(NARROWEST, 1), vocab_size)
    if size < smallest * LEAST:
        raise _too_small(size, vocab_size)

    def away(sizes: Sizes) -> float:
        skewed = abs(math.log(sizes["hidden_size"] / sizes["n_layers"] / aspect))
        return abs(math.log(matmul_params(sizes, vocab_size) / size)) + PROPORTIONS * skewed

    shapes = [
        _sizes(width, n_layers)
        for width in range(NARROWEST, WIDEST + 1, STEP)
        for n_layers in _depths(width, size, vocab_size)
    ]
    return _shape(min(shapes, key=away))


def _depths(width: int, size: float, vocab_size: int) -> tuple[int, int]:
    """The two numbers of layers of a width that are nearest to the size."""
    one, two = (matmul_params(_sizes(width, n), vocab_size) for n in (1, 2))
    below = max(1, math.floor((size - (2 * one - two)) / (two - one)))
    return below, below + 1


def _sizes(width: int, n_layers: int) -> Sizes:
    heads = [n for n in range(1, width // 2 + 1) if width % n == 0 and width // n % 2 == 0]
    n_heads = min(heads, key=lambda n: abs(math.log(width / n / HEAD)))
    feed_forward = STEP * math.ceil(8 * width / 3 / STEP)  # as many parameters as an MLP of 4 (Shazeer 2020)
    return Sizes(
        hidden_size=width, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_heads, intermediate_size=feed_forward
    )


def _shape(sizes: Sizes) -> Shape:
    return Shape(**sizes, tie_embeddings=True)


def _too_small(size: float, vocab_size: int) -> BadConfig:
    least = matmul_params(_sizes(NARROWEST, 1), vocab_size)
    return BadConfig(
        f"scaling: no network of {size:,.0f} parameters: with {vocab_size:,} tokens the least is {least:,}; take larger"
        " sizes or a smaller tokenizer.vocab_size"
    )
