"""Text to token ids and back, the same everywhere: tokenization, training, evaluation, chat.

The special tokens exist as ids only; in our own vocabularies they are the last ones. `Encoder` never produces one from
text: a page about tokenizers that shows `<|endoftext|>` is encoded like any other page.

Two programs encode: `tokenizers`, which reads every tokenizer.json, and `tiktoken`, about five times faster, where its
ids are proven to be the same (`tasks/byte_pairs.py`). A tokenizer's folder says in `encoder.json` which one it is.

`transformers` cannot tell a marker that a chat template wrote from the same characters in a user's text, since both
reach it as one string; a folder therefore states which of the two it serves (`write_hf_tokenizer`). For a base model
(`split_special_tokens: true`) `AutoTokenizer` gives the ids of `Encoder.encode` for every text. For a chat model
`apply_chat_template` gives the ids of `Encoder.render_chat`; content that may hold markers is passed with its
`sanitize_control_tokens=True`.
"""

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from infra.canonical import file_sha256
from infra.errors import BadInput
from infra.files import write_text
from tasks.byte_pairs import BytePairs, NotBytePairs, cuts_alike, read_byte_pairs
from tasks.chat import CHAT_TEMPLATE, IM_END, IM_START, Message, render
from tasks.split_patterns import is_named

if TYPE_CHECKING:
    import tiktoken

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
SPECIALS = (END_OF_TEXT, IM_START, IM_END, PAD)  # in the order of their ids, at the end of our own vocabularies


class Specials(NamedTuple):
    """What the special tokens are called. Those of chats have their names in the template; the others may differ."""

    end_of_text: str = END_OF_TEXT
    im_start: str = IM_START
    im_end: str = IM_END
    pad: str = PAD


TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
SPECIALS_FILE = "special_tokens.json"
ENCODER_FILE = "encoder.json"

OTHER_NAMES = "sluice_special_tokens"  # in tokenizer_config.json, where the names are not ours
CHARACTERS_TRIED = 16  # every 16th, to see whether both programs cut by an unknown pattern alike (5 s)
PROVEN = "ids by ranks are proven to be those of the merges"
CUTS_TRIED = f"{PROVEN}; that its pattern cuts alike was tried on a sample of characters"
GAVE_UP = "Regex error while tokenizing"  # how tiktoken's message begins
BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # how SentencePiece spells a byte


