"""Python source to documented objects, read with `ast`: nothing of what is documented is ever imported or run."""

from __future__ import annotations

import ast
import gc
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import cleandoc
from typing import Literal

Kind = Literal["module", "class", "function", "method"]

# Longer signatures are cut: what follows tells a reader nothing more about the object.
MAX_SIGNATURE_CHARS = 400

_STRING_OR_COMMENT = re.compile(r"""("[^"\n]*"|'[^'\n]*')|\s*#[^\n]*""")
_RECEIVER = re.compile(r"\((?:self|cls)\s*(?:,\s*|(?=\)))")


@dataclass(frozen=True, slots=True)
class DocObject:
    """A module, class or function with its docstring; `members` in source order, documented or with documented ones."""

    kind: Kind
    name: str
    path: str  # dotted, "json.decoder.JSONDecoder.decode"
    signature: str
    doc: str
    members: tuple[DocObject, ...] = ()


def read_module(source: bytes, path: str) -> DocObject | None:
    """The documented objects of one source file, or None when it has no docstring (or cannot be parsed).

    `path` is the dotted name of the module. Private members are left out, as documentation sites do; documented
    constructors and `__call__` stay.
    """
    if b'"""' not in source and b"'''" not in source:
        return None
    with _no_collection(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's docstrings
        try:
            return _module(source, path)  # the tree is freed in there, before collection goes on
        except (SyntaxError, ValueError):
            return None


def _module(source: bytes, path: str) -> DocObject | None:
    tree = ast.parse(source)
    lines = source.decode("utf-8", "replace").split("\n")
    members = tuple(_members(tree.body, path, lines, in_class=False))
    doc = _docstring(tree)
    return DocObject("module", path.rpartition(".")[2], path, "", doc, members) if doc or members else None


@contextmanager
def _no_collection() -> Iterator[None]:
    """A syntax tree has no cycles, and collecting while one is built costs a third of the parse."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        # A lone surrogate (an escape in somebody's docstring) has no UTF-8 form.
        return cleandoc(first.value.value).encode("utf-8", "replace").decode("utf-8")
    return ""


def _members(body: list[ast.stmt], prefix: str, lines: list[str], in_class: bool) -> Iterator[DocObject]:
    seen: set[str] = set()
    for node in _definitions(body):
        if node.name in seen or (node.name.startswith("_") and node.name not in ("__init__", "__call__")):
            continue
        doc, path = _docstring(node), f"{prefix}.{node.name}"
        if isinstance(node, ast.ClassDef):
            members = tuple(_members(node.body, path, lines, in_class=True))
            if doc or members:
                seen.add(node.name)
                yield DocObject("class", node.name, path, _signature(node, lines), doc, members)
        elif doc:
            seen.add(node.name)
            yield DocObject("method" if in_class else "function", node.name, path, _signature(node, lines), doc)


def _definitions(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.If):
            yield from _definitions(node.body)
            yield from _definitions(node.orelse)
        elif isinstance(node, ast.Try):
            yield from _definitions(node.body)
            for handler in node.handlers:
                yield from _definitions(handler.body)


def _signature(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """The header of a definition as its author wrote it, on one line and without the receiver."""
    first = node.body[0]
    end = max(node.lineno, first.lineno - (first.lineno != node.lineno))
    text = "\n".join(lines[node.lineno - 1 : end])
    if first.lineno == node.lineno:  # the body stands on the line of the header
        text = text.encode("utf-8")[: first.col_offset].decode("utf-8", "ignore")
    text = " ".join(_STRING_OR_COMMENT.sub(lambda match: match[1] or "", text).split())
    text = text.removeprefix("async ").removeprefix("def ").rstrip().rstrip(":").rstrip()
    text = text.replace("( ", "(").replace(" )", ")").replace(",)", ")")
    if not isinstance(node, ast.ClassDef):
        text = _RECEIVER.sub("(", text, count=1)
    return text if len(text) <= MAX_SIGNATURE_CHARS else text[:MAX_SIGNATURE_CHARS].rpartition(",")[0] + ", ...)"
