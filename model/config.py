"""The shape of the network, checked when it is written down, and what that shape costs; how it is optimised.

One `ModelConfig` says everything the forward pass depends on. It translates both ways to the `config.json` of
Hugging Face's Llama (Qwen2: with biases; Qwen3: with QK-norm), and refuses in one line what would be other maths.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from model.rope_scaling import DEFAULT_ROPE_THETA, RopeScaling, rope_from_hf, rope_to_hf

DEFAULT_INIT_STD = 0.02  # Radford et al. 2019 (GPT-2) and every Llama since.
LSTM_INIT_STD = 0.058  # that of U(-0.1, 0.1), Merity et al. 2018, section 5

# transformers' names of what this network is, by model_type: Llama, Qwen2 (biases on queries, keys and values), Qwen3
# (QK-norm).
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
# transformers' defaults of the sizes that a config.json may leave out, by model type.
_HF_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048, "head_dim": None},
    "qwen2": {"max_position_embeddings": 32768, "head_dim": None},
    "qwen3": {"max_position_embeddings": 32768, "head_dim": 128},
}
# Keys of a config.json that change the maths, with the only values that this network has. A key that is missing, or
# null, has the value given here in transformers.
_FIXED_HF_VALUES: dict[str, Any] = {
    "hidden_act": "silu",
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "use_sliding_window": False,
    "final_logit_softcapping": None,  # Gemma 2's and later ones' changes, and Granite's factors, where a fork has them
    "attn_logit_softcapping": None,
    "query_pre_attn_scalar": None,
    "attention_multiplier": None,
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "logits_scaling": 1.0,
    "num_experts": None,
    "num_local_experts": None,
    "quantization_config": None,
    "auto_map": None,  # code that comes with the folder, which may be any maths
}
LSTM_MODEL_TYPE = "sluice_lstm"


def training_flops_per_token(n_matmul_params: float, attention_width: float, seq_len: float) -> float:
    """Training FLOPs (forward and backward) a token: 6 N + 12 W T, of PaLM (Chowdhery et al. 2022, appendix B).

    Args:
        n_matmul_params: N, parameters that take part in matrix products.
        attention_width: W, layers x heads x width of a head; 0 without attention.
        seq_len: T, tokens that a query may see; the causal mask is not discounted.
    """
    return 6.0 * n_matmul_params + 12.0 * attention_width * seq_len


class ModelConfig(BaseModel):
    """A transformer of the Llama family (Touvron et al. 2023; Grattafiori et al. 2024, section 3.2).

    Raises pydantic's `ValidationError` (a `ValueError`) for an unknown field or sizes that do not fit each other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["transformer"] = "transformer"
    vocab_size: int = Field(ge=1, description="Rows of the embedding, special tokens included.")
    hidden_size: int = Field(ge=1, description="Width of the residual stream.")
    n_layers: int = Field(ge=1, description="Transformer blocks.")
    n_heads: int = Field(ge=1, description="Query heads.")
    n_kv_heads: int = Field(ge=1, description="Key and value heads; fewer than n_heads is grouped-query attention.")
    intermediate_size: int = Field(ge=1, description="Width of the SwiGLU feed-forward layer.")
    max_seq_len: int = Field(ge=1, description="Longest sequence in tokens; positions beyond it are refused.")
    head_dim: int | None = Field(None, ge=2, description="Width of a head; empty means hidden_size / n_heads.")
    rope_theta: float = Field(DEFAULT_ROPE_THETA, gt=1, description="Base of the rotary wavelengths (RoFormer, 3.2.2).")
    rope_scaling: RopeScaling | None = Field(None, description="Stretch of the wavelengths to a longer context.")
    norm_eps: float = Field(1e-5, gt=0, description="Epsilon under the root of RMSNorm.")
    tie_embeddings: bool = Field(False, description="Use the embedding matrix as the output head.")
    qk_norm: bool = Field(False, description="RMSNorm on each query and key head (Dehghani et al. 2023); Qwen3's.")
    attention_bias: bool = Field(False, description="Biases on queries, keys and values; Qwen2's.")
    causal: bool = Field(True, description="A position sees none after it. False, for masked tokens only: sees all.")
    init_std: float = Field(DEFAULT_INIT_STD, gt=0, description="Standard deviation of initial weights.")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        others_mind = self.head_dim is None or not (self.qk_norm or self.attention_bias)  # Llama's does, even with one
        if self.hidden_size % self.n_heads and others_mind:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of n_heads {self.n_heads}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if self.head_size % 2:
            raise ValueError(f"a head is {self.head_size} wide, but rotary embeddings rotate pairs: make it even")
        if self.qk_norm and self.attention_bias:
            raise ValueError("qk_norm (Qwen3) and attention_bias (Qwen2) together are no model that others could load")
        return self

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.head_dim or self.hidden_size // self.n_heads

    @property
    def n_params(self) -> int:
        """All trainable parameters; a tied head counts once."""
        norms = (2 * self.n_layers + 1) * self.hidden_size + (2 * self.n_layers * self.head_size if self.qk_norm else 0)
        biases = self.n_layers * (self.n_heads + 2 * self.n_kv_heads) * self.head_size if self.attention_bias else 0
        lookup = 0 if self.tie_embeddings else self.vocab_size * self.hidden_size
        return self.n_matmul_params + lookup + norms + biases

    @property
    def n_matmul_params(self) -> int:
        """Parameters that take part in matrix products: the blocks' and the head's, not the embedding lookup."""
        attention = 2 * self.hidden_size * (self.n_heads + self.n_kv_heads) * self.head_size
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        return self.n_layers * (attention + feed_forward) + self.vocab_size * self.hidden_size

    def flops_per_token(self, seq_len: int | None = None) -> float:
        """Training FLOPs (forward and backward) a token at `seq_len` (default: max_seq_len)."""
        length = self.max_seq_len if seq_len is None else seq_len
        return training_flops_per_token(self.n_matmul_params, self.n_layers * self.n_heads * self.head_size, length)

    def to_hf(self) -> dict[str, Any]:
        """The content of `config.json` for `AutoModelForCausalLM`: Llama; Qwen2 with biases, Qwen3 with QK-norm."""
        model_type = "qwen3" if self.qk_norm else "qwen2" if self.attention_bias else "llama"
        apart: dict[str, Any] = {"mlp_bias": False} if model_type == "llama" else {"use_sliding_window": False}
        if model_type != "qwen2":
            apart["attention_bias"] = False  # one on the output projection as well, in these two
        if not self.causal:
            apart["is_causal"] = False
        return {
            "architectures": [_ARCHITECTURES[model_type]],
            "model_type": model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_size,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_seq_len,
            **rope_to_hf(self.rope_theta, self.rope_scaling),
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "initializer_range": self.init_std,
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            **apart,
        }

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read a `config.json`. Raises `ValueError` naming whatever this network would compute differently."""
        model_type = config.get("model_type")
        if model_type not in _ARCHITECTURES:
            names = "llama, qwen2 and qwen3"
            raise ValueError(f"model_type {model_type!r} is not supported: only {names} are the same maths")
        architectures = config.get("architectures") or [_ARCHITECTURES[model_type]]
        if list(architectures) != [_ARCHITECTURES[model_type]]:
            raise ValueError(f"architectures {architectures!r} is not a causal language model of type {model_type}")
        fixed = dict(_FIXED_HF_VALUES)
        if model_type != "qwen2":
            fixed["attention_bias"] = False  # would be on the output projection too; Qwen2's have no key of their own
        if model_type == "llama":
            fixed["sliding_window"] = None  # in Qwen it means nothing unless use_sliding_window is set
        for key, value in fixed.items():
            if config.get(key) not in (None, value):
                raise ValueError(f"{key} = {config[key]!r} is not supported: only {value!r} is the same maths")
        kinds = set(config.get("layer_types") or ()) - {"full_attention"}
        if kinds:
            raise ValueError(f"layer_types has {', '.join(sorted(kinds))}: only full_attention is the same maths")
        sizes = {**_HF_DEFAULTS[model_type], **config}
        try:
            theta, scaling = rope_from_hf(config, sizes["max_position_embeddings"])
            return cls(
                vocab_size=sizes["vocab_size"],
                hidden_size=sizes["hidden_size"],
                n_layers=sizes["num_hidden_layers"],
                n_heads=sizes["num_attention_heads"],
                n_kv_heads=sizes.get("num_key_value_heads") or sizes["num_attention_heads"],
                intermediate_size=sizes["intermediate_size"],
                max_seq_len=sizes["max_position_embeddings"],
                head_dim=sizes["head_dim"],
                rope_theta=theta,
                rope_scaling=scaling,
                norm_eps=sizes.get("rms_norm_eps", 1e-6),
                tie_embeddings=sizes.get("tie_word_embeddings", False),
                qk_norm=model_type == "qwen3",
                attention_bias=model_type == "qwen2",
                causal=config.get("is_causal", True),
                init_std=sizes.get("initializer_range", DEFAULT_INIT_STD),
            )
        except KeyError as missing:
            raise ValueError(f"config.json lacks {missing.args[0]!r}") from None


class LSTMConfig(BaseModel):
    """A stack of LSTM layers (Hochreiter & Schmidhuber 1997; Zaremba et al. 2014), to compare transformers with.

    Embedding and layers are equally wide, so that the head may be tied (Press & Wolf 2017).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["lstm"] = "lstm"
    vocab_size: int = Field(ge=1, description="Rows of the embedding, special tokens included.")
    hidden_size: int = Field(ge=1, description="Width of embedding, state and cell.")
    n_layers: int = Field(ge=1, description="Layers.")
    max_seq_len: int = Field(ge=1, description="Longest sequence in tokens that it is trained at.")
    tie_embeddings: bool = Field(False, description="Use the embedding matrix as the output head.")
    init_std: float = Field(LSTM_INIT_STD, gt=0, description="Standard deviation of the initial embedding and head.")

    @property
    def causal(self) -> bool:
        """An LSTM reads forwards only."""
        return True

    @property
    def n_params(self) -> int:
        """All trainable parameters; a tied head counts once. A layer has two biases of 4 hidden_size, as cuDNN's."""
        lookup = 0 if self.tie_embeddings else self.vocab_size * self.hidden_size
        return self.n_matmul_params + lookup + self.n_layers * 8 * self.hidden_size

    @property
    def n_matmul_params(self) -> int:
        """Parameters that take part in matrix products: 8 hidden_size^2 a layer, and the head's."""
        return 8 * self.n_layers * self.hidden_size**2 + self.vocab_size * self.hidden_size

    def flops_per_token(self, seq_len: int | None = None) -> float:  # noqa: ARG002  asked as a transformer is
        """Training FLOPs a token, 6 N, at any length."""
        return training_flops_per_token(self.n_matmul_params, 0, 0)

    def to_hf(self) -> dict[str, Any]:
        """The content of config.json. transformers has no such model; the names are its, the type is ours."""
        return {
            "model_type": LSTM_MODEL_TYPE,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.n_layers,
            "max_position_embeddings": self.max_seq_len,
            "tie_word_embeddings": self.tie_embeddings,
            "initializer_range": self.init_std,
        }

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read what `to_hf` wrote. Raises `ValueError` naming a size that is missing."""
        try:
            return cls(
                vocab_size=config["vocab_size"],
                hidden_size=config["hidden_size"],
                n_layers=config["num_hidden_layers"],
                max_seq_len=config["max_position_embeddings"],
                tie_embeddings=config["tie_word_embeddings"],
                init_std=config["initializer_range"],
            )
        except KeyError as missing:
            raise ValueError(f"config.json lacks {missing.args[0]!r}") from None


def _architecture(value: Any) -> str:
    """The tag of a written or built configuration; one that names none is a transformer."""
    return str(value.get("architecture", "transformer") if isinstance(value, Mapping) else value.architecture)


NetworkConfig = Annotated[
    Annotated[ModelConfig, Tag("transformer")] | Annotated[LSTMConfig, Tag("lstm")], Discriminator(_architecture)
]


def read_config(config: Mapping[str, Any]) -> ModelConfig | LSTMConfig:
    """The network that a config.json describes. Raises `ValueError` for one that is not ours."""
    return (LSTMConfig if config.get("model_type") == LSTM_MODEL_TYPE else ModelConfig).from_hf(config)


class OptimConfig(BaseModel):
    """The optimizer and its schedule. Defaults are those of small Llama-like models (nanochat, OLMo 2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: Muon on the blocks' matrices, AdamW on embedding, head and norms; ZeRO stages 0-2."
    )
    lr: float = Field(3e-3, gt=0, description="Peak learning rate of AdamW.")
    muon_lr: float = Field(0.02, gt=0, description="Peak learning rate of Muon, in spectral norm a step (Jordan 2024).")
    muon_momentum: float = Field(0.95, ge=0, lt=1, description="Momentum of Muon.")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's decay rates (Llama, OLMo 2).")
    eps: float = Field(1e-8, gt=0, description="AdamW's epsilon.")
    z_loss: float = Field(
        0.0,
        ge=0,
        description="Weight of log(Z)^2, which keeps logits from drifting (PaLM, section 5: 1e-4; OLMo 2: 1e-5).",
    )
    weight_decay: float = Field(0.1, ge=0, description="Decoupled decay of matrices; never of norms and embeddings.")
    grad_clip: float = Field(1.0, ge=0, description="Largest global gradient norm; 0 switches clipping off.")
    schedule: Literal["constant", "linear", "cosine", "wsd", "trapezoid"] = Field(
        "trapezoid",
        description="After warm-up: constant; linear or cosine to min_lr_ratio; wsd: constant, then 1 - sqrt over the "
        "last decay_fraction; trapezoid: constant, then linear over it.",
    )
    warmup_steps: int = Field(20, ge=0, description="Steps of linear warm-up.")
    decay_fraction: float = Field(
        0.65,
        gt=0,
        le=1,
        description="Share of all steps that wsd and trapezoid decay over (nanochat 0.65, WSD 0.1-0.2).",
    )
    min_lr_ratio: float = Field(0.0, ge=0, le=1, description="Learning rate at the end, as a share of the peak.")

    @model_validator(mode="after")
    def _betas_are_rates(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas} must lie in [0, 1)")
        return self


class DPOConfig(BaseModel):
    """Which preference loss, and how far the policy may go from its reference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: Literal["sigmoid", "ipo"] = Field(
        "sigmoid", description="sigmoid: DPO (Rafailov et al. 2023, equation 7); ipo: Azar et al. 2023, equation 17."
    )
    beta: float = Field(0.1, gt=0, description="Strength of the pull towards the reference model.")
    nll_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of the chosen answer's nll a token, against falling likelihoods; Llama 3 has 0.2.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Share of pairs whose label is believed wrong (conservative DPO); sigmoid only."
    )

    @model_validator(mode="after")
    def _smoothing_has_a_label(self) -> Self:
        if self.label_smoothing and self.loss != "sigmoid":
            raise ValueError(f"label_smoothing belongs to the sigmoid loss; {self.loss} has no label to smooth")
        return self
