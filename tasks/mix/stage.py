"""The `mix` stage: the corpus as everything after it reads it.

Each document once, with its final text (the lineage's edits applied), the side of the split it is on, its domain and
its quality, and `recipe.json`, which says how much there is of each domain and how much of it to draw. Domain and
quality come from a `score` stage in the lineage; without one every document is `general` and of unknown quality.
"""

import json

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from infra.files import write_text
from infra.params import Params
from infra.split import SPLITS, SplitParams, split_of
from infra.stage import Draft, Part, stage
from infra.store.artifact import part_file
from infra.tables import read_table
from tasks.dedup.urls import canonical_url
from tasks.documents import SPANS, Documents, columns_of, open_part
from tasks.mix.recipe import Sizes, add_sizes, make_recipe, sizes_of
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
    ]
)
DOMAIN_WITHOUT_MODEL = "general"
# What a document may lack (imported rows): column -> type of its nulls.
OPTIONAL = {
    "url": pa.string(),
    "site": pa.string(),
    "captured_at": TIME,
    "domain": pa.string(),
    "language": pa.string(),
    "quality": pa.float32(),
}


class MixParams(Params):
    """The split and the recipe."""

    split: SplitParams = Field(default_factory=SplitParams, description="Shares of pages held out, and the seed.")
    min_words: int = Field(
        50,
        ge=0,
        description="Words (between whitespace) that an edited document must have left (50: Gopher's minimum)."
        " Documents without edits are not judged again.",
    )
    shares: dict[str, float] | None = Field(
        None, description="Relative share of training bytes to draw from each domain; empty takes what there is."
    )
    max_epochs: float = Field(
        4.0,
        gt=0,
        description="How often training may repeat a domain (4: beyond it repeated text is worth clearly less than new"
        " text, Muennighoff et al. 2023).",
    )


@stage("mix", version=1, tables={"documents": DOCUMENTS})
def mix(documents: Documents, params: MixParams, out: Draft) -> None:
    """Write the final text of each document with split, domain and quality, and the recipe."""
    out.map_parts(mix_part, along=documents)
    sizes: Sizes = {}
    for index in range(documents.part_count):
        written = out.path(part_file("documents", index))
        add_sizes(sizes, sizes_of(read_table(written, ["domain", "split", "n_bytes"])))
    recipe = make_recipe(sizes, params.shares, params.max_epochs)
    write_text(out.path("recipe.json"), json.dumps(recipe, indent=2, sort_keys=True) + "\n")


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
    final = finish(table, part.params.split)
    part.write("documents", final)
    part.count(
        "documents", final.num_rows + too_short, dropped={"too_short_after_edits": too_short}, out=final.num_rows
    )
    part.metric("bytes", pc.sum(final.column("n_bytes")).as_py() or 0)
    for split, size in _documents_a_split(final).items():
        part.metric(f"documents_{split}", size)


def long_enough(table: pa.Table, measured: pa.ChunkedArray, min_words: int) -> pa.Table:
    """The rows whose text is as it was measured, or has `min_words` words left after edits."""
    texts = table.column("text")
    edited = pc.not_equal(texts, measured).to_pylist()
    keep = [not e or len(text.split()) >= min_words for e, text in zip(edited, texts.to_pylist(), strict=True)]
    return table.filter(pa.array(keep, type=pa.bool_()))


def finish(table: pa.Table, split: SplitParams) -> pa.Table:
    """The rows of `DOCUMENTS` for a table with doc_id, row, text and whichever of `OPTIONAL` are known."""
    n = table.num_rows
    columns = {
        name: table.column(name) if name in table.column_names else pa.nulls(n, kind) for name, kind in OPTIONAL.items()
    }
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
            "domain": pc.fill_null(columns["domain"], DOMAIN_WITHOUT_MODEL),
            "language": columns["language"],
            "quality": columns["quality"],
            "n_bytes": pc.binary_length(table.column("text")).cast(pa.int64()),
        }
    ).cast(DOCUMENTS)


def _documents_a_split(documents: pa.Table) -> dict[str, int]:
    counted = {row["values"]: row["counts"] for row in pc.value_counts(documents.column("split")).to_pylist()}
    return {split: counted.get(split, 0) for split in SPLITS}
