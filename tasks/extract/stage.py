"""The stage `extract`: responses of a crawl -> `documents` (text and provenance) and `skipped` (provenance and reason).

Every response record of the input is in one of the two tables. `extract_part_records` is the whole of it as a pure
function of a byte range; the stage cuts the files into ranges and has Spark run one task a range.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from infra.params import Params
from infra.remote import Changed, RemoteBuffer
from infra.stage import Draft, Part, Source, stage
from infra.store import Store
from tasks.extract import gates
from tasks.extract.charset import decode
from tasks.extract.http import HttpResponse, charset_of, dechunk, decode_body, media_type, parse_response
from tasks.extract.members import Buffer
from tasks.extract.page import (
    ExtractionOptions,
    Signals,
    TooComplexError,
    extract_page,
    header_signals,
    use_lean_elements,
    well_formed,
)
from tasks.extract.provenance import doc_id, host_of, parse_date, site_of
from tasks.extract.records import Record, part_borders, read_records
from tasks.extract.sandbox import Answer, Sandbox

_PROVENANCE = [
    ("doc_id", pa.string()),
    ("url", pa.string()),
    ("host", pa.string()),
    ("site", pa.string()),
    ("captured_at", pa.timestamp("us", tz="UTC")),
    ("warc_file", pa.string()),
    ("warc_offset", pa.int64()),
    ("warc_length", pa.int64()),
    ("http_status", pa.int16()),
    ("mime", pa.string()),
]
DOCUMENTS = pa.schema(
    [
        *_PROVENANCE,
        ("charset", pa.string()),
        ("title", pa.string()),
        ("language_html", pa.string()),
        ("text", pa.string()),
        ("html_bytes", pa.int32()),
        ("licence_url", pa.string()),
        ("robots_noindex", pa.bool_()),
        ("robots_noai", pa.bool_()),
        ("tdm_reserved", pa.bool_()),
    ]
)
SKIPPED = pa.schema([*_PROVENANCE, ("reason", pa.string()), ("detail", pa.string())])

# Record types that describe a response or the file (WARC 1.1, 5.5); every other record is accounted for.
DESCRIBING_KINDS = frozenset({"warcinfo", "request", "metadata"})
REGISTERED_KINDS = DESCRIBING_KINDS | {"response", "revisit", "resource", "conversion", "continuation", "unknown"}
HTML_TYPES = ("text/html", "application/xhtml+xml")
MAX_DETAIL_CHARS = 200
NO_DATE = "1970-01-01"  # upper bound for dates in a page whose capture date is unreadable: finds none


class ExtractParams(Params):
    """What decides which responses become documents, and their text."""

    part_bytes: int = Field(
        32 << 20, ge=1 << 10, description="Bytes of a WARC file in one part, the unit of work and resumption."
    )
    mime_types: tuple[str, ...] = Field(
        HTML_TYPES, description="Media types taken for pages. Vague types (text/plain …) are taken if the body is HTML."
    )
    max_html_bytes: int = Field(
        8 << 20,
        ge=1,
        description="Bytes of a decoded body; larger pages are skipped. Common Crawl cuts them at 1 or 5 MiB.",
    )
    max_tags: int = Field(
        200_000,
        ge=1,
        description="Tags ('<' characters) of a page; beyond it extraction takes minutes (trafilatura #704).",
    )
    favor_precision: bool = Field(
        True, description="trafilatura: less text, but surer to be the page's own. F1 .967 (.960 without) on 181 pages."
    )
    fast: bool = Field(
        False, description="trafilatura: no second opinion by readability and jusText. A third less CPU, lower recall."
    )
    include_comments: bool = Field(False, description="Readers' comments become part of the text.")
    include_tables: bool = Field(True, description="Text inside tables becomes part of the text.")
    markup: Literal["plain", "markdown"] = Field(
        "plain", description="Keep headings, lists and code as Markdown, or only their text."
    )
    max_cpu_seconds: int = Field(
        60, ge=1, description="CPU seconds for one page, a hundred times the worst real one; then extraction_timeout."
    )
    max_memory_mb: int = Field(
        2048, ge=128, description="Address space (MiB) that extraction may add; then extraction_error or _crash."
    )

    def options(self) -> ExtractionOptions:
        """The part of it that concerns a single page."""
        return ExtractionOptions(
            favor_precision=self.favor_precision,
            fast=self.fast,
            include_comments=self.include_comments,
            include_tables=self.include_tables,
            markdown=self.markup == "markdown",
            max_tags=self.max_tags,
        )


@dataclass
class PartResult:
    """What one byte range gave: two tables, the account and some numbers about the input."""

    documents: pa.Table
    skipped: pa.Table
    responses: int
    dropped: dict[str, int]
    metrics: dict[str, int]


@stage(
    "extract",
    version=1,
    libraries=(
        "trafilatura",
        "FastWARC",
        "Resiliparse",
        "lxml",
        "tldextract",
        "htmldate",
        "justext",
        "courlan",
        "brotli",
    ),
    tables={"documents": DOCUMENTS, "skipped": SKIPPED},
)
def extract(crawl: Source, params: ExtractParams, out: Draft) -> None:
    """Main text of every HTML page of a crawl, with provenance; a reason for every response that gives none."""
    parts = [
        crawl.part(file, start, end)
        for file in crawl.files
        for start, end in part_borders(file.bytes, params.part_bytes)
    ]
    out.map_parts(extract_part, over=parts)


def extract_part(part: Part) -> None:
    """One byte range of one file; runs in a worker."""
    source = part.source
    try:
        with source.open() as data:
            result = extract_part_records(data, source.start, source.end, part.params, source.name)
            if isinstance(data, RemoteBuffer):
                result.metrics |= {f"fetch_{name}": n for name, n in asdict(data.file.traffic).items()}
    except Changed:
        Store(part.job.store).digest_cache().forget(source.path)  # so that the next run asks what is there now
        raise
    part.write("documents", result.documents)
    part.write("skipped", result.skipped)
    part.count(
        "responses", result.responses, dropped=result.dropped, out=result.documents.num_rows, out_unit="documents"
    )
    for name, value in sorted(result.metrics.items()):
        part.metric(name, value)


def extract_part_records(
    file: Path | Buffer, start: int, end: int, params: ExtractParams, name: str, *, in_process: bool = False
) -> PartResult:
    """Documents and skipped responses of the records that start in bytes [start, end) of a WARC file.

    Args:
        name: what `warc_file` says.
        in_process: work without the child process: for profiling; a page that crashes lxml then crashes the caller.

    Raises:
        OSError: the file cannot be read.
    """
    work = page_worker(params.options())
    with (
        nullcontext(None)
        if in_process
        else Sandbox(
            work,
            cpu_seconds=params.max_cpu_seconds,
            memory_bytes=params.max_memory_mb << 20,
            prepare=use_lean_elements,
        )
    ) as sandbox:
        ask = sandbox.ask if sandbox else lambda message: Answer("ok", work(message))
        extraction = _Extraction(params, name, ask)
        for record in read_records(file, start, end):
            extraction.take(record)
        if sandbox:
            extraction.metrics["child_processes"] = sandbox.starts
    return extraction.result()


# --- In the child process --------------------------------------------------------------------------------------------


def page_worker(options: ExtractionOptions) -> Callable[[bytes], bytes]:
    """The function that the child process runs: a JSON line and a decoded body in, JSON out.

    In: {"charset": of the Content-Type header, "captured_on": YYYY-MM-DD}, a line feed, the body.
    Out: {"page": fields of `Page`, "charset", "charset_source", "replaced"} or {"skip": [reason, detail]}.
    """
    # Imported before the fork, so that a restarted child has it for nothing.
    import trafilatura  # noqa: F401

    def work(message: bytes) -> bytes:
        head, _, body = message.partition(b"\n")
        about = json.loads(head)
        answer: dict[str, Any]
        try:
            decoding = decode(body, about["charset"])
            page = extract_page(decoding.text, about["captured_on"], options)
            answer = {
                "page": asdict(page),
                "charset": decoding.charset,
                "charset_source": decoding.source,
                "replaced": decoding.replaced,
            }
        except TooComplexError as error:
            answer = {"skip": ["too_complex", str(error)]}
        except Exception as error:  # noqa: BLE001  one bad page is one skipped page; its type says why
            answer = {"skip": ["extraction_error", f"{type(error).__name__}: {well_formed(str(error))}"]}
        return json.dumps(answer, ensure_ascii=False).encode()

    return work


# --- In the worker ---------------------------------------------------------------------------------------------------


@dataclass
class _Extraction:
    """The rows and numbers of a part as its records come by."""

    params: ExtractParams
    name: str
    ask: Callable[[bytes], Answer]
    documents: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    metrics: Counter[str] = field(default_factory=Counter)
    repeated: gates.RepeatGate = field(default_factory=gates.RepeatGate)

    def take(self, record: Record) -> None:
        """Make a document or a skipped row of a record; one that only describes others is counted."""
        self.metrics[f"records_{record.kind if record.kind in REGISTERED_KINDS else 'other'}"] += 1
        if record.kind in DESCRIBING_KINDS:
            self.metrics["damaged_describing_records"] += record.damage is not None  # no page is lost with it
            return
        row = self._provenance(record)
        outcome = self._outcome(record, row)
        if isinstance(outcome, gates.Skip):
            self.skipped.append(row | {"reason": outcome.reason, "detail": outcome.detail[:MAX_DETAIL_CHARS]})
        else:
            self.documents.append(row | outcome)

    def result(self) -> PartResult:
        """Tables in file order, and the account."""
        dropped = Counter(row["reason"] for row in self.skipped)
        return PartResult(
            documents=_table(self.documents, DOCUMENTS),
            skipped=_table(self.skipped, SKIPPED),
            responses=len(self.documents) + len(self.skipped),
            dropped=dict(sorted(dropped.items())),
            metrics=dict(self.metrics),
        )

    def _provenance(self, record: Record) -> dict[str, Any]:
        url = well_formed(record.headers.get("warc-target-uri", "").strip())
        if url.startswith("<") and url.endswith(">"):  # as wget wrote it for years
            url = url[1:-1]
        host = host_of(url)
        written = record.headers.get("warc-date", "").strip()
        captured = parse_date(written)
        if captured is None and record.headers:
            self.metrics["unreadable_dates"] += 1
        if record.headers.get("warc-truncated"):
            self.metrics["cut_by_crawler"] += 1
        return {
            "doc_id": None,
            "url": url or None,
            "host": host or None,
            "site": site_of(host) or None,
            "captured_at": captured,
            "warc_file": self.name,
            "warc_offset": record.offset,
            "warc_length": record.length,
            "http_status": None,
            "mime": None,
        }

    def _outcome(self, record: Record, row: dict[str, Any]) -> dict[str, Any] | gates.Skip:
        """The columns that make a document of `row`, or why there is none. Fills what is learned into `row`."""
        if record.damage:
            return gates.Skip(record.damage, record.detail)
        if record.kind != "response":
            return gates.Skip("not_a_response", record.kind)
        if record.block is None:
            return gates.Skip("too_large", f"a record of {record.headers.get('content-length')} bytes")
        response = parse_response(record.block)
        if response is None:
            return gates.Skip("not_http", record.headers.get("content-type", ""))
        digest = hashlib.sha1(response.body, usedforsecurity=False).digest()
        declared = media_type(response.get("content-type"))
        row["doc_id"] = doc_id(row["url"] or "", record.headers.get("warc-date", "").strip(), digest)
        row["http_status"] = response.status
        row["mime"] = well_formed(declared) or None
        self._check_digest(record, response, digest)
        skip = (
            gates.status_gate(response.status)
            or gates.declared_type_gate(declared, self.params.mime_types)
            or gates.size_gate(len(response.body), self.params.max_html_bytes)
            or self.repeated(digest, f"offset {record.offset}")
        )
        if skip:
            return skip
        body = decode_body(response, self.params.max_html_bytes)
        if body.unknown:
            return gates.Skip("content_coding", body.unknown)
        if body.oversized:
            return gates.Skip("too_large", f"decodes to more than {self.params.max_html_bytes} bytes")
        self.metrics["bodies_cut"] += body.cut
        skip = gates.size_gate(len(body.data), self.params.max_html_bytes) or gates.sniffed_type_gate(
            declared, body.data, self.params.mime_types
        )
        return skip or self._extracted(body.data, response, row)

    def _extracted(self, body: bytes, response: HttpResponse, row: dict[str, Any]) -> dict[str, Any] | gates.Skip:
        captured = row["captured_at"]
        about = {
            "charset": charset_of(response.get("content-type")),
            "captured_on": captured.strftime("%Y-%m-%d") if captured else NO_DATE,
        }
        answer = self.ask(json.dumps(about).encode() + b"\n" + body)
        if answer.status != "ok":
            return gates.Skip(f"extraction_{answer.status}", answer.detail)
        found = json.loads(answer.data)
        if "skip" in found:
            return gates.Skip(*found["skip"])
        page = found["page"]
        self.metrics[f"charset_{found['charset_source']}"] += 1
        self.metrics["pages_with_replaced_characters"] += found["replaced"] > 0
        if not page["text"].strip():
            return gates.Skip("empty_text")
        self.metrics["html_bytes"] += len(body)
        self.metrics["text_chars"] += len(page["text"])
        signals = Signals(**page["signals"]) | header_signals(
            response.all("x-robots-tag"), response.get("tdm-reservation")
        )
        return {
            "charset": found["charset"],
            "title": page["title"] or None,
            "language_html": page["language"] or None,
            "text": page["text"],
            "html_bytes": len(body),
            "licence_url": page["licence_url"] or None,
            "robots_noindex": signals.noindex,
            "robots_noai": signals.noai,
            "tdm_reserved": signals.tdm_reserved,
        }

    def _check_digest(self, record: Record, response: HttpResponse, digest: bytes) -> None:
        """Count payload digests that are missing or wrong. Neither drops a page: what counts is what is there."""
        declared = record.headers.get("warc-payload-digest", "").strip()
        algorithm, _, value = declared.partition(":")
        if not declared:
            self.metrics["digests_missing"] += 1
        elif algorithm.lower() == "sha1" and value.upper() != base64.b32encode(digest).decode():
            # Some writers digest the body without its chunks, as the standard could be read.
            if response.get("transfer-encoding"):
                digest = hashlib.sha1(dechunk(response.body)[0], usedforsecurity=False).digest()
            self.metrics["digests_wrong"] += value.upper() != base64.b32encode(digest).decode()


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.table({column.name: pa.array([row[column.name] for row in rows], column.type) for column in schema})