class Encoder:
    """A tokenizer. Ids are plain ints below `vocab_size`; the four specials are attributes."""

    def __init__(
        self, tokenizer: Tokenizer, names: Specials | None = None, byte_pairs: BytePairs | None = None
    ) -> None:
        """Wrap a tokenizer.

        Args:
            names: of its special tokens, if they are not ours.
            byte_pairs: the same tokenizer as ranks, if they are proven to give the same ids.

        Raises:
            BadInput: it lacks a special token.
        """
        self.names = names or Specials()
        found = {name: tokenizer.token_to_id(name) for name in self.names}
        ids = [token for token in found.values() if token is not None]
        if len(ids) < len(found):
            missing = [name for name, token in found.items() if token is None]
            raise BadInput(f"the tokenizer lacks the special tokens {', '.join(missing)}; was it made by Sluice?")
        # The backend matches added tokens in text unless told to split them; the flag is not part of tokenizer.json.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.end_of_text, self.im_start, self.im_end, self.pad = ids
        self.fast: tiktoken.Encoding | None = byte_pairs.encoding() if byte_pairs else None

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The tokenizer of a tokenizer artifact's data folder or of a model's folder.

        Raises:
            BadInput: no readable tokenizer.json there, or one without our special tokens.
        """
        path = Path(folder) / TOKENIZER_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror}; a tokenizer folder holds a {TOKENIZER_FILE}") from error
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:
            raise BadInput(f"{path} is not a tokenizer.json that this version reads: {error}") from error
        proven = is_written_by_us(path.parent) and _read_json(path.with_name(ENCODER_FILE))["encoder"] == "tiktoken"
        return cls(
            tokenizer, read_names(path.parent), read_byte_pairs(json.loads(text), proven=True) if proven else None
        )

    @cached_property
    def vocab_size(self) -> int:
        """Number of ids, specials and holes included: the rows of a model's embedding."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def special_ids(self) -> dict[str, int]:
        """Special token -> id."""
        return dict(zip(self.names, (self.end_of_text, self.im_start, self.im_end, self.pad), strict=True))

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """UTF-8 bytes of each id, int32[vocab_size]; 0 for special tokens.

        Of a byte-level tokenizer they sum to the bytes of the text encoded. Of another one they are the bytes that the
        token stands for after another token (the space before a word is the word's), so a sum is a space more than a
        text that begins with a word, and what the tokenizer normalises or does not know is counted as it comes back.
        """
        spec = json.loads(self.tokenizer.to_str())
        decoders = (spec["decoder"] or {}).get("decoders", [spec["decoder"] or {}])
        byte_level = any(decoder.get("type") == "ByteLevel" for decoder in decoders)
        special = {token["id"] for token in spec["added_tokens"] if token["special"]} | set(self.special_ids.values())
        before = self.encode("a")
        n_before = len(self.decode(before).encode())
        sizes = np.zeros(self.vocab_size, dtype=np.int32)
        for name, token in self.tokenizer.get_vocab(with_added_tokens=True).items():
            if token in special:
                continue
            if byte_level:
                sizes[token] = len(name)  # spelt with one character a byte (GPT-2's alphabet)
            elif BYTE_TOKEN.fullmatch(name):
                sizes[token] = 1
            else:
                sizes[token] = len(self.decode([*before, token]).encode()) - n_before
        return sizes

    def encode(self, text: str) -> list[int]:
        """Ids of a text: ordinary tokens only, nothing added."""
        if self.fast is not None:
            try:
                return self.fast.encode(text, disallowed_special=())  # `encode_ordinary` panics where this raises
            except ValueError as error:
                _check_gave_up(error)
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, in order. Equal to `encode` of each."""
        if self.fast is not None:
            return [self.encode(text) for text in texts]
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_documents(self, texts: Iterable[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids of each text as an array, uint32: `encode` without the way through Python's integers."""
        if self.fast is not None:
            return [self._fast_array(text, self.fast) for text in texts]
        return [np.array(ids, dtype=np.uint32) for ids in self.encode_batch(list(texts))]

    def _fast_array(self, text: str, fast: "tiktoken.Encoding") -> npt.NDArray[np.uint32]:
        try:
            return fast.encode_to_numpy(text, disallowed_special=())
        except ValueError as error:
            _check_gave_up(error)
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.uint32)

    def decode(self, ids: Sequence[int], skip_specials: bool = False) -> str:
        """The text of ids. Bytes that are no UTF-8 (an id cut out of a character) come back as U+FFFD."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_specials)

    def render_chat(
        self, messages: Sequence[Message], add_generation_prompt: bool = False
    ) -> tuple[list[int], list[int]]:
        """(ids, loss_mask) of a conversation; see `tasks.chat.render`."""
        return render(messages, self.encode, self.im_start, self.im_end, add_generation_prompt)


def _check_gave_up(error: ValueError) -> None:
    """Raise the error again unless it is that tiktoken's regex engine ran out of stack: then the other program encodes.

    Patterns that look ahead need a stack entry for each character of a run of spaces; from 1,000,000 on it gives up.
    """
    if GAVE_UP not in str(error):
        raise error


def tokenizer_config(chat: bool, names: Specials | None = None) -> dict[str, Any]:
    """What tokenizer_config.json tells `transformers`.

    Args:
        chat: for a model that answers: markers in text count, and `<|im_end|>` ends a generation. Otherwise for a base
            model: text is only text, and `<|endoftext|>` ends it.
        names: of the special tokens, if they are not ours.
    """
    names = names or Specials()
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "split_special_tokens": not chat,
        "eos_token": names.im_end if chat else names.end_of_text,
        "pad_token": names.pad,
        "additional_special_tokens": ([names.end_of_text, names.im_start] if chat else [names.im_start, names.im_end]),
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "add_eos_token": False,
    }
    return config if names == Specials() else {**config, OTHER_NAMES: names._asdict()}


def is_written_by_us(folder: Path) -> bool:
    """Whether a folder's tokenizer.json is the one that its encoder.json speaks of."""
    path = folder / TOKENIZER_FILE
    return path.is_file() and _read_json(folder / ENCODER_FILE).get("sha256") == file_sha256(path)


