"""The `dedup` stage: one of each document, over one corpus or several.

It reads signatures, never texts, and writes which rows stay (`kept`) and, for every document that has a duplicate,
its cluster (`clusters`): what it is a duplicate by, of which document, how alike, and why that one stays. Its parts
are the parts of its parents, one parent after the other.

Clusters are single-link: A stays for C when A resembles B and B resembles C. `min_jaccard` keeps such chains short by
refusing links that the bands found by chance.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from infra.errors import BadConfig, BadInput
from infra.params import Params, Runtime
from infra.spark import session
from infra.stage import Draft, stage
from infra.store import Artifact
from infra.store.artifact import part_file
from tasks.dedup.candidates import Banding
from tasks.dedup.clusters import Clustering, ClusterRows, find_clusters
from tasks.dedup.keep import EXACT, NEAR, RECORD, URL, KeepPolicy, unpack

KEPT = pa.schema([("doc_id", pa.string()), ("row", pa.int32())])
CLUSTERS = pa.schema(
    [
        ("cluster_id", pa.string()),  # doc_id of the document that stays
        ("doc_id", pa.string()),
        ("part", pa.int32()),
        ("row", pa.int32()),
        ("kind", pa.string()),  # record, url, exact, near; null for the document that stays
        ("kept", pa.bool_()),
        ("matched_with", pa.string()),  # doc_id of the document it was found to be a duplicate of; null if it stays
        ("jaccard", pa.float32()),  # estimated similarity to that document; null where texts were not compared
        ("keep_reason", pa.string()),  # criterion by which the one that stays comes before this one (the runner-up)
    ]
)


class Signatures(Artifact):
    """Role: the signatures of a corpus."""

    accepts = ("signatures",)


class DedupParams(Params):
    """What counts as a duplicate, and which one stays."""

    keep: KeepPolicy = Field(
        "longest",
        description="Which document of a cluster stays: the longest text, the newest or the oldest capture, or the"
        " first by part and row. Ties go by canonical URL, capture time, doc_id.",
    )
    same_url: bool = Field(False, description="Also treat captures of one canonical URL as duplicates (kind url).")
    bands: int = Field(14, ge=1, description="Bands of the signature (14: FineWeb).")
    rows: int = Field(8, ge=1, description="Values in a band (8: FineWeb)..")
    min_jaccard: float | None = Field(
        0.7,
        ge=0,
        le=1,
        description="Smallest similarity, estimated from the signatures, of a near duplicate. Empty accepts every pair"
        " that shares a band, as FineWeb does.",
    )


@stage("dedup", version=1, libraries=("xxhash",), tables={"kept": KEPT, "clusters": CLUSTERS})
def deduplicate(signatures: list[Signatures], params: DedupParams, runtime: Runtime, out: Draft) -> None:
    """Collapse equal records, equal texts and near-duplicates; keep one of each cluster."""
    paths = [parent.file(part_file("signatures", k)) for parent in signatures for k in range(parent.part_count)]
    _check_alike(signatures, params)
    clustering = Clustering(Banding(params.keep, params.bands, params.rows), params.same_url, params.min_jaccard)
    _write(signatures, find_clusters(session(runtime), paths, clustering, out.scratch), out)


def _write(signatures: Sequence[Artifact], rows_of: ClusterRows, out: Draft) -> None:
    """Both tables, part by part, and the account."""
    total = clusters = index = 0
    dropped = dict.fromkeys((RECORD, URL, EXACT, NEAR), 0)
    for parent in signatures:
        for documents in parent.iter_parts("signatures", ["doc_id", "row"]):
            found = as_clusters(rows_of(index))
            gone = found.filter(pc.invert(found.column("kept")))
            stays = pc.invert(pc.is_in(documents.column("row"), gone.column("row").combine_chunks()))
            out.write("kept", documents.filter(stays), part=index)
            out.write("clusters", found, part=index)
            for count in pc.value_counts(gone.column("kind")).to_pylist():
                dropped[count["values"]] += count["counts"]
            total += documents.num_rows
            clusters += found.num_rows - gone.num_rows
            index += 1
    out.metrics["clusters"] = clusters
    out.count("documents", total, dropped=dropped, out=total - sum(dropped.values()))


def as_clusters(resolved: pa.Table) -> pa.Table:
    """Rows of `keep.RESOLVED` as `CLUSTERS`."""
    parts, rows = unpack(resolved.column("id").to_numpy())
    placed = resolved.append_column("part", pa.array(parts.astype(np.int32)))
    return placed.append_column("row", pa.array(rows.astype(np.int32))).select(CLUSTERS.names)


def _check_alike(signatures: Sequence[Artifact], params: DedupParams) -> None:
    """Signatures of several corpora are comparable, and the bands fit into them.

    Raises:
        BadInput: two parents were made with other parameters or libraries.
        BadConfig: more values in the bands than in a signature.
    """
    first = signatures[0]
    for other in signatures[1:]:
        for field in ("params", "libraries"):
            if first.manifest.key.get(field) != other.manifest.key.get(field):
                raise BadInput(
                    f"{first.ref} and {other.ref} cannot be compared: their {field} differ"
                    f" ({first.manifest.key.get(field)} and {other.manifest.key.get(field)}); make both alike"
                )
    num_perm = int(first.manifest.params["num_perm"])
    if params.bands * params.rows > num_perm:
        raise BadConfig(
            f"dedup: {params.bands} bands of {params.rows} values need {params.bands * params.rows} permutations, but"
            f" {first.ref} has {num_perm}; lower bands or rows, or raise signatures.num_perm"
        )
