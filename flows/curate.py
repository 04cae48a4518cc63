"""`curate`: from a crawl to training documents.

source -> extract -> measure -> filter -> signatures -> dedup -> mix. Quality and domain models with `score` come
between filter and signatures, `decontaminate` between dedup and mix, when they exist.
"""

from typing import Any

from prefect import flow

from flows.config import CrawlParams, CurateConfig
from flows.road import Road, result_row, walking
from infra.stage import Source
from infra.store import Artifact
from tasks.crawl import open_crawl
from tasks.dedup.stage import deduplicate
from tasks.extract.stage import extract
from tasks.filter import filter_documents
from tasks.measure import measure
from tasks.mix.stage import mix
from tasks.sample_crawl.stage import sample_crawl
from tasks.signatures import signatures


def curate_road(road: Road, config: CurateConfig) -> Artifact:
    """Walk the road from the crawl to the mix."""
    extracted = road(extract, crawl=_crawl(road, config.crawl), params=config.extract)
    measured = road(measure, documents=extracted, params=config.measure)
    filtered = road(filter_documents, documents=measured, params=config.filter)
    signed = road(signatures, documents=filtered, params=config.signatures)
    deduplicated = road(deduplicate, signatures=[signed], params=config.dedup)
    return road(mix, documents=deduplicated, params=config.mix)


def _crawl(road: Road, crawl: CrawlParams) -> Source:
    if crawl.paths is None:
        return Source.of_artifact(road(sample_crawl, params=crawl.sample), "warc/")
    paths = [crawl.paths] if isinstance(crawl.paths, str) else list(crawl.paths)
    return open_crawl(paths, road.context.store.digest_cache())


@flow(name="curate")
def curate(config: CurateConfig) -> list[dict[str, Any]]:
    """Turn a crawl into training documents: extract, measure, filter, deduplicate, split."""
    with walking("curate", config.runtime, config.run) as road:
        curate_road(road, config)
    return [result_row(result) for result in road.context.results]
