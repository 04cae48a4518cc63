"""The `imported-model` stage: a Hugging Face folder becomes a model of ours (`sluice import DIR`).

Configuration and weights are taken over byte for byte once their headers show that they are what `model/hf.py`
computes; nothing is loaded for that, and pickled weights are never opened. A tokenizer that Sluice wrote stays as it
is; any other becomes ours (`tasks/tokenizer/imported.py`): special tokens that it lacks get the ids after its own, for
which the embedding must have rows. A chat template stays where it writes what we do, ChatML.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from tokenizers import Tokenizer

from infra.errors import BadInput
from infra.files import write_text
from infra.params import Params
from infra.stage import Draft, Source, stage
from infra.store.digests import DigestCache
from model.config import ModelConfig
from model.hf import CONFIG, GENERATION, WEIGHTS, WEIGHTS_INDEX, Inspection, inspect_folder, weight_files
from tasks.chat import CHAT_TEMPLATE, IM_END, IM_START, Message
from tasks.encoding import (
    CONFIG_FILE,
    ENCODER_FILE,
    PAD,
    TEMPLATE_FILE,
    TOKENIZER_FILE,
    Encoder,
    is_written_by_us,
    write_hf_files,
    write_hf_tokenizer,
)
from tasks.export import MODEL, ORIGIN
from tasks.tokenizer.imported import import_tokenizer

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
OPTIONAL = (GENERATION, CONFIG_FILE, TEMPLATE_FILE, ENCODER_FILE, ORIGIN)
TRIAL: tuple[Message, ...] = (  # with a system turn, since some templates add one of their own where there is none
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a heap?"},
    {"role": "assistant", "content": "A tree."},
    {"role": "user", "content": "And a stack?"},
)


class ImportedModelParams(Params):
    """Which of its tokens a foreign tokenizer ends and fills texts with; one that Sluice wrote says so itself."""

    end_of_text: str | None = Field(
        None, description="The token that it ends a text with; empty: the one known for its family."
    )
    pad: str | None = Field(None, description="The token that it pads with; empty: <|pad|>, added where it lacks it.")


def open_model_folder(places: Sequence[str], digests: DigestCache) -> Source:
    """What an import reads of a folder: given is the folder, or files in it.

    Raises:
        BadInput: something is missing, or the weights are pickled.
    """
    paths = [Path(place).expanduser() for place in places]
    folders = {path if path.is_dir() else path.parent for path in paths}
    if missing := [path for path in paths if not path.exists()]:
        raise BadInput(f"{missing[0]}: no such folder; an import takes one as transformers' save_pretrained writes it")
    if len(folders) != 1:
        raise BadInput(f"a model is one folder; {len(folders)} were given")
    (folder,) = folders
    try:
        weights = weight_files(folder)
    except (FileNotFoundError, ValueError) as error:
        raise BadInput(_why_no_weights(folder, error)) from error
    for name in (CONFIG, TOKENIZER_FILE):
        if not (folder / name).is_file():
            advice = "; AutoTokenizer.from_pretrained(…).save_pretrained(…) writes it" if name == TOKENIZER_FILE else ""
            raise BadInput(f"{folder} has no {name}{advice}")
    names = [CONFIG, TOKENIZER_FILE, *OPTIONAL, *([WEIGHTS_INDEX] if not (folder / WEIGHTS).is_file() else [])]
    return Source.of_files([*weights, *(folder / name for name in names if (folder / name).is_file())], digests)


def _why_no_weights(folder: Path, error: Exception) -> str:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles and isinstance(error, FileNotFoundError):
        return (
            f"{folder} has its weights in {pickles[0]}: opening a pickle runs whatever code is in it. Where you trust"
            " it, write it anew as safetensors: AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)"
        )
    return str(error)


@stage("imported-model", version=2, libraries=("tokenizers",), openers={"folder": open_model_folder})
def imported_model(folder: Source, params: ImportedModelParams, out: Draft) -> None:
    """Take a Llama, Qwen2 or Qwen3 folder into the store, if it is the same maths as ours.

    Raises:
        BadInput: it is not, its weights or its tokenizer do not fit its configuration, or the embedding has no room for
            special tokens.
    """
    paths = {file.name: Path(file.path) for file in folder.files}
    source = paths[CONFIG].parent
    found = inspected(source)
    shape = found.config
    target = out.path(f"{MODEL}{CONFIG}").parent
    template = take_tokenizer(paths, target, shape.vocab_size, params, out)
    taken = [name for name in sorted(paths) if name in (CONFIG, GENERATION, WEIGHTS_INDEX) or is_weights(name)]
    for k, name in enumerate(taken):
        if is_weights(name):
            out.progress(k, len(taken), f"copying {name}")
        shutil.copyfile(paths[name], target / name)
    origin = read_object(paths[ORIGIN]).get("ref") if ORIGIN in paths else None
    out.count("tensors", found.tensors, dropped={"derived": found.derived}, out=1, out_unit="models")
    out.metrics |= {
        "parameters": shape.n_params,
        "architecture": shape.to_hf()["architectures"][0],
        "dtype": " and ".join(found.dtypes),
        "max_seq_len": shape.max_seq_len,
        "embedding_rows": shape.vocab_size,
        "vocab_size": Encoder.load(target).vocab_size,
        "chat_template": template,
        **({"exported_from": origin} if isinstance(origin, str) else {}),
    }


def is_weights(name: str) -> bool:
    """Whether a file of the folder holds tensors."""
    return name.endswith(".safetensors")


def inspected(folder: Path) -> Inspection:
    """What is in the folder, if it is a network that writes text.

    Raises:
        BadInput: it is not, or not the same maths.
    """
    try:
        found = inspect_folder(folder)
    except (ValueError, FileNotFoundError) as error:
        raise BadInput(str(error)) from error
    if not isinstance(found.config, ModelConfig) or not found.config.causal:
        raise BadInput(f"{folder} is there to compare losses with (an LSTM, or trained on masked tokens): no text")
    return found


def take_tokenizer(paths: dict[str, Path], target: Path, rows: int, params: ImportedModelParams, out: Draft) -> str:
    """Write the folder's tokenizer as one of ours into `target`.

    Args:
        paths: the files of the folder by name.
        rows: of the model's embedding.

    Returns:
        What became of its chat template.

    Raises:
        BadInput: the tokenizer cannot be used, or has more ids than the embedding has rows.
    """
    source = paths[TOKENIZER_FILE].parent
    if is_written_by_us(source) and params == ImportedModelParams():
        for name in (TOKENIZER_FILE, ENCODER_FILE, CONFIG_FILE, TEMPLATE_FILE):
            if name in paths:
                shutil.copyfile(paths[name], target / name)
        size = Encoder.load(target).vocab_size
        _check_rows(source, size, size, rows, [])
        return "ChatML" if TEMPLATE_FILE in paths else "none"
    content = paths[TOKENIZER_FILE].read_bytes()
    tokenizer, names = import_tokenizer(content, str(paths[TOKENIZER_FILE]), params.end_of_text, params.pad)
    theirs = Tokenizer.from_buffer(content).get_vocab(with_added_tokens=True)
    added = [name for name in names if name not in theirs]
    _check_rows(source, max(theirs.values()) + 1, max(tokenizer.get_vocab().values()) + 1, rows, added)
    if added:
        out.log.info("its tokenizer lacks %s: added, with rows of the embedding that are not trained", ", ".join(added))
    template = chat_template(paths)
    chat = template is not None and not {IM_START, IM_END} & set(added) and is_chatml(template)
    ours = out.scratch / "tokenizer"
    write_hf_files(tokenizer, ours, names)
    write_hf_tokenizer(ours, target, chat=chat)
    if template is None:
        return "none"
    if not chat:
        out.log.warning("its chat template is not ChatML and is left out: it is asked as a base model until `sft`")
        return "left out: not ChatML"
    write_text(target / TEMPLATE_FILE, template)
    return "ChatML"


def _check_rows(folder: Path, theirs: int, needed: int, rows: int, added: list[str]) -> None:
    """Refuse a tokenizer of `theirs` ids, or of `needed` with what is `added`, that the embedding has no rows for."""
    if theirs > rows:
        raise BadInput(
            f"{folder}: {TOKENIZER_FILE} has ids up to {theirs - 1:,}, but the embedding has {rows:,} rows: they do not"
            " belong together"
        )
    if needed > rows:
        pad = f", or name a token that it has with pad=… in the place of {PAD}" if PAD in added else ""
        raise BadInput(
            f"{folder}: no room for {', '.join(added)}: the embedding has {rows:,} rows, {theirs:,} of them in use."
            f" Make some in transformers with model.resize_token_embeddings({needed}){pad}"
        )


def chat_template(paths: dict[str, Path]) -> str | None:
    """The folder's chat template: a file of its own, or in tokenizer_config.json (there it may be one of several)."""
    if TEMPLATE_FILE in paths:
        return paths[TEMPLATE_FILE].read_text(encoding="utf-8")
    if CONFIG_FILE not in paths:
        return None
    found = read_object(paths[CONFIG_FILE]).get("chat_template")
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}.get("default")
    return found if isinstance(found, str) else None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadInput: the file holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not a JSON object")
    return found


def is_chatml(template: str) -> bool:
    """Whether a template writes conversations with a system turn as ours does. transformers runs it in a sandbox."""
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    # With a begin of texts, so that a template that writes one is told apart: we write none.
    blank = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>")

    def written(by: str, turns: Sequence[Message], prompt: bool) -> str:
        messages = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
        text = blank.apply_chat_template(messages, chat_template=by, tokenize=False, add_generation_prompt=prompt)
        return str(text)

    trials = [(TRIAL, True), (TRIAL[:3], False)]
    try:
        return all(written(template, *trial) == written(CHAT_TEMPLATE, *trial) for trial in trials)
    except Exception:  # noqa: BLE001  whatever a stranger's template raises, it does not write ChatML
        return False
