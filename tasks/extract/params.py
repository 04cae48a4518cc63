"""What decides which responses become documents, and their text."""

from typing import Literal

from pydantic import Field

from infra.params import Params
from tasks.extract.metadata import Search
from tasks.extract.page import PARSER_DEPTH, ExtractionOptions, Mode

HTML_TYPES = ("text/html", "application/xhtml+xml")


class GatesParams(Params):
    """What is turned away before the dear part. Each gate can be switched off and has its own reason in the account."""

    status: bool = Field(True, description="Only responses of status 200: redirect, http_status.")
    mime: bool = Field(True, description="Only `mime_types`, as declared and by the first bytes of the body: mime.")
    repeated: bool = Field(
        True, description="A payload that an earlier page of the part had, byte for byte: repeated_payload."
    )
    url_lists: bool = Field(
        True, description="Addresses on the built-in lists, or on those of the role `url_lists`: url_list."
    )
    url_words: bool = Field(
        True,
        description="Addresses with one hard, two soft or a banned part of a word (arXiv:2306.01116, appendix G.1):"
        " url_hard_word, url_soft_words, url_subword.",
    )
    languages: tuple[str, ...] | None = Field(
        None,
        description="Languages that the filter will keep, as lid.176 names them. Given these, the plain text of a page"
        " decides whether it is extracted at all: plain_words, plain_language. Empty (null): every page is extracted.",
    )
    min_language_score: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Probability of `languages`, judged by the first 4,096 characters of a page's plain text, below"
        " which it is not extracted. Keep it far below the filter's own threshold (0.65): menus dilute. 0: no gate.",
    )
    min_plain_words: int = Field(
        50,
        ge=0,
        description="Words of a page's plain text, menus included, below which it is not extracted; the main text has"
        " no more. Gopher's minimum (arXiv:2112.11446, table A1); looked at when `languages` is given. 0: no gate.",
    )


class ExtractParams(Params):
    """What decides which responses become documents, and their text."""

    part_bytes: int = Field(
        32 << 20, ge=1 << 10, description="Bytes of a WARC file in one part, the unit of work and resumption."
    )
    gates: GatesParams = Field(default_factory=GatesParams, description="What is turned away before extraction.")
    mime_types: tuple[str, ...] = Field(
        HTML_TYPES, description="Media types taken for pages. Vague types (text/plain …) are taken if the body is HTML."
    )
    max_html_bytes: int = Field(
        8 << 20,
        ge=1,
        description="Bytes of a decoded body; larger pages are too_large. Common Crawl cuts them at 1 or 5 MiB.",
    )
    max_tags: int = Field(
        200_000,
        ge=1,
        description="Tags ('<' characters) of a page, and cells of its tables with their spans; more is too_many_tags:"
        " extraction then takes minutes (trafilatura #704). Eight times the largest of 4,545 real pages.",
    )
    max_depth: int = Field(
        PARSER_DEPTH,
        ge=1,
        le=PARSER_DEPTH,
        description="Elements nested in each other; more is too_deep. libxml2 drops what is deeper than 255; of 4,545"
        " real pages none was deeper than 64.",
    )
    mode: Mode = Field(
        "precision",
        description="trafilatura: less text but surer to be the page's own, its balance of the two, or more text.",
    )
    fast: bool = Field(
        False, description="trafilatura: no second opinion by readability and jusText. Less CPU, lower recall."
    )
    fallback_words: int = Field(
        100,
        ge=0,
        description="Where trafilatura finds no text, resiliparse's main text is taken if it has so many words; fewer"
        " are redirects, indexes and frames (451 of 452 such pages of a real crawl). 0: no fallback.",
    )
    metadata: Search = Field(
        "declared",
        description="Author and date: `declared` reads meta tags, JSON-LD and the address (3 % more CPU), `searched`"
        " also bylines and dates in the text, by trafilatura (60 % more), `off` neither.",
    )
    verbatim: bool = Field(
        True, description="Code keeps its lines and indentation; formulas become TeX between $ or $$."
    )
    include_comments: bool = Field(False, description="Readers' comments become part of the text.")
    include_tables: bool = Field(True, description="Text inside tables becomes part of the text.")
    markup: Literal["plain", "markdown"] = Field(
        "plain", description="Keep headings, lists and code as Markdown, or only their text."
    )
    max_cpu_seconds: int = Field(
        60,
        ge=1,
        description="CPU seconds for one page; then extraction_timeout. A hundred times the worst real page, four times"
        " the worst that the limits above let through: a backstop, which no honest page meets.",
    )
    max_memory_mb: int = Field(
        640,
        ge=128,
        description="Address space (MiB) that extracting one page may add to the child process; then extraction_memory."
        " With it a worker stays below 1 GiB.",
    )

    def options(self) -> ExtractionOptions:
        """The part of it that concerns a single page."""
        return ExtractionOptions(
            mode=self.mode,
            fast=self.fast,
            include_comments=self.include_comments,
            include_tables=self.include_tables,
            markdown=self.markup == "markdown",
            verbatim=self.verbatim,
            metadata=self.metadata,
            fallback_words=self.fallback_words,
            max_tags=self.max_tags,
            max_depth=self.max_depth,
        )
