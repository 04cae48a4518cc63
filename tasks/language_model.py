"""`language-model`: a fastText language classifier of the user's, taken into the store for `measure`.

The file is copied (or linked) and checked, so that what was measured with it names it by its digest and every worker
finds it. fastText's own format holds no code: nothing is unpickled.
"""

import shutil
from pathlib import Path

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Source, stage
from infra.store import Artifact
from tasks.filters.language import LABEL_PREFIX

FILE = "model.bin"
MAGIC = (793712314).to_bytes(4, "little")  # FASTTEXT_FILEFORMAT_MAGIC_INT32 of fastText's fasttext.cc


class LanguageModelParams(Params):
    """Nothing to choose: the file is the model."""


class LanguageModel(Artifact):
    """Role: a fastText model whose labels are languages."""

    accepts = ("language-model",)


@stage("language-model", version=1, libraries=("fasttext",))
def language_model(model: Source, params: LanguageModelParams, out: Draft) -> None:  # noqa: ARG001  nothing to choose
    """Take one fastText model (.bin or .ftz) with labels such as `__label__en` or `__label__eng_Latn`."""
    if len(model.files) != 1:
        raise BadInput(f"a language model is one fastText file, not {len(model.files)} files")
    source = Path(model.files[0].path)
    labels = language_labels(source)
    shutil.copyfile(source, out.path(FILE))
    out.metrics["labels"] = labels
    out.count("labels", len(labels), out=len(labels))


def language_labels(path: Path) -> list[str]:
    """The languages that a model tells apart, sorted, without fastText's prefix.

    Raises:
        BadInput: the file is no fastText classifier.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BadInput(f"{path} is no fastText model (.bin or .ftz): its first bytes are not fastText's")
    import fasttext

    try:
        labels = fasttext.load_model(str(path)).labels
    except (ValueError, MemoryError, RuntimeError) as error:
        raise BadInput(f"{path} cannot be read as a fastText model: {error}") from error
    if not labels or not all(label.startswith(LABEL_PREFIX) for label in labels):
        raise BadInput(f"{path} is no classifier: its labels are not of the form {LABEL_PREFIX}en")
    return sorted(label.removeprefix(LABEL_PREFIX) for label in labels)


def model_file(artifact: Artifact) -> Path:
    """Where the model of a `language-model` artifact lies."""
    return artifact.file(FILE)
