"""The stages `quality-model`, `classifier` and `domain-model`: one fastText classifier each.

`quality-model` and `classifier` tell positives from negatives, after DCLM (Li et al. 2024, arXiv:2406.11794, section
4.4 and appendix): bigrams, fastText's defaults otherwise, half of the texts good ones, half pages of the crawl.
`quality-model` names its score `quality`; `classifier` is the same for any other name (toxicity, adult, spam).
`domain-model` tells domains apart.

Artifact: `model.bin` (or `model.ftz`), and `examples`: which texts were learnt from and which were held out, by
reference, with what the model says of the held-out ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from infra.errors import BadInput
from infra.stage import Draft, Source, stage
from tasks.classifier.examples import Balance, Example, Sampler, check_sample, training_order
from tasks.classifier.metrics import measure_binary, measure_classes
from tasks.classifier.params import ClassifierParams, DomainModelParams, FastTextParams, QualityModelParams, epochs_for
from tasks.classifier.prediction import LABEL_PREFIX, NEGATIVE, POSITIVE, as_line, probabilities
from tasks.classifier.seeds import AMBIGUOUS, DOMAINS, MULTILINGUAL, DomainSeeds, built_in_seeds, seed_of, seeds_digest
from tasks.classifier.text_files import open_texts, read_rows
from tasks.classifier.trainer import TrainingRun, train
from tasks.documents import Documents, columns_of, open_part

EXAMPLES = pa.schema(
    [
        ("source", pa.string()),  # artifact reference or file name
        ("doc_id", pa.string()),  # null for rows of files
        ("part", pa.int32()),
        ("row", pa.int32()),  # of the base text, or of the file
        ("url", pa.string()),
        ("text_digest", pa.string()),
        ("label", pa.string()),
        ("why", pa.string()),  # the rule that gave the label; null where it was given
        ("side", pa.string()),  # train or heldout
        ("predicted", pa.string()),  # held-out texts only
        ("probability", pa.float32()),  # of the positive class, or of the predicted one of several
    ]
)
PREDICTED_AT_ONCE = 256  # texts
QUALITY = "quality"
LIBRARIES = ("fasttext",)
OPENERS = {"positive_files": open_texts, "negative_files": open_texts}
LABEL = re.compile(r"[a-z][a-z0-9_]*")  # domains become names of folders


@stage("quality-model", version=1, libraries=LIBRARIES, tables={"examples": EXAMPLES}, openers=OPENERS)
def train_quality_model(
    positives: list[Documents] | None,
    negatives: list[Documents] | None,
    positive_files: Source | None,
    negative_files: Source | None,
    params: QualityModelParams,
    out: Draft,
) -> None:
    """Learn to tell good texts (positives) from those of a crawl (negatives); the score is called `quality`."""
    _train_binary(QUALITY, positives, negatives, positive_files, negative_files, params, out)


@stage("classifier", version=1, libraries=LIBRARIES, tables={"examples": EXAMPLES}, openers=OPENERS)
def train_classifier(
    positives: list[Documents] | None,
    negatives: list[Documents] | None,
    positive_files: Source | None,
    negative_files: Source | None,
    params: ClassifierParams,
    out: Draft,
) -> None:
    """Learn to tell positives from negatives under a name of your own (toxicity, adult, spam)."""
    _train_binary(params.name, positives, negatives, positive_files, negative_files, params, out)


@stage(
    "domain-model",
    version=1,
    libraries=LIBRARIES,
    tables={"examples": EXAMPLES},
    fingerprint=seeds_digest,
    openers={"labelled": open_texts},
)
def train_domain_model(
    documents: list[Documents] | None, labelled: Source | None, params: DomainModelParams, out: Draft
) -> None:
    """Learn to tell domains apart, from seeds among the documents, from texts that are labelled, or from both."""
    rules = dict(params.seeds) if params.seeds is not None else dict(built_in_seeds())

    if not documents and labelled is None:
        raise BadInput("domain-model: nothing to learn from; give documents, labelled files, or both")
    with _sampler(out, params) as sampler:
        for artifact in documents or []:
            _offer_seeds(sampler, artifact, rules, params, out)
        _offer_files(sampler, labelled, None, params, params.label_column)
        examples = _large_enough(sampler.sample("none", params.per_site), sampler, params.min_examples)
        learnt = {one.label for one in examples}
        missing = [name for name in DOMAINS if name not in learnt and name != MULTILINGUAL]
        if missing:
            out.log.warning(
                "domains left out, for want of %d texts each: %s; label some (role labelled) or write seeds",
                params.min_examples,
                ", ".join(missing),
            )
        labels = sorted(learnt, key=_domain_order)
        out.metrics.update({"missing_domains": missing, "language": params.language})
        _finish("domain", labels, examples, sampler, params, params.balance, params.max_repeats, out)


def _train_binary(
    name: str,
    positives: Sequence[Documents] | None,
    negatives: Sequence[Documents] | None,
    positive_files: Source | None,
    negative_files: Source | None,
    params: QualityModelParams,
    out: Draft,
) -> None:
    for side, artifacts, files in (
        ("positives", positives, positive_files),
        ("negatives", negatives, negative_files),
    ):
        if not artifacts and files is None:
            raise BadInput(f"{name}: no {side}; give documents (role {side}) or files (role {side[:-1]}_files)")
    with _sampler(out, params) as sampler:
        for artifacts, files, label in (
            (positives, positive_files, POSITIVE),
            (negatives, negative_files, NEGATIVE),
        ):
            for artifact in artifacts or []:
                _offer_documents(sampler, artifact, label, params)
            _offer_files(sampler, files, label, params, None)
        examples = sampler.sample(params.balance)
        # without balance by cutting, the smaller class is repeated as often as it takes
        _finish(name, [POSITIVE, NEGATIVE], examples, sampler, params, params.balance, len(examples), out)


def _sampler(out: Draft, params: QualityModelParams | DomainModelParams) -> Sampler:
    return Sampler(
        out.scratch / "texts",
        per_class=params.per_class,
        heldout=params.heldout,
        holdout_by=params.holdout_by,
        seed=params.seed,
    )


# -- what is offered --------------------------------------------------------------------------------------------------


def _offer_documents(sampler: Sampler, artifact: Documents, label: str, params: FastTextParams) -> None:
    for part, row in _documents(artifact, params.max_parts, []):
        sampler.add(
            row["text"],
            label,
            source=artifact.ref,
            part=part,
            row=row["row"],
            doc_id=row["doc_id"],
            url=row.get("url"),
        )


def _offer_seeds(
    sampler: Sampler,
    artifact: Documents,
    rules: Mapping[str, DomainSeeds],
    params: DomainModelParams,
    out: Draft,
) -> None:
    known = "language" in columns_of(artifact)
    if not known:
        out.log.warning("%s holds no column language: texts of any language seed the domains", artifact.ref)
    for part, row in _documents(artifact, params.max_parts, ["language"] if known else []):
        if known and row["language"] not in (None, params.language):
            sampler.skip("another_language")
            continue
        seed = seed_of(row.get("url"), row["text"], rules)
        if seed is None or seed.domain == AMBIGUOUS:
            sampler.skip("ambiguous" if seed else "uncertain")
            continue
        sampler.add(
            row["text"],
            seed.domain,
            source=artifact.ref,
            part=part,
            row=row["row"],
            doc_id=row["doc_id"],
            url=row.get("url"),
            why=seed.why,
        )


def _documents(artifact: Documents, max_parts: int | None, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(part, row) of the documents of all parts, or of so many that are evenly spread over the corpus."""
    count = artifact.part_count
    parts = (
        range(count) if max_parts is None or max_parts >= count else [k * count // max_parts for k in range(max_parts)]
    )
    wanted = ["text", *columns, *(["url"] if "url" in columns_of(artifact) else [])]
    for part in parts:
        for batch in open_part(artifact, part, wanted).to_batches(max_chunksize=PREDICTED_AT_ONCE):
            yield from ((part, row) for row in batch.to_pylist())


def _offer_files(
    sampler: Sampler, files: Source | None, label: str | None, params: FastTextParams, label_column: str | None
) -> None:
    for file in files.files if files is not None else ():
        for row in read_rows(Path(file.path), params.text_column, label_column):
            if isinstance(row, str):
                sampler.skip(row)
                continue
            name = label or str(row.label)
            if not LABEL.fullmatch(name) or name == MULTILINGUAL:
                sampler.skip("bad_label")  # multilingual is a matter of language, see `score`
                continue
            sampler.add(row.text, name, source=file.name, row=row.row, url=row.url)


# -- training ---------------------------------------------------------------------------------------------------------


def _large_enough(examples: Sequence[Example], sampler: Sampler, least: int) -> list[Example]:
    """The examples of the classes that have `least` to learn from and one to be measured on."""
    kept: list[Example] = []
    for label in sorted({one.label for one in examples}):
        own = [one for one in examples if one.label == label]
        learnt = sum(one.side == "train" for one in own)
        if learnt >= least and learnt < len(own):
            kept.extend(own)
        else:
            sampler.skip(f"too_few_of_{label}", len(own), seen=0)
    return sorted(kept, key=lambda one: (one.order, one.digest))


def _finish(
    name: str,
    labels: Sequence[str],
    examples: Sequence[Example],
    sampler: Sampler,
    params: QualityModelParams | DomainModelParams,
    balance: Balance,
    max_repeats: int,
    out: Draft,
) -> None:
    """Train, measure on the held-out side, and write everything down."""
    check_sample(examples, params.min_examples)
    text = out.scratch / "train.txt"
    turns = training_order(examples, balance, max_repeats, params.seed)
    with text.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for (example, _), content in zip(turns, sampler.texts([one for one, _ in turns]), strict=True):
            file.write(f"{LABEL_PREFIX}{example.label} {as_line(content)}\n")
    model_file = "model.ftz" if params.quantise else "model.bin"
    out.metrics["epochs"] = params.epoch or epochs_for(len(turns))
    out.log.info("%s: learning from %d texts in %d epochs", name, len(turns), out.metrics["epochs"])
    train(
        TrainingRun(
            text=str(text),
            model=str(out.path(model_file)),
            lr=params.lr,
            dim=params.dim,
            epoch=out.metrics["epochs"],
            minCount=params.min_count,
            wordNgrams=params.word_ngrams,
            minn=params.minn,
            maxn=params.maxn,
            bucket=params.bucket,
            seed=params.seed,
            quantise=params.quantise,
        ),
        out.scratch,
    )
    heldout = [one for one in examples if one.side == "heldout"]
    scores = _predict(out.path(model_file), labels, heldout, sampler)
    if len(labels) == 2 and labels[0] == POSITIVE:
        measured = measure_binary(scores[:, 0], np.array([one.label == POSITIVE for one in heldout]))
        claimed = scores[:, 0]
    else:
        measured = measure_classes(scores, [one.label for one in heldout], labels)
        claimed = scores.max(axis=1)
    said = {
        one.place: (labels[int(row.argmax())], float(p)) for one, row, p in zip(heldout, scores, claimed, strict=True)
    }
    out.write("examples", _table(examples, said))
    out.metrics.update({"name": name, "labels": list(labels), "model": model_file, **measured})
    out.metrics["texts"] = {
        label: {
            "offered": sampler.seen[label],
            "train": sum(one.label == label and one.side == "train" for one in examples),
            "heldout": sum(one.label == label and one.side == "heldout" for one in examples),
        }
        for label in labels
    }
    out.count("documents", sampler.offered, dropped=sampler.dropped, out=len(examples), out_unit="examples")


def _predict(model: Path, labels: Sequence[str], examples: Sequence[Example], sampler: Sampler) -> np.ndarray:
    """(n_examples, n_labels) probabilities."""
    found = []
    for start in range(0, len(examples), PREDICTED_AT_ONCE):
        found.append(probabilities(model, labels, list(sampler.texts(examples[start : start + PREDICTED_AT_ONCE]))))
    return np.concatenate(found)


def _table(examples: Sequence[Example], said: Mapping[tuple[str, int, int], tuple[str, float]]) -> pa.Table:
    rows = [
        {
            "source": one.source,
            "doc_id": one.doc_id,
            "part": one.part,
            "row": one.row,
            "url": one.url,
            "text_digest": one.digest,
            "label": one.label,
            "why": one.why,
            "side": one.side,
            "predicted": said[one.place][0] if one.side == "heldout" else None,
            "probability": said[one.place][1] if one.side == "heldout" else None,
        }
        for one in sorted(examples, key=lambda one: (one.source, one.part, one.row))
    ]
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def _domain_order(name: str) -> tuple[int, str]:
    return (DOMAINS.index(name) if name in DOMAINS else len(DOMAINS), name)
