"""The stage `sample-crawl`: the sample web as an artifact whose version follows the installed distributions."""

from __future__ import annotations

from dataclasses import asdict

from infra.stage import Draft, stage
from tasks.sample_crawl.build import SampleCrawlParams, build
from tasks.sample_crawl.sources import environment_fingerprint


@stage("sample-crawl", version=1, fingerprint=environment_fingerprint)
def sample_crawl(params: SampleCrawlParams, out: Draft) -> None:
    """Lay out the installed documentation as a small web and pack it as WARC files under `warc/`."""
    # `Draft.path` makes the parents of a file; any name inside the folder does.
    summary = build(out.path("warc/files").parent, params)
    out.count(
        "modules",
        summary.modules,
        dropped={"too_little_prose": summary.modules_too_short},
        out=sum(summary.captures.values()),
        out_unit="captures",
    )
    out.metrics.update({f"captures_{kind}": n for kind, n in summary.captures.items()})
    out.metrics.update({f"status_{status}": n for status, n in summary.statuses.items()})
    out.metrics["body_bytes"] = summary.body_bytes
    out.metrics["warc_bytes"] = summary.warc_bytes
    out.metrics["distributions"] = summary.distributions
    out.log.debug("%d captures of %d distributions in %d files: %s", sum(summary.captures.values()),
        len(summary.distributions), len(summary.files), asdict(summary)["captures"])  # fmt: skip
