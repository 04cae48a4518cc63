"""Models as Hugging Face folders, both ways and exact: config.json, model.safetensors, generation_config.json.

Parameter names and maths are Llama's (see `model.transformer`), so nothing is renamed or transposed. A folder whose
model would compute anything else is refused in one line that names the reason. What transformers does not have, an
LSTM, is written alike under a model_type of ours.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config import LSTMConfig, ModelConfig, read_config
from model.lstm import LSTM
from model.transformer import Transformer

Network = Transformer | LSTM

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"  # transformers writes it when the weights are in several files
GENERATION = "generation_config.json"
FLOAT_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}  # safetensors' names of what float32 can hold
_EMBEDDINGS, _HEAD = ("model.embed_tokens.weight", "embed_tokens.weight"), "lm_head.weight"
_DERIVED = "rotary_emb.inv_freq"  # end of names: old folders store what follows from the configuration


@dataclass(frozen=True)
class Inspection:
    """What a folder's model is, without loading it."""

    config: ModelConfig | LSTMConfig
    dtypes: tuple[str, ...]
    """Of the weights, by torch's names, each once."""
    tensors: int
    derived: int
    """Tensors among them that follow from the configuration and are not read."""


def new_network(config: ModelConfig | LSTMConfig, seed: int = 0) -> Network:
    """An untrained network of that shape."""
    return Transformer(config, seed) if isinstance(config, ModelConfig) else LSTM(config, seed)


