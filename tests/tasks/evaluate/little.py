"""A network small enough to ask token by token."""

from model.config import ModelConfig
from model.transformer import Transformer


def little_model(vocab_size: int, max_seq_len: int) -> Transformer:
    """Untrained, but with weights large enough that its predictions differ."""
    shape = ModelConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        n_layers=2,
        n_heads=2,
        n_kv_heads=1,
        intermediate_size=48,
        max_seq_len=max_seq_len,
        init_std=0.3,
    )
    return Transformer(shape, seed=1).eval()
