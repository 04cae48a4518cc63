"""Which document of a cluster stays, and how the others are accounted for.

The documents of a cluster are put in one total order, and the first stays:

    1. the policy: `longest` text, `newest` or `oldest` capture, or `first` (lowest part, then row)
    2. the smaller canonical URL        3. the earlier capture        4. the smaller doc_id
    5. the lower part, then row, which decides only between copies of one record

Nothing but `first` and the fifth criterion looks at how files are numbered, so the same documents stay when a crawl's
files are renamed, split or listed in another order. The order is the same for every kind of duplicate, hence the
document that stays is the first of its whole cluster.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import SluiceError

KeepPolicy = Literal["longest", "newest", "oldest", "first"]

RECORD, URL, EXACT, NEAR = "record", "url", "exact", "near"
UNKNOWN = np.iinfo(np.int64).max  # rank and time of a document without a capture time: after all others
ORDER = ("rank", "url", "captured", "doc_id", "id")  # the total order, ascending; `rank` is the policy's number

# A document of a cluster. `id` is part << 32 | row; `component` names the cluster while it has no better name.
MEMBERS = pa.schema(
    [
        ("component", pa.int64()),
        ("rank", pa.int64()),
        ("url", pa.string()),
        ("captured", pa.int64()),
        ("doc_id", pa.string()),
        ("id", pa.int64()),
    ]
)
# Why two documents are in one cluster. For record, url and exact, `a` was found to be a copy of `b`; a near link has
# no direction. `jaccard` is estimated from the signatures for near, 1 for exact, null for record and url.
LINKS = pa.schema([("kind", pa.string()), ("a", pa.int64()), ("b", pa.int64()), ("jaccard", pa.float32())])
RESOLVED = pa.schema(
    [
        ("id", pa.int64()),
        ("cluster_id", pa.string()),
        ("doc_id", pa.string()),
        ("kind", pa.string()),
        ("kept", pa.bool_()),
        ("matched_with", pa.string()),
        ("jaccard", pa.float32()),
        ("keep_reason", pa.string()),
    ]
)

IntArray = npt.NDArray[np.int64]


def pack(part: int, rows: IntArray) -> IntArray:
    """Global ids of documents: part in the upper 31 bits, row in the lower 32."""
    return (np.int64(part) << np.int64(32)) | rows.astype(np.int64)


def unpack(ids: IntArray) -> tuple[IntArray, IntArray]:
    """Parts and rows of global ids."""
    return ids >> np.int64(32), ids & np.int64(0xFFFFFFFF)


def policy_rank(policy: KeepPolicy, n_chars: IntArray, captured: IntArray, ids: IntArray) -> IntArray:
    """The policy's number of each document, smaller is better. `captured` is in µs, `UNKNOWN` where there is none."""
    if policy == "longest":
        return -n_chars.astype(np.int64)
    if policy == "newest":
        return np.where(captured == UNKNOWN, UNKNOWN, -captured)
    return captured if policy == "oldest" else ids


def resolve(members: pa.Table, links: pa.Table, policy: KeepPolicy) -> pa.Table:
    """Choose what stays in each component and say what every other document was dropped for.

    Args:
        members: whole components (`MEMBERS`), each of two documents or more.
        links: the links inside them (`LINKS`); a document is `a` of at most one record, url or exact link.

    Returns:
        One row a member (`RESOLVED`), by id. `matched_with` is the copy for record, url and exact, and for near the
        linked document with the highest estimated Jaccard (the better placed on ties); it need not be the one that
        stays, `cluster_id` is. `keep_reason` is the first criterion that puts the document that stays before this
        one; in the row of the document that stays, before the runner-up.

    Raises:
        SluiceError: a component of one document, or a dropped one without a link: the caller's defect.
    """
    members = members.take(pc.sort_indices(members, [(name, "ascending") for name in ("component", *ORDER)]))
    if members.num_rows == 0:
        return RESOLVED.empty_table()
    component = members.column("component").to_numpy()
    starts = np.concatenate([[True], component[1:] != component[:-1]])
    first = np.flatnonzero(starts)[np.cumsum(starts) - 1]  # each member's keeper, as a position
    place = np.arange(members.num_rows)
    rival = np.where(starts, place + 1, first)  # whom to compare with: the runner-up, or the keeper
    if rival[-1] == members.num_rows or starts[rival[starts]].any():
        raise SluiceError("dedup: a cluster of a single document")

    kind, match, jaccard = _evidence(members, links)
    if (kind[~starts] == "").any():
        raise SluiceError("dedup: a document was dropped without a link")
    kept = pa.array(starts)
    doc_id = members.column("doc_id").combine_chunks()
    rows = pa.table(
        {
            "id": members.column("id"),
            "cluster_id": doc_id.take(pa.array(first)),
            "doc_id": doc_id,
            "kind": pa.array(np.where(starts, "", kind), mask=starts, type=pa.string()),
            "kept": kept,
            "matched_with": doc_id.take(pa.array(np.where(starts, -1, match), mask=starts)),
            "jaccard": pa.array(jaccard, mask=starts | np.isnan(jaccard), type=pa.float32()),
            "keep_reason": pa.array(_deciding_criterion(members, rival, policy), type=pa.string()),
        },
        schema=RESOLVED,
    )
    return rows.sort_by("id")


def _evidence(members: pa.Table, links: pa.Table) -> tuple[npt.NDArray, IntArray, npt.NDArray[np.float32]]:
    """For each member: kind of its best link ("" for none), position of the linked member, Jaccard (NaN: none)."""
    ids = members.column("id").to_numpy()
    by_id = np.argsort(ids)

    def position(name: str) -> IntArray:
        return by_id[np.searchsorted(ids, links.column(name).to_numpy(), sorter=by_id)]

    a, b = position("a"), position("b")
    link_kind = np.asarray(links.column("kind").to_pylist(), dtype="U8")
    link_jaccard = links.column("jaccard").to_numpy().astype(np.float32)
    kind = np.full(len(ids), "", dtype="U8")
    match = np.full(len(ids), -1, dtype=np.int64)
    jaccard = np.full(len(ids), np.nan, dtype=np.float32)

    near = link_kind == NEAR
    owner, other = np.concatenate([a[near], b[near]]), np.concatenate([b[near], a[near]])
    likeness = np.concatenate([link_jaccard[near]] * 2)
    best = np.lexsort((other, -likeness, owner))
    best = best[np.concatenate([[True], owner[best][1:] != owner[best][:-1]])] if len(best) else best
    kind[owner[best]], match[owner[best]], jaccard[owner[best]] = NEAR, other[best], likeness[best]

    copies = ~near  # a copy is dropped as a copy, whatever else it resembles
    kind[a[copies]], match[a[copies]], jaccard[a[copies]] = link_kind[copies], b[copies], link_jaccard[copies]
    return kind, match, jaccard


def _deciding_criterion(members: pa.Table, rival: IntArray, policy: KeepPolicy) -> npt.NDArray:
    """The first criterion of `ORDER` in which each member differs from its rival, by the name users know."""
    names = {"rank": policy, "url": "url", "captured": "captured_at", "doc_id": "doc_id", "id": "position"}
    reason = np.full(members.num_rows, "position", dtype="U11")
    undecided = np.ones(members.num_rows, dtype=bool)
    for column in ORDER:
        values = members.column(column).combine_chunks()
        differs = pc.not_equal(values, values.take(pa.array(rival))).to_numpy(zero_copy_only=False)
        reason[undecided & differs] = names[column]
        undecided &= ~differs
    return reason