def save_hf(
    model: Network,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    bos_token_id: int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `model` so that `AutoModelForCausalLM.from_pretrained(folder)` gives the same logits.

    Equal weights give equal bytes. `dtype` is that of the file (float32 or bfloat16); the token ids go to both JSON
    files. `weights`: parameters by name in place of the model's own, which ZeRO-3 leaves in pieces.

    Raises:
        ValueError: another dtype.
    """
    from safetensors.torch import save_file

    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"weights are written as float32 or bfloat16, not {dtype}")
    folder.mkdir(parents=True, exist_ok=True)
    tokens = {
        "bos_token_id": bos_token_id,
        "eos_token_id": eos_token_id if eos_token_id is None or isinstance(eos_token_id, int) else list(eos_token_id),
        "pad_token_id": pad_token_id,
    }
    # transformers takes 1 and 2 for missing bos and eos: null has to be said.
    config = {**model.config.to_hf(), **tokens, "dtype": str(dtype).removeprefix("torch."), "use_cache": True}
    _write_json(folder / CONFIG, config)
    _write_json(folder / GENERATION, {name: value for name, value in tokens.items() if value is not None})
    given = model.state_dict() if weights is None else weights
    written = {name: tensor.to(dtype).cpu().contiguous() for name, tensor in given.items()}
    if model.config.tie_embeddings:
        written.pop(_HEAD, None)  # One tensor under two names; safetensors holds it once and loading ties it again.
    save_file(written, folder / WEIGHTS, metadata={"format": "pt"})


def load_hf(folder: Path, dtype: torch.dtype = torch.float32) -> Transformer:
    """Read a Llama, Qwen2 or Qwen3 folder, of one weights file or several, into a `Transformer` on the CPU.

    Raises:
        FileNotFoundError: config.json or the weights are not there.
        ValueError: the model is not the same maths or cannot write text (an LSTM, or one that reads both ways), or its
            tensors are not the ones its config promises.
    """
    network = load_network(folder, dtype)
    if not isinstance(network, Transformer):
        raise ValueError(f"{folder} is an LSTM, which is there to compare losses with: text needs a transformer")
    if not network.config.causal:
        raise ValueError(f"{folder} was trained on masked tokens and reads both ways: it predicts no next token")
    return network


def load_network(folder: Path, dtype: torch.dtype = torch.float32) -> Network:
    """Read whatever `save_hf` wrote, or a Llama, Qwen2 or Qwen3 folder. Raises as `load_hf`."""
    from safetensors.torch import load_file

    config = _read_config(folder)
    weights: dict[str, Tensor] = {}
    for file in weight_files(folder):
        weights |= load_file(file)
    model = _untrained(folder, config, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    if config.tie_embeddings:
        _check_tie(folder, weights)
        weights.setdefault(_HEAD, next(weights[name] for name in _EMBEDDINGS if name in weights))
    model = model.to_empty(device="cpu").to(dtype)
    model.tie()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def inspect_folder(folder: Path) -> Inspection:
    """Check that a folder's weights are those of its configuration, reading little more than their headers.

    Raises:
        FileNotFoundError: config.json or the weights are not there.
        ValueError: what `load_network` refuses, a file that is not safetensors, or weights that are not floats.
    """
    from safetensors import SafetensorError, safe_open

    config = _read_config(folder)
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: set[str] = set()
    tied: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118  not a dict
                    header = opened.get_slice(name)
                    shapes[name] = tuple(header.get_shape())
                    dtypes.add(header.get_dtype())
                    if config.tie_embeddings and name in (*_EMBEDDINGS, _HEAD):
                        tied[name] = opened.get_tensor(name)
        except SafetensorError as error:
            raise ValueError(f"{file} is not a safetensors file: {error}") from None
    if others := sorted(dtypes - FLOAT_TYPES.keys()):
        raise ValueError(f"{folder}: weights of type {others[0]} are not supported: only {', '.join(FLOAT_TYPES)} are")
    derived = sum(name.endswith(_DERIVED) for name in shapes)
    n_tensors = len(shapes)
    _untrained(folder, config, shapes)
    _check_tie(folder, tied)
    return Inspection(config, tuple(sorted(FLOAT_TYPES[name] for name in dtypes)), n_tensors, derived)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights.

    Raises:
        FileNotFoundError: there are none.
        ValueError: the index is not readable or names a file elsewhere.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / WEIGHTS_INDEX).is_file():
        raise FileNotFoundError(f"{folder} has neither {WEIGHTS} nor {WEIGHTS_INDEX} (pickled weights are not read)")
    try:
        names = sorted(set(json.loads((folder / WEIGHTS_INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{folder / WEIGHTS_INDEX} is not the index of weights in several files") from None
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"{folder / WEIGHTS_INDEX} names {name!r}, which is not a file of this folder")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} lacks {name}, which its {WEIGHTS_INDEX} names")
    return [folder / name for name in names]


def _read_config(folder: Path) -> ModelConfig | LSTMConfig:
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} is no model folder: it has no {CONFIG}")
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("a model's configuration is a JSON object")
        return read_config(content)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {_one_line(error)}") from None


def _untrained(folder: Path, config: ModelConfig | LSTMConfig, shapes: Mapping[str, tuple[int, ...]]) -> Network:
    """The configuration's network on the meta device, if these are its tensors; a tied head need not be there."""
    with torch.device("meta"):
        model = new_network(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: shape for name, shape in shapes.items() if not name.endswith(_DERIVED)}
    embedding = next((name for name in _EMBEDDINGS if name in found), None)
    if config.tie_embeddings and embedding is not None:
        found.setdefault(_HEAD, found[embedding])
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        name = wrong[0]
        raise ValueError(
            f"{folder}: {len(wrong)} tensors are not those of {CONFIG}; the first, {name}, is "
            f"{found.get(name, 'missing')} where {expected.get(name, 'nothing')} is expected"
        )
    return model


def _check_tie(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse a stored head that is not the embedding it is said to be."""
    embedding = next((weights[name] for name in _EMBEDDINGS if name in weights), None)
    if embedding is not None and _HEAD in weights and not torch.equal(embedding, weights[_HEAD]):
        raise ValueError(f"{folder}: {CONFIG} ties the head to the embedding, but {_HEAD} is another matrix")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _one_line(error: ValueError) -> str:
    """The message of an error; of pydantic's many lines, the reasons."""
    details = getattr(error, "errors", None)
    if details is None:
        return str(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in details())
