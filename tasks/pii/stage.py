"""The `pii` stage: personal data out of the documents that are kept, as edits.

It stands after `dedup` (fewer pages to read, and near-duplicates are found before their addresses are made equal) and
before `mix`, which applies the edits. What is written is where and what stands there instead; what stood there is in
no table. The text that is read is the measured one, without the edits of stages before: edits count its code points,
and of two that overlap `tasks/documents.py` decides. Nothing that is found crosses a line, so that cutting whole lines
leaves no half of it.

By default what can be told for sure is masked: e-mail and public IP addresses, as in FineWeb (Penedo et al. 2024,
arXiv:2406.17557, section 3.4), and the numbers with a check or a fixed form: cards, IBAN, US social security numbers.
Telephone numbers are not: most are those of shops and offices, and by form alone some are no telephone's; it is one
parameter away. Dolma drops a page with more than five (Soldaini et al. 2024, arXiv:2402.00159, section 5.1.4):
`max_hits: 5`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from infra.params import Params
from infra.stage import Draft, Part, stage
from tasks.documents import Documents, open_part
from tasks.pii.match import KINDS, Kind
from tasks.pii.replace import Edit, edits

KEPT = pa.schema([("doc_id", pa.string()), ("row", pa.int32())])
REJECTED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("reason", pa.string()),  # pii_<kind> or pii_hits
        ("kind", pa.string()),  # null for pii_hits
        ("count", pa.int32()),  # of that kind, or of all kinds
    ]
)
SPANS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("start", pa.int32()),  # code points of the measured text
        ("end", pa.int32()),
        ("replacement", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),  # pii_<kind>
    ]
)
STAGE = "pii"
TOO_MANY = "pii_hits"

Policy = Literal["off", "mask", "drop"]


class PiiParams(Params):
    """What happens to a page for each kind: off (not looked for), mask (replaced), drop (the page goes)."""

    email: Policy = Field("mask", description="E-mail addresses; masked by another at example.com.")
    phone: Policy = Field("off", description="Telephone numbers; masked by [PHONE].")
    ipv4: Policy = Field("mask", description="Public IPv4 addresses; masked by one of RFC 5737's example networks.")
    ipv6: Policy = Field("mask", description="Public IPv6 addresses; masked by one of 2001:db8::/32 (RFC 3849).")
    card: Policy = Field("mask", description="Payment cards (issuer, length, Luhn's digit); masked by [CARD].")
    iban: Policy = Field("mask", description="Bank accounts (country, length, modulo 97); masked by [IBAN].")
    ssn: Policy = Field("mask", description="US social security numbers; masked by [SSN].")
    max_hits: int | None = Field(
        None, ge=0, description="Drop a page on which more than this many are found, of all kinds not off (Dolma: 5)."
    )
    seed: int = Field(0, description="Another seed gives other pseudonyms.")

    def policy(self, kind: Kind) -> Policy:
        """What is to happen to a kind."""
        policy: Policy = getattr(self, kind)
        return policy

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is looked for."""
        return tuple(kind for kind in KINDS if self.policy(kind) != "off")


@dataclass(frozen=True)
class Verdict:
    """What is to become of one document. `reason` None: it stays, with `edits` (none for a page that goes)."""

    found: Counter[Kind]
    reason: str | None = None
    kind: Kind | None = None
    edits: Sequence[Edit] = ()


@stage("pii", version=2, libraries=("tldextract",), tables={"kept": KEPT, "rejected": REJECTED, "spans": SPANS})
def pii(documents: Documents, params: PiiParams, out: Draft) -> None:
    """Mask personal data, or drop the pages that hold it."""
    out.metrics["policies"] = {kind: params.policy(kind) for kind in KINDS}
    out.map_parts(pii_part, along=documents)


def pii_part(part: Part) -> None:
    """Look through the texts of one part."""
    table = open_part(part.parent("documents"), part.index, ["text"], edits=False)
    tables, account = look_through(table, part.params)
    for name, rows in tables.items():
        part.write(name, rows)
    dropped = Counter(tables["rejected"].column("reason").to_pylist())
    part.count("documents", table.num_rows, dropped=dropped, out=tables["kept"].num_rows)
    for name, value in account.items():
        part.metric(name, value)


def look_through(table: pa.Table, params: PiiParams) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """The tables of the stage and its figures.

    Args:
        table: doc_id, row and text of the documents.

    Returns:
        kept, rejected and spans, in the table's order; and for every kind that is not off `found_<kind>` (pieces on
        all pages) and `pages_<kind>` (pages that hold one), with `masked` (pieces on the pages that stay) and
        `masked_pages`.
    """
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    account = {f"{name}_{kind}": 0 for kind in params.kinds for name in ("found", "pages")}
    account |= {"masked": 0, "masked_pages": 0}
    columns = (table.column(name).to_pylist() for name in ("doc_id", "row", "text"))
    for doc_id, row, text in zip(*columns, strict=True):
        verdict = judge(text or "", params)
        for kind, n in verdict.found.items():
            account[f"found_{kind}"] += n
            account[f"pages_{kind}"] += 1
        identity = {"doc_id": doc_id, "row": row}
        if verdict.reason is not None:
            count = verdict.found[verdict.kind] if verdict.kind else verdict.found.total()
            rejected.append({**identity, "reason": verdict.reason, "kind": verdict.kind, "count": count})
            continue
        kept.append(identity)
        spans.extend({**identity, **_span(edit)} for edit in verdict.edits)
        account["masked"] += len(verdict.edits)
        account["masked_pages"] += bool(verdict.edits)
    written = (("kept", kept, KEPT), ("rejected", rejected, REJECTED), ("spans", spans, SPANS))
    return {name: pa.Table.from_pylist(rows, schema=schema) for name, rows, schema in written}, account


def judge(text: str, params: PiiParams) -> Verdict:
    """What is to become of one text. Of several kinds that drop a page the first of `KINDS` gives the reason."""
    made = edits(text, params.kinds, params.seed)
    found = Counter(edit.kind for edit in made)
    for kind in KINDS:
        if found[kind] and params.policy(kind) == "drop":
            return Verdict(found, f"{STAGE}_{kind}", kind)
    if params.max_hits is not None and len(made) > params.max_hits:
        return Verdict(found, TOO_MANY)
    return Verdict(found, edits=made)


def _span(edit: Edit) -> dict[str, Any]:
    return {
        "start": edit.start,
        "end": edit.end,
        "replacement": edit.replacement,
        "stage": STAGE,
        "reason": f"{STAGE}_{edit.kind}",
    }
