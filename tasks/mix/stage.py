"""The `mix` stage: the corpus as everything after it reads it.

Each document once, with its final text (the lineage's edits applied), the side of the split it is on, its domain and
its quality, and `recipe.json`, which says how much there is of each domain and how much of it to draw. Domain and
quality come from a `score` stage in the lineage; without one every document is `general` and of unknown quality.

`anneal` marks the documents for the last phase of a training run: the best of each domain, by quality (Dubey et al.
2024, arXiv:2407.21783, sections 3.1.3 and 3.4.3 anneal on small amounts of very good text, much of it mathematics and
code). Each domain has its own quantile, since a quality model that was taught by prose ranks code low.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from infra.files import write_text
from infra.params import Params
from infra.split import SPLITS, SplitParams, split_of
from infra.stage import Draft, Part, stage
from infra.store.artifact import part_file
from infra.tables import read_table
from tasks.classifier.seeds import GENERAL
from tasks.dedup.urls import canonical_url
from tasks.documents import SPANS, Documents, columns_of, open_part
from tasks.extract.plain import count_words
from tasks.filters.quantiles import Distribution
from tasks.mix.recipe import LLAMA3_SHARES, Sizes, add_sizes, make_recipe, select_annealing, sizes_of
from tasks.signatures import TIME, as_times

DOCUMENTS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("url", pa.string()),
        ("site", pa.string()),
        ("captured_at", TIME),
        ("text", pa.string()),
        ("split", pa.string()),  # train, validation or test
        ("domain", pa.string()),
        ("language", pa.string()),
        ("quality", pa.float32()),
        ("n_bytes", pa.int64()),  # of the text in UTF-8
        ("anneal", pa.bool_()),  # for the last phase of training; false where the quality is not known
    ]
)
DOMAIN_WITHOUT_MODEL = GENERAL
# What a document may lack (imported rows): column -> type of its nulls.
OPTIONAL = {
    "url": pa.string(),
    "site": pa.string(),
    "captured_at": TIME,
    "domain": pa.string(),
    "language": pa.string(),
    "quality": pa.float32(),
}


class AnnealingParams(Params):
    """Which documents the last phase of training draws on."""

    quantile: float = Field(
        0.9, ge=0, le=1, description="Quality that this share of a domain's documents lies below (0.9: the best tenth)."
    )
    weights: dict[str, float] = Field(
        default_factory=lambda: {"math": 2.0, "code": 2.0},
        description="Domain -> how much more of it is drawn than its bytes would give; others 1.",
    )


class MixParams(Params):
    """The split and the recipe."""

    split: SplitParams = Field(default_factory=SplitParams, description="Shares of pages held out, and the seed.")
    min_words: int = Field(
        50,
        ge=0,
        description="Words (between whitespace; letters in scripts without spaces) that an edited document must have"
        " left (50: Gopher's minimum), if it had them before. Documents without edits are not judged again.",
    )
    shares: dict[str, float] | Literal["llama3", "natural"] | None = Field(
        None,
        description="Relative share of training bytes to draw from each domain, or natural: what there is, or llama3:"
        " 50 % general knowledge (books, news and forums are that too), 25 % mathematics and reasoning, 17 % code, 8 %"
        " multilingual. Empty: llama3 where a domain model has spoken, natural otherwise.",
    )
    budget_bytes: int | None = Field(
        None,
        ge=1,
        description="UTF-8 bytes that a training run is expected to draw, to see which shares `max_epochs` allows."
        " Empty: as much as there is training text.",
    )
    annealing: AnnealingParams | None = Field(
        default_factory=AnnealingParams,
        description="Documents for the last phase of training, chosen by quality; nothing without a quality model.",
    )
    max_epochs: float = Field(
        4.0,
        gt=0,
        description="How often training may repeat a domain (4: beyond it repeated text is worth clearly less than new"
        " text, Muennighoff et al. 2023).",
    )


@stage("mix", version=3, tables={"documents": DOCUMENTS})
def mix(documents: Documents, params: MixParams, out: Draft) -> None:
    """Write the final text of each document with split, domain and quality, and the recipe."""
    known = set(columns_of(documents))
    at_least = best_of_domains(documents, params.annealing.quantile) if params.annealing and "quality" in known else {}
    out.map_parts(mix_part, along=documents, given={"anneal": at_least} if at_least else None)
    sizes: Sizes = {}
    annealed: Sizes = {}
    for index in range(documents.part_count):
        table = read_table(out.path(part_file("documents", index)), ["domain", "split", "n_bytes", "anneal"])
        add_sizes(sizes, sizes_of(table))
        add_sizes(annealed, sizes_of(table.filter(table.column("anneal"))))
    annealing = None
    if params.annealing and at_least:
        annealing = select_annealing(
            annealed, params.annealing.quantile, at_least, params.annealing.weights, params.max_epochs
        )
    chosen = params.shares or ("llama3" if "domain" in known else "natural")
    recipe = make_recipe(
        sizes,
        {"llama3": LLAMA3_SHARES, "natural": None}[chosen] if isinstance(chosen, str) else chosen,
        params.max_epochs,
        groups=chosen == "llama3",
        budget_bytes=params.budget_bytes,
        annealing=annealing,
    )
    write_text(out.path("recipe.json"), json.dumps(recipe, indent=2, sort_keys=True) + "\n")
    say_what_is_missing(recipe, out)


def best_of_domains(documents: Documents, quantile: float) -> dict[str, float]:
    """Domain -> the quality that a document of it needs to be among its best (tasks/filters/quantiles.py)."""
    domain = ["domain"] if "domain" in columns_of(documents) else []
    distribution = Distribution()
    for index in range(documents.part_count):
        table = open_part(documents, index, ["quality", *domain])
        distribution.add(table.column("quality"), _domains(table))
    return {name: distribution.quantile(name, quantile) for name in distribution.groups}


def say_what_is_missing(recipe: dict[str, Any], out: Draft) -> None:
    """Warn of shares that cannot be had, and keep them in the manifest."""
    for name, share in recipe["lacking"].items():
        out.log.warning("there is no training text of domain %s, of which %.0f %% are wanted", name, 100 * share)
    for name, part in recipe["short"].items():
        out.log.warning(
            "domain %s: %.1f %% of %d bytes are wanted, %.1f %% can be had within %g epochs",
            name,
            100 * part["wanted"],
            recipe["budget_bytes"],
            100 * part["drawn"],
            recipe["max_epochs"],
        )
    out.metrics["lacking_domains"] = sorted(recipe["lacking"])
    out.metrics["short_domains"] = sorted(recipe["short"])


def mix_part(part: Part) -> None:
    """Finish one part."""
    documents = part.parent("documents")
    known = set(columns_of(documents))
    wanted = ["text", *(name for name in OPTIONAL if name in known)]
    table = open_part(documents, part.index, wanted)
    too_short = 0
    if any(ancestor.has_table(SPANS) for ancestor in documents.ancestors()):
        measured = open_part(documents, part.index, ["text"], edits=False).column("text")
        table = long_enough(table, measured, part.params.min_words)
        too_short = len(measured) - table.num_rows
    final = finish(table, part.params.split, part.given.get("anneal", {}))
    part.write("documents", final)
    part.count(
        "documents", final.num_rows + too_short, dropped={"too_short_after_edits": too_short}, out=final.num_rows
    )
    part.metric("bytes", pc.sum(final.column("n_bytes")).as_py() or 0)
    for split, size in _documents_a_split(final).items():
        part.metric(f"documents_{split}", size)


def long_enough(table: pa.Table, measured: pa.ChunkedArray, min_words: int) -> pa.Table:
    """The rows that the edits did not make too short: those with `min_words` words left, or fewer before too."""
    texts = table.column("text")
    edited = pc.not_equal(texts, measured).to_pylist()
    versions = zip(edited, measured.to_pylist(), texts.to_pylist(), strict=True)
    keep = [not e or not count_words(after) < min_words <= count_words(text) for e, text, after in versions]
    return table.filter(pa.array(keep, type=pa.bool_()))


def finish(table: pa.Table, split: SplitParams, anneal: Mapping[str, float] | None = None) -> pa.Table:
    """The rows of `DOCUMENTS` for a table with doc_id, row, text and whichever of `OPTIONAL` are known.

    Args:
        anneal: domain -> quality from which on a document is marked for annealing.
    """
    n = table.num_rows
    columns = {
        name: table.column(name) if name in table.column_names else pa.nulls(n, kind) for name, kind in OPTIONAL.items()
    }
    domains = _domains(table)
    pages = zip(columns["url"].to_pylist(), table.column("doc_id").to_pylist(), strict=True)
    return pa.table(
        {
            "doc_id": table.column("doc_id"),
            "row": table.column("row"),
            "url": columns["url"],
            "site": columns["site"],
            "captured_at": as_times(columns["captured_at"]),
            "text": table.column("text"),
            # a document without URL is its own page
            "split": pa.array([split_of(canonical_url(url) if url else doc_id, split) for url, doc_id in pages]),
            "domain": domains,
            "language": columns["language"],
            "quality": columns["quality"],
            "n_bytes": pc.binary_length(table.column("text")).cast(pa.int64()),
            "anneal": _good_enough(columns["quality"], domains, anneal or {}),
        }
    ).cast(DOCUMENTS)


def _domains(table: pa.Table) -> pa.Array:
    if "domain" not in table.column_names:
        return pa.array([DOMAIN_WITHOUT_MODEL] * table.num_rows, pa.string())
    return pc.fill_null(table.column("domain"), DOMAIN_WITHOUT_MODEL).combine_chunks()


def _good_enough(quality: pa.ChunkedArray | pa.Array, domains: pa.Array, at_least: Mapping[str, float]) -> pa.Array:
    needed = pa.array([at_least.get(domain) for domain in domains.to_pylist()], pa.float32())
    return pc.fill_null(pc.greater_equal(quality.cast(pa.float32()), needed), False)


def _documents_a_split(documents: pa.Table) -> dict[str, int]:
    counted = {row["values"]: row["counts"] for row in pc.value_counts(documents.column("split")).to_pylist()}
    return {split: counted.get(split, 0) for split in SPLITS}
