"""Somebody else's tokenizer, from any `tokenizer.json` that `tokenizers` reads: BPE, Unigram or WordPiece.

Its normaliser, pre-tokenizer, model and ids stay as they are. Three things are ours:

- The end of a text has the name that the tokenizer has for it; the markers of chats, and padding, are added at the end
  of its vocabulary where it lacks them.
- Special tokens never come out of text, neither ours nor those that the tokenizer brings. Unigram vocabularies hold
  `</s>` as a piece like others; text that looks like it is cut after its first character. (What a vocabulary has for
  characters that it does not know, as `[UNK]`, still comes out of those, and so does a token of one character.)
- What it would put around each text (`[CLS]`, `<s>`) is taken off: documents are put together by us.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer

from infra.errors import BadInput
from tasks.encoding import END_OF_TEXT, Specials

# GPT-2, Qwen, OLMo …; Llama 3; Llama 2, Mistral, T5; Gemma; DeepSeek
KNOWN_ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>")
SHOWN = 8  # special tokens named in an error


def import_tokenizer(
    content: bytes, name: str, end_of_text: str | None = None, pad: str | None = None
) -> tuple[Tokenizer, Specials]:
    """A tokenizer as ours.

    Args:
        content: of a `tokenizer.json`.
        name: of the file, for errors.
        end_of_text: its token after a text; None: the first of `KNOWN_ENDS` that is one of its special tokens.
        pad: its token for padding; None: `<|pad|>`, added where it lacks it. Neither may be the other, or a model would
            never learn to end, nor one of the two that mark turns of a chat.

    Raises:
        BadInput: no readable tokenizer, no end of text, no such token, one token for two things, or a special token
            that text can become.
    """
    try:
        spec = json.loads(content)
        Tokenizer.from_buffer(content)
    except Exception as error:
        raise BadInput(f"{name} is not a tokenizer.json that this version reads: {error}") from error
    names = Specials()._replace(end_of_text=_end_of_text(spec, name, end_of_text))
    if pad is not None:
        names = names._replace(pad=pad)
    if pad is not None and Tokenizer.from_str(json.dumps(spec)).token_to_id(pad) is None:
        raise BadInput(f"{name} has no token {pad!r} to pad with (leave `pad` empty, and one is added)")
    if len({*names}) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        told = ", ".join(f"{one} {field.replace('_', ' ')}" for field, one in names._asdict().items())
        raise BadInput(f"{name}: {twice!r} cannot mark two things ({told}): give end_of_text or pad another token")
    spec |= {"post_processor": None, "truncation": None, "padding": None}
    tokenizer = _with_specials(spec, names)
    theirs = [token for token in _specials(spec) if token not in names and token != _unknown(spec) and len(token) > 1]
    if taken := _from_text(tokenizer, [*names, *theirs]):
        spec["pre_tokenizer"] = _cutting(spec["pre_tokenizer"], taken)
        tokenizer = _with_specials(spec, names)
    if taken := _from_text(tokenizer, names):
        raise BadInput(f"{name}: {taken[0]!r} written in a text becomes its special token, so it cannot mark anything")
    return tokenizer, names


def _end_of_text(spec: dict[str, Any], name: str, wanted: str | None) -> str:
    special = _specials(spec)
    if wanted is None:
        known = [token for token in KNOWN_ENDS if token in special]
        if not known:
            raise BadInput(
                f"{name} has no token that is known to end a text; name one with `end_of_text`"
                f" (its special tokens: {_listed(special)})"
            )
        return known[0]
    if Tokenizer.from_str(json.dumps(spec)).token_to_id(wanted) is None:
        raise BadInput(f"{name} has no token {wanted!r} to end texts (its special tokens: {_listed(special)})")
    return wanted


def _specials(spec: dict[str, Any]) -> list[str]:
    """The special tokens that a tokenizer brings."""
    return [token["content"] for token in spec.get("added_tokens", []) if token.get("special")]


def _unknown(spec: dict[str, Any]) -> str | None:
    """What it has for text that it does not know."""
    model = spec["model"]
    if (place := model.get("unk_id")) is not None:
        return str(model["vocab"][place][0])
    return model.get("unk_token")


def _listed(names: list[str]) -> str:
    return (", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")) or "none"


def _with_specials(spec: dict[str, Any], names: Specials) -> Tokenizer:
    """The tokenizer with our four special tokens, those that it has by their own ids."""
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    tokenizer.encode_special_tokens = True
    return tokenizer


def _from_text(tokenizer: Tokenizer, names: Sequence[str]) -> list[str]:
    """The special tokens that their own names, written in a text, become."""
    ids = {tokenizer.token_to_id(name) for name in names}
    return [
        name
        for name in names
        if any(ids & set(tokenizer.encode(text, add_special_tokens=False).ids) for text in (name, f"a{name} {name}b"))
    ]


def _cutting(pre_tokenizer: dict[str, Any] | None, names: list[str]) -> dict[str, Any]:
    """A pre-tokenizer that makes the first character of each name a piece of its own, before what there is."""
    regex = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in names)
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, *([pre_tokenizer] if pre_tokenizer else [])]}
