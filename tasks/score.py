"""`score`: what classifiers say of each document. Probabilities only; the cut is `select`'s.

    quality        probability that the quality model calls the text a good one
    domain         the domain model's choice; `general` when it is unsure; `multilingual` for another language
    domain_score   probability of that choice (of `multilingual`: the language's)
    NAME           probability of the positive class of any other classifier, by its name

Probabilities are rounded to four decimals, as those of languages are.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Part, stage
from tasks.classifier.prediction import Classifier, probabilities
from tasks.classifier.seeds import GENERAL, MULTILINGUAL
from tasks.documents import SCORES, Documents, columns_of, open_part

SCORES_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("quality", pa.float32()),  # null without a quality model, or for a text without words; so are the others
        ("domain", pa.string()),
        ("domain_score", pa.float32()),
        ("named", pa.map_(pa.string(), pa.float32())),  # name of a further classifier -> probability
    ]
)
QUALITY, DOMAIN, DOMAIN_SCORE = "quality", "domain", "domain_score"
TEXTS_AT_ONCE = 256


class ScoreParams(Params):
    """How probabilities become a domain."""

    min_domain_probability: float = Field(
        0.5, ge=0, le=1, description="A domain less probable than this is not believed: the document is `general`."
    )
    min_language_score: float = Field(
        0.65,
        ge=0,
        le=1,
        description="A document is `multilingual` when its language is another than the domain model's and is surer"
        " than this (FineWeb's threshold for English: 0.65).",
    )


@stage("score", version=1, libraries=("fasttext",), tables={SCORES: SCORES_SCHEMA}, one_to_one=True)
def score(documents: Documents, models: list[Classifier], params: ScoreParams, out: Draft) -> None:  # noqa: ARG001
    """Write each classifier's probabilities of each document.

    Raises:
        BadInput: two models have one name, or a name is that of a column which the documents already have.
    """
    names = score_names(models)
    taken = sorted(set(names) & set(columns_of(documents)))
    if taken:
        raise BadInput(f"score: {documents.ref} already holds a column {taken[0]!r}; name the classifier differently")
    out.metrics["scores"] = names
    if DOMAIN in names and "language" not in columns_of(documents):
        out.log.warning("%s holds no column language: no document is called multilingual", documents.ref)
    out.map_parts(score_part, along=documents)


def score_names(models: Sequence[Classifier]) -> list[str]:
    """The columns that models fill.

    Raises:
        BadInput: two of them would fill one.
    """
    names: list[str] = []
    for model in models:
        names.extend([DOMAIN, DOMAIN_SCORE] if model.name == DOMAIN else [model.name])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"score: two models are called {twice[0]!r}; give one of them")
    return sorted(names)


def score_part(part: Part) -> None:
    """Score one part."""
    documents = part.parent("documents")
    models = [Classifier(model.store, model.manifest) for model in part.parents("models")]
    known = "language" in columns_of(documents)
    table = open_part(documents, part.index, ["text", *(["language", "language_score"] if known else [])])
    scored = score_documents(table, models, part.params)
    part.write(SCORES, scored)
    part.count("documents", table.num_rows, out=scored.num_rows)
    for domain, n in _counted(scored.column(DOMAIN)).items():
        part.metric(f"domain_{domain}", n)


def score_documents(table: pa.Table, models: Sequence[Classifier], params: ScoreParams) -> pa.Table:
    """The rows of `SCORES_SCHEMA` for a table with doc_id, row, text and, if known, language and language_score."""
    n = table.num_rows
    columns: dict[str, pa.Array] = {
        QUALITY: pa.nulls(n, pa.float32()),
        DOMAIN: pa.nulls(n, pa.string()),
        DOMAIN_SCORE: pa.nulls(n, pa.float32()),
    }
    named: list[list[tuple[str, float]]] = [[] for _ in range(n)]
    for model in models:
        found = _probabilities(model, table.column("text"))
        if model.name == DOMAIN:
            columns[DOMAIN], columns[DOMAIN_SCORE] = _domains(found, model, table, params)
        elif model.name == QUALITY:
            columns[QUALITY] = _nullable(found[:, 0])
        else:
            for row, probability in enumerate(found[:, 0].tolist()):
                if probability == probability:  # not NaN: a text without words has no score
                    named[row].append((model.name, probability))
    return pa.table(
        {
            "doc_id": table.column("doc_id"),
            "row": table.column("row"),
            **columns,
            "named": pa.array([sorted(pairs) for pairs in named], SCORES_SCHEMA.field("named").type),
        }
    ).cast(SCORES_SCHEMA)


def _probabilities(model: Classifier, texts: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    found = [np.empty((0, len(model.labels)))]
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        batch = texts.slice(start, TEXTS_AT_ONCE).to_pylist()
        found.append(probabilities(model.model_path, model.labels, batch))
    return np.concatenate(found)


def _domains(
    found: npt.NDArray[np.float64], model: Classifier, table: pa.Table, params: ScoreParams
) -> tuple[pa.Array, pa.Array]:
    own = model.manifest.metrics["language"]
    unknown = [None] * table.num_rows
    languages = table.column("language").to_pylist() if "language" in table.column_names else unknown
    sure = table.column("language_score").to_pylist() if "language_score" in table.column_names else unknown
    domains: list[str | None] = []
    scores: list[float | None] = []
    for row, language, language_score in zip(found, languages, sure, strict=True):
        best = int(np.argmax(row))
        if np.isnan(row[best]):
            domain, value = None, None
        elif language not in (None, own) and (language_score or 0.0) > params.min_language_score:
            domain, value = MULTILINGUAL, language_score
        elif row[best] < params.min_domain_probability:
            domain, value = GENERAL, float(row[model.labels.index(GENERAL)]) if GENERAL in model.labels else None
        else:
            domain, value = model.labels[best], float(row[best])
        domains.append(domain)
        scores.append(value)
    return pa.array(domains, pa.string()), pa.array(scores, pa.float32())


def _nullable(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _counted(domains: pa.ChunkedArray) -> dict[str, int]:
    return {pair["values"]: pair["counts"] for pair in domains.drop_null().value_counts().to_pylist()}
