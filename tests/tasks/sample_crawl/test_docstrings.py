"""Source code is read, never run."""

from tasks.sample_crawl.docstrings import MAX_SIGNATURE_CHARS, read_module

SOURCE = b'''"""The module."""
raise SystemExit("this file must not be run")

class Reader(Base):  # a comment
    """Reads."""

    def __init__(self, path, *, mark: str = "#") -> None:
        """Open it."""

    def _private(self):
        """Nobody sees this."""

    async def read(self): "One line."

if True:
    def load(
        a,  # first
        b=(1, 2),
    ):
        """Load."""

def silent():
    pass
'''


def test_documented_public_objects_are_found_with_their_signatures() -> None:
    module = read_module(SOURCE, "pack.mod")
    assert module is not None
    assert (module.kind, module.doc) == ("module", "The module.")
    reader, load = module.members
    assert (reader.kind, reader.path, reader.signature) == ("class", "pack.mod.Reader", "class Reader(Base)")
    assert [(m.kind, m.name, m.signature, m.doc) for m in reader.members] == [
        ("method", "__init__", '__init__(path, *, mark: str = "#") -> None', "Open it."),
        ("method", "read", "read()", "One line."),
    ]
    assert (load.kind, load.signature) == ("function", "load(a, b=(1, 2))")


def test_files_without_docstrings_or_with_broken_syntax_give_nothing() -> None:
    assert read_module(b"x = 1\n", "a") is None
    assert read_module(b'def f(:\n  """Doc."""\n', "a") is None
    assert read_module(b'"""Doc."""\0', "a") is None


def test_long_signatures_are_cut_and_surrogates_replaced() -> None:
    arguments = ", ".join(f"argument_{n}=None" for n in range(60))
    module = read_module(f'def f({arguments}):\n    """Bad \\ud800 escape."""\n'.encode(), "a")
    assert module is not None
    (function,) = module.members
    assert len(function.signature) <= MAX_SIGNATURE_CHARS + 6
    assert function.signature.endswith(", ...)")
    assert function.doc == "Bad ? escape."
