"""`language-model`: a fastText language classifier of the user's, taken into the store for `measure`.

The file is checked and copied, so that what was measured with it names it by its digest and every worker finds it.
fastText's own format holds no code: nothing is unpickled. But its reader does not notice the end of a file: a download
cut short makes it run for ever, or answer at random. So the file's structure is walked here first.
"""

import mmap
import shutil
import struct
from pathlib import Path

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Source, stage
from infra.store import Artifact
from tasks.filters.language import LABEL_PREFIX

FILE = "model.bin"

# The format, version 12 (fastText 0.9, fasttext.cc, dictionary.cc, quantmatrix.cc), little-endian.
MAGIC = 793712314  # FASTTEXT_FILEFORMAT_MAGIC_INT32
VERSIONS = (11, 12)
_HEADER = struct.Struct("<ii")
_ARGUMENTS = struct.Struct("<12id")
_DICTIONARY = struct.Struct("<iiiqq")  # entries, words, labels, tokens, pruned (-1: none)
_ENTRY = struct.Struct("<qb")  # occurrences, type; behind a zero-terminated text
_LABEL = 1
_SUPERVISED = 3  # model_name::sup
_MODEL_ARGUMENT = 7  # place of the model's kind among the arguments
_DENSE = struct.Struct("<qq")
_QUANTISED = struct.Struct("<?qqi")
_QUANTISER = struct.Struct("<4i")
_CENTROIDS = 256 * 4  # bytes a dimension


class LanguageModelParams(Params):
    """Nothing to choose: the file is the model."""


class LanguageModel(Artifact):
    """Role: a fastText model whose labels are languages."""

    accepts = ("language-model",)


@stage("language-model", version=1)
def language_model(model: Source, params: LanguageModelParams, out: Draft) -> None:  # noqa: ARG001  nothing to choose
    """Take one fastText model (.bin or .ftz) with labels such as `__label__en` or `__label__eng_Latn`."""
    if len(model.files) != 1:
        raise BadInput(f"a language model is one fastText file, not {len(model.files)} files")
    source = Path(model.files[0].path)
    labels = language_labels(source)
    shutil.copyfile(source, out.path(FILE))
    out.metrics["labels"] = labels
    out.count("labels", len(labels), out=len(labels))


def model_file(artifact: Artifact) -> Path:
    """Where the model of a `language-model` artifact lies."""
    return artifact.file(FILE)


def language_labels(path: Path) -> list[str]:
    """The languages that a model tells apart, sorted, without fastText's prefix.

    Raises:
        BadInput: the file is no fastText classifier, or not a whole one.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BadInput(f"{path} is empty, and no fastText model (.bin or .ftz)")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                labels, end = _walk(data)
            except struct.error as error:
                raise BadInput(f"{path} ends inside its header: it is no fastText model, or cut short") from error
            except ValueError as error:
                raise BadInput(f"{path} is no fastText classifier (.bin or .ftz): {error}") from error
            if end != len(data):
                raise BadInput(f"{path} has {len(data):,} bytes where its header asks for {end:,}: it is not whole")
    if not labels or not all(label.startswith(LABEL_PREFIX) for label in labels):
        raise BadInput(f"{path} is no classifier: its labels are not of the form {LABEL_PREFIX}en")
    return sorted(label.removeprefix(LABEL_PREFIX) for label in labels)


def _walk(data: mmap.mmap) -> tuple[list[str], int]:
    """The labels of a model and the bytes that it says it has."""
    magic, version = _HEADER.unpack_from(data, 0)
    if magic != MAGIC or version not in VERSIONS:
        raise ValueError("its first bytes are not fastText's")
    at = _HEADER.size
    if _ARGUMENTS.unpack_from(data, at)[_MODEL_ARGUMENT] != _SUPERVISED:
        raise ValueError("it holds word vectors, not a classifier")
    at += _ARGUMENTS.size
    entries, _, _, _, pruned = _DICTIONARY.unpack_from(data, at)
    at += _DICTIONARY.size
    labels = []
    for _ in range(entries):
        zero = data.find(b"\0", at)
        if zero < 0:
            raise ValueError("its dictionary has no end")
        _, kind = _ENTRY.unpack_from(data, zero + 1)
        if kind == _LABEL:
            labels.append(data[at:zero].decode("utf-8"))
        at = zero + 1 + _ENTRY.size
    at += 8 * max(pruned, 0)
    quantised = data[at : at + 1] == b"\1"
    at = _matrix_end(data, at + 1, quantised)
    quantised = quantised and data[at : at + 1] == b"\1"  # fasttext.cc: the output is quantised only if the input is
    return labels, _matrix_end(data, at + 1, quantised)


def _matrix_end(data: mmap.mmap, at: int, quantised: bool) -> int:
    if not quantised:
        rows, columns = _DENSE.unpack_from(data, at)
        return at + _DENSE.size + 4 * int(rows) * int(columns)
    with_norms, rows, _, codes = _QUANTISED.unpack_from(data, at)
    at = _quantiser_end(data, at + _QUANTISED.size + int(codes))
    return _quantiser_end(data, at + int(rows)) if with_norms else at


def _quantiser_end(data: mmap.mmap, at: int) -> int:
    dimensions, *_ = _QUANTISER.unpack_from(data, at)
    return at + _QUANTISER.size + _CENTROIDS * int(dimensions)
