"""How large a network is, as a person says it: a preset, one dial, or sizes."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from infra.params import Params
from model.config import LSTMConfig, ModelConfig
from model.presets import PRESETS, PresetName, sizes_of_depth, sizes_of_width
from model.rope_scaling import DEFAULT_ROPE_THETA, RopeScaling

# The shape when nothing is said: what two cores learn something with in a few minutes.
_SMALL = {"hidden_size": 192, "n_layers": 4, "n_heads": 6, "n_kv_heads": 3, "intermediate_size": 512}
_SIZES = ("hidden_size", "n_layers", "n_heads", "intermediate_size", "head_dim")
_OF_TRANSFORMERS = ("n_heads", "n_kv_heads", "intermediate_size", "head_dim", "rope_theta", "rope_scaling")


class Shape(Params):
    """Size of the network; the vocabulary's and the sequence's come from elsewhere.

    Three ways to say it: `preset`, `depth`, or `hidden_size` and `n_layers` with what else is to be said. The other
    fields go with each of them.
    """

    architecture: Literal["transformer", "lstm"] = Field(
        "transformer", description="lstm: hidden_size and n_layers only; to compare transformers with."
    )
    preset: PresetName | None = Field(None, description="A shape by name (model/presets.py): 1m to 1b, 8b.")
    depth: int | None = Field(None, ge=1, description="One dial: so many layers, 64 times as wide.")
    hidden_size: int | None = Field(None, ge=1, description="Width of the residual stream.")
    n_layers: int | None = Field(None, ge=1, description="Transformer blocks, or LSTM layers.")
    n_heads: int | None = Field(None, ge=1, description="Query heads; empty: heads of 32, 64 or 128 by width.")
    n_kv_heads: int | None = Field(
        None,
        ge=1,
        description="Key and value heads (grouped-query attention when fewer); empty: n_heads or the preset's.",
    )
    intermediate_size: int | None = Field(None, ge=1, description="Width of the SwiGLU layer; empty: about 8/3.")
    head_dim: int | None = Field(None, ge=2, description="Width of a head; empty: hidden_size / n_heads.")
    rope_theta: float | None = Field(
        None, gt=1, description="Base of the rotary wavelengths; empty: the preset's, 10,000."
    )
    rope_scaling: RopeScaling | None = Field(None, description="Stretch of the wavelengths: type yarn or llama3.")
    tie_embeddings: bool | None = Field(
        None, description="One matrix for embedding and head, half of a small model's size; empty: the preset's, true."
    )
    qk_norm: bool = Field(False, description="RMSNorm on queries and keys; the export is then a Qwen3, not a Llama.")
    attention_bias: bool = Field(False, description="Biases on queries, keys and values; the export is a Qwen2.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        sizes = [name for name in _SIZES if getattr(self, name) is not None]
        ways = [name for name in ("preset", "depth") if getattr(self, name) is not None]
        if len(ways) + bool(sizes) > 1:
            named = ", ".join([*ways, *sizes])
            raise ValueError(f"preset, depth and sizes are three ways to say one thing; give one of them, not {named}")
        if sizes and (self.hidden_size is None or self.n_layers is None):
            raise ValueError(f"sizes need hidden_size and n_layers; given: {', '.join(sizes)}")
        if self.architecture == "lstm":
            foreign = [name for name in _OF_TRANSFORMERS if getattr(self, name) is not None]
            foreign += [*ways, *(name for name in ("qk_norm", "attention_bias") if getattr(self, name))]
            if foreign:
                raise ValueError(f"an lstm has hidden_size, n_layers and tie_embeddings, not {', '.join(foreign)}")
        return self

    def network(self, vocab_size: int, max_seq_len: int, causal: bool = True) -> ModelConfig | LSTMConfig:
        """The whole configuration. Raises pydantic's `ValidationError` for sizes that do not fit each other."""
        tied = True if self.tie_embeddings is None else self.tie_embeddings
        if self.architecture == "lstm":
            hidden_size, n_layers = self.hidden_size or _SMALL["hidden_size"], self.n_layers or _SMALL["n_layers"]
            return LSTMConfig(
                vocab_size=vocab_size,
                max_seq_len=max_seq_len,
                hidden_size=hidden_size,
                n_layers=n_layers,
                tie_embeddings=tied,
            )
        values: dict[str, Any] = {"rope_theta": DEFAULT_ROPE_THETA, "tie_embeddings": tied}
        if self.preset is not None:
            values |= PRESETS[self.preset]
        elif self.depth is not None:
            values |= sizes_of_depth(self.depth)
        elif self.hidden_size is not None and self.n_layers is not None:
            values |= sizes_of_width(self.hidden_size, self.n_layers)
            if self.n_heads is not None:
                values["n_kv_heads"] = self.n_heads
            values["hidden_size"] = self.hidden_size  # as said, where the proportions would have rounded it
        else:
            values |= _SMALL
        said = (*_SIZES, "n_kv_heads", "rope_theta", "rope_scaling", "tie_embeddings", "qk_norm", "attention_bias")
        values |= {name: value for name in said if (value := getattr(self, name)) is not None}
        return ModelConfig(vocab_size=vocab_size, max_seq_len=max_seq_len, causal=causal, **values)
