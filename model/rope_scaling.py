"""How rotary embeddings are stretched to a longer context, as configuration, and how a config.json says it.

The frequencies themselves are in `model/rope.py`. Of transformers' kinds only those are known that this network
computes exactly: none ("default"), YaRN and Llama 3.1's.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_ROPE_THETA = 10_000.0  # RoFormer, section 3.2.2; also what transformers assumes when a config.json names none.


class YarnScaling(BaseModel):
    """YaRN (Peng et al. 2023, arXiv:2309.00071, sections 3.2 to 3.4): wavelengths that the original context held less
    than `beta_slow` times are stretched by `factor`, those it held more than `beta_fast` times stay, and attention is
    sharpened.

    Between the two the released code and transformers interpolate linearly over the *index* of the frequency, where
    the paper's ramp is linear in the number of rotations; this follows the code, since checkpoints do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["yarn"] = Field("yarn", description="YaRN (Peng et al. 2023).")
    factor: float = Field(ge=1, description="New context over the original one (s in the paper).")
    original_max_seq_len: int = Field(ge=1, description="Context that the model was trained at, in tokens (L).")
    beta_fast: float = Field(32.0, gt=0, description="Rotations in L from which a frequency stays as it is.")
    beta_slow: float = Field(1.0, gt=0, description="Rotations in L up to which a frequency is divided by factor.")
    attention_factor: float | None = Field(
        None, gt=0, description="What queries and keys are multiplied by; empty: 0.1 ln(factor) + 1 (section 3.4)."
    )
    truncate: bool = Field(True, description="Round the ramp's ends outwards to whole frequencies, as released.")

    @model_validator(mode="after")
    def _ramp_has_a_direction(self) -> Self:
        if self.beta_fast <= self.beta_slow:
            raise ValueError(f"beta_fast {self.beta_fast} must be above beta_slow {self.beta_slow}")
        return self

    @property
    def attention_scale(self) -> float:
        """sqrt(1 / t): the factor on queries and on keys, so that scores are divided by the temperature t."""
        return self.attention_factor or 0.1 * math.log(self.factor) + 1.0


class Llama3Scaling(BaseModel):
    """Llama 3.1's: wavelengths above original / low_freq_factor are stretched by `factor`, those below
    original / high_freq_factor stay, between them both are blended (the formula is in the code released with it)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["llama3"] = Field("llama3", description="As Llama 3.1 was stretched.")
    factor: float = Field(8.0, ge=1, description="Stretch of long wavelengths.")
    original_max_seq_len: int = Field(8192, ge=1, description="Context that the model was trained at, in tokens.")
    low_freq_factor: float = Field(1.0, gt=0, description="Rotations in the original context that count as few.")
    high_freq_factor: float = Field(4.0, gt=0, description="Rotations in the original context that count as many.")

    @model_validator(mode="after")
    def _blend_has_a_direction(self) -> Self:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor {self.high_freq_factor} must be above low_freq_factor {self.low_freq_factor}"
            )
        return self


RopeScaling = Annotated[YarnScaling | Llama3Scaling, Field(discriminator="type")]

# Our names -> transformers', by type.
_HF_NAMES: dict[str, dict[str, str]] = {
    "yarn": {
        "factor": "factor",
        "original_max_seq_len": "original_max_position_embeddings",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
        "truncate": "truncate",
    },
    "llama3": {
        "factor": "factor",
        "original_max_seq_len": "original_max_position_embeddings",
        "low_freq_factor": "low_freq_factor",
        "high_freq_factor": "high_freq_factor",
    },
}
# Keys that say nothing of the maths, or are read apart.
_OTHER_KEYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "mscale", "mscale_all_dim", "finetuned"}


def rope_to_hf(theta: float, scaling: YarnScaling | Llama3Scaling | None) -> dict[str, Any]:
    """The keys of config.json that say how positions are rotated.

    transformers 5 reads `rope_parameters`; transformers 4, vLLM and llama.cpp read `rope_theta` and `rope_scaling`.
    """
    if scaling is None:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}, "rope_theta": theta}
    values = scaling.model_dump(exclude_none=True)
    named = {theirs: values[ours] for ours, theirs in _HF_NAMES[scaling.type].items() if ours in values}
    older = {"rope_type": scaling.type, **named}
    return {"rope_parameters": {**older, "rope_theta": theta}, "rope_theta": theta, "rope_scaling": older}


def rope_from_hf(config: Mapping[str, Any], max_seq_len: int) -> tuple[float, YarnScaling | Llama3Scaling | None]:
    """(theta, scaling) of a config.json, whichever way it says it; `max_seq_len` is its max_position_embeddings.

    Raises:
        ValueError: positions are rotated in a way that this network does not compute.
    """
    found = config.get("rope_scaling") or config.get("rope_parameters") or {}  # transformers' order of precedence
    theta = float(found.get("rope_theta") or config.get("rope_theta") or DEFAULT_ROPE_THETA)
    if any(isinstance(value, Mapping) for value in found.values()):
        raise ValueError("rope_parameters differ by layer type: only one rotation for all layers is supported")
    for source in (config, found):
        if (source.get("partial_rotary_factor") or 1.0) != 1.0:
            raise ValueError("partial_rotary_factor other than 1 is not supported: this network rotates whole heads")
    kind = found.get("rope_type", found.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind not in _HF_NAMES:
        raise ValueError(f"RoPE scaling {kind!r} is not supported: only default, yarn and llama3 are the same maths")
    names = _HF_NAMES[kind]
    unknown = sorted(set(found) - set(names.values()) - _OTHER_KEYS)
    if unknown:
        raise ValueError(f"RoPE scaling {kind!r} has keys that are not known: {', '.join(unknown)}")
    given = {ours: found[theirs] for ours, theirs in names.items() if found.get(theirs) is not None}
    # Phi 3 and its kin name the original length outside; transformers then lets that one count.
    original = config.get("original_max_position_embeddings") or given.get("original_max_seq_len") or max_seq_len
    given["original_max_seq_len"] = original
    if kind == "llama3":
        missing = sorted(theirs for ours, theirs in names.items() if ours not in given)
        if missing:
            raise ValueError(f"RoPE scaling 'llama3' lacks {', '.join(missing)}")
        return theta, Llama3Scaling(**given)
    given.setdefault("factor", max_seq_len / original)
    if "attention_factor" not in given and found.get("mscale") and found.get("mscale_all_dim"):  # DeepSeek's
        numerator, denominator = (
            0.1 * found[key] * math.log(given["factor"]) + 1.0 for key in ("mscale", "mscale_all_dim")
        )
        given["attention_factor"] = numerator / denominator
    return theta, YarnScaling(**given)
