"""How a crawl is named and how its files are fetched. None of it is in a version: the files themselves are."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from infra.params import Params
from infra.remote import Access, is_remote

COMMON_CRAWL = "https://data.commoncrawl.org/"
# 2008-2009, 2009-2010 and 2012 were crawled before there were weekly ids.
_ID = re.compile(r"CC-MAIN-\d{4}(-\d{2}|-\d{4})?")


class CrawlParams(Params):
    """Where the pages come from: `paths`, or a crawl of Common Crawl by its `id`."""

    paths: str | tuple[str, ...] | None = Field(
        None,
        description="WARC, WET or ARC files: a folder, a glob, a file, an https:// or s3:// address, a list of files"
        " (.txt or .paths, also .gz; one path or address a line, # begins a comment), or several of these.",
    )
    id: str | None = Field(None, description="A crawl of Common Crawl by its id, such as CC-MAIN-2026-04.")
    kind: Literal["warc", "wet"] = Field(
        "warc", description="Which files of the crawl `id`: pages as they were sent, or Common Crawl's own plain text."
    )
    max_files: int | None = Field(
        None, ge=1, description="At most so many files, the first by name (after sample_files). Empty: all."
    )
    sample_files: float | None = Field(
        None,
        gt=0,
        description="Below 1: this share of the files. From 1 on: so many. Drawn by a hash of seed and name, so that"
        " a larger sample holds the smaller one. Empty: all.",
    )
    seed: int = Field(0, description="Of the draw.")
    base_url: str = Field(
        COMMON_CRAWL,
        description="What `id` and the lines crawl-data/… of a list are relative to: the server, s3://commoncrawl/, a"
        " mirror, or a folder that holds crawl-data/.",
    )
    attempts: int = Field(10, ge=1, description="Requests in a row that may fail before the run gives up.")
    retry_seconds: float = Field(
        2.0, ge=0, description="Bound of the first random wait between two attempts; it doubles up to 60 s."
    )
    timeout_seconds: float = Field(60.0, gt=0, description="Without a byte for so long, a connection counts as dead.")
    s3_endpoint: str | None = Field(
        None, description="Another server that speaks S3. Empty: AWS, or the environment's AWS_ENDPOINT_URL."
    )

    @field_validator("id")
    @classmethod
    def _known_shape(cls, value: str | None) -> str | None:
        if value is not None and not _ID.fullmatch(value):
            raise ValueError(f"{value!r} is no crawl id; they look like CC-MAIN-2026-04")
        return value

    @field_validator("sample_files")
    @classmethod
    def _whole_number(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("write a share below 1 or a whole number of files")
        return value

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> Self:
        if self.paths is not None and self.id is not None:
            raise ValueError(f"give crawl.paths or crawl.id={self.id}, not both")
        if self.paths is None and self.id is None and (self.max_files or self.sample_files):
            raise ValueError("max_files and sample_files choose among the files of crawl.paths or crawl.id; give one")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """`paths` as several."""
        return () if self.paths is None else (self.paths,) if isinstance(self.paths, str) else self.paths

    @property
    def access(self) -> Access:
        """How remote files are read."""
        first = self.retry_seconds
        return Access(
            attempts=self.attempts,
            first_delay=first,
            max_delay=max(first, Access.max_delay),
            timeout=self.timeout_seconds,
            s3_endpoint=self.s3_endpoint,
        )

    def below_base(self, path: str) -> str:
        """The address or path of a `crawl-data/…` file."""
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"

    @property
    def listing(self) -> str:
        """Where the paths of the crawl `id` are listed."""
        return self.below_base(f"crawl-data/{self.id}/{self.kind}.paths.gz")

    @property
    def base_is_remote(self) -> bool:
        return is_remote(self.base_url)