def read_names(folder: Path) -> Specials:
    """What the special tokens of a folder's tokenizer are called."""
    return Specials(**_read_json(folder / CONFIG_FILE).get(OTHER_NAMES, {}))


def write_hf_files(tokenizer: Tokenizer, folder: Path, names: Specials | None = None) -> None:
    """Write a tokenizer with its template and specials as the data folder of a tokenizer artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or Specials()
    write_text(folder / TOKENIZER_FILE, tokenizer.to_str(pretty=True))
    write_text(folder / CONFIG_FILE, _json(tokenizer_config(chat=False, names=names)))
    write_text(folder / TEMPLATE_FILE, CHAT_TEMPLATE)
    write_text(folder / SPECIALS_FILE, _json({name: tokenizer.token_to_id(name) for name in names}))
    spec = json.loads(tokenizer.to_str())
    why_not = why_not_ranks(spec)
    write_encoder_choice(folder, why_not, sampled=not why_not and not is_named(read_byte_pairs(spec).pattern))


def write_encoder_choice(folder: Path, why_not: str | None, sampled: bool = False) -> None:
    """Say which program encodes: tiktoken, unless there is a reason why not.

    Args:
        sampled: the pattern is none of ours, so that where it cuts was tried on a sample of characters and not proven.
    """
    choice = {
        "encoder": "tokenizers" if why_not else "tiktoken",
        "reason": why_not or (CUTS_TRIED if sampled else PROVEN),
        "sha256": file_sha256(folder / TOKENIZER_FILE),  # of what this was found out about
    }
    write_text(folder / ENCODER_FILE, _json(choice))


def why_not_ranks(spec: dict[str, Any]) -> str | None:
    """Why tiktoken cannot stand in for a tokenizer.json; None: it can."""
    try:
        byte_pairs = read_byte_pairs(spec)
    except NotBytePairs as error:
        return str(error)
    if is_named(byte_pairs.pattern):
        return None
    try:
        place = cuts_alike(spec, byte_pairs.pattern, every=CHARACTERS_TRIED)
    except ValueError as error:  # tiktoken's engine does not know the pattern's syntax
        return f"its pattern is not understood: {error}"
    return f"its pattern cuts differently at {place}" if place else None


def write_hf_tokenizer(source: Path, target: Path, chat: bool) -> None:
    """Put a tokenizer into a model's folder, so that `AutoTokenizer.from_pretrained(target)` gives our ids.

    Args:
        source: data folder of a tokenizer artifact, or a model's folder.
        chat: whether the model answers (sft, dpo) or continues text (pretrain). A base model gets no chat template:
            `apply_chat_template` then says so, where it would otherwise render markers as text.

    Raises:
        BadInput: `source` holds no tokenizer of ours.
    """
    names = Encoder.load(source).names
    target.mkdir(parents=True, exist_ok=True)
    for name in (TOKENIZER_FILE, ENCODER_FILE):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    write_text(target / CONFIG_FILE, _json(tokenizer_config(chat, names)))
    (target / TEMPLATE_FILE).unlink(missing_ok=True)
    if chat:
        write_text(target / TEMPLATE_FILE, CHAT_TEMPLATE)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
