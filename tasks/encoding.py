"""Text to token ids and back, the same everywhere: tokenization, training, evaluation, chat.

The special tokens are the last ids of the vocabulary and exist as ids only. `Encoder` never produces one from text:
a page about tokenizers that shows `<|endoftext|>` is encoded like any other page.

`transformers` cannot tell a marker that a chat template wrote from the same characters in a user's text, since both
reach it as one string; a folder therefore states which of the two it serves (`write_hf_tokenizer`). For a base model
(`split_special_tokens: true`) `AutoTokenizer` gives the ids of `Encoder.encode` for every text. For a chat model
`apply_chat_template` gives the ids of `Encoder.render_chat`; content that may hold markers is passed with its
`sanitize_control_tokens=True`.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from infra.errors import BadInput
from infra.files import write_text
from tasks.chat import CHAT_TEMPLATE, IM_END, IM_START, Message, render

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
SPECIALS = (END_OF_TEXT, IM_START, IM_END, PAD)  # in the order of their ids, at the end of the vocabulary

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
SPECIALS_FILE = "special_tokens.json"


class Encoder:
    """A trained tokenizer. Ids are plain ints below `vocab_size`; the four specials are attributes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        found = {name: tokenizer.token_to_id(name) for name in SPECIALS}
        ids = [token for token in found.values() if token is not None]
        if len(ids) < len(SPECIALS):
            missing = [name for name, token in found.items() if token is None]
            raise BadInput(f"the tokenizer lacks the special tokens {', '.join(missing)}; was it made by Sluice?")
        # The backend matches added tokens in text unless told to split them; the flag is not part of tokenizer.json.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.end_of_text, self.im_start, self.im_end, self.pad = ids

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
        return cls(tokenizer)

    @property
    def vocab_size(self) -> int:
        """Number of ids, specials included: the rows of a model's embedding."""
        return self.tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def special_ids(self) -> dict[str, int]:
        """Special token -> id."""
        return dict(zip(SPECIALS, (self.end_of_text, self.im_start, self.im_end, self.pad), strict=True))

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """UTF-8 bytes of each id, int32[vocab_size]; 0 for the specials. They sum to the bytes of the text encoded."""
        # Byte-level tokens are spelt with one character a byte (GPT-2's alphabet).
        names = (self.tokenizer.id_to_token(token) or "" for token in range(self.vocab_size))
        sizes = np.array([len(name) for name in names], dtype=np.int32)
        sizes[list(self.special_ids.values())] = 0
        return sizes

    def encode(self, text: str) -> list[int]:
        """Ids of a text: ordinary tokens only, nothing added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, in order, on all cores that the backend may use. Equal to `encode` of each."""
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int], skip_specials: bool = False) -> str:
        """The text of ids. Bytes that are no UTF-8 (an id cut out of a character) come back as U+FFFD."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_specials)

    def render_chat(
        self, messages: Sequence[Message], add_generation_prompt: bool = False
    ) -> tuple[list[int], list[int]]:
        """(ids, loss_mask) of a conversation; see `tasks.chat.render`."""
        return render(messages, self.encode, self.im_start, self.im_end, add_generation_prompt)


def tokenizer_config(chat: bool) -> dict[str, Any]:
    """What tokenizer_config.json tells `transformers`.

    Args:
        chat: for a model that answers: markers in text count, and `<|im_end|>` ends a generation. Otherwise for a base
            model: text is only text, and `<|endoftext|>` ends it.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "split_special_tokens": not chat,
        "eos_token": IM_END if chat else END_OF_TEXT,
        "pad_token": PAD,
        "additional_special_tokens": [END_OF_TEXT, IM_START] if chat else [IM_START, IM_END],
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "add_eos_token": False,
    }


def write_hf_files(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer with its template and specials as the data folder of a tokenizer artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / TOKENIZER_FILE, tokenizer.to_str(pretty=True))
    write_text(folder / CONFIG_FILE, _json(tokenizer_config(chat=False)))
    write_text(folder / TEMPLATE_FILE, CHAT_TEMPLATE)
    write_text(folder / SPECIALS_FILE, _json({name: tokenizer.token_to_id(name) for name in SPECIALS}))


def write_hf_tokenizer(source: Path, target: Path, chat: bool) -> None:
    """Put a tokenizer into a model's folder, so that `AutoTokenizer.from_pretrained(target)` gives our ids.

    Args:
        source: data folder of a tokenizer artifact, or a model's folder.
        chat: whether the model answers (sft, dpo) or continues text (pretrain). A base model gets no chat template:
            `apply_chat_template` then says so, where it would otherwise render markers as text.

    Raises:
        BadInput: `source` holds no tokenizer of ours.
    """
    Encoder.load(source)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / TOKENIZER_FILE, target / TOKENIZER_FILE)
    write_text(target / CONFIG_FILE, _json(tokenizer_config(chat)))
    (target / TEMPLATE_FILE).unlink(missing_ok=True)
    if chat:
        write_text(target / TEMPLATE_FILE, CHAT_TEMPLATE)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
