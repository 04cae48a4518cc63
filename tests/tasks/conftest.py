"""A curated miniature crawl, made once a run for all tests that read its artifacts."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.store import Artifact, Store
from tasks.crawl import open_crawl
from tasks.dedup.stage import deduplicate
from tasks.extract.stage import extract
from tasks.filter import filter_documents
from tasks.measure import measure
from tasks.mix.stage import mix
from tasks.pii.stage import pii
from tasks.signatures import signatures
from tests.miniature import miniature_crawl


@dataclass(frozen=True)
class Curated:
    """The store, the crawl's folder and the artifact of each stage."""

    store: Store
    crawl: Path
    artifacts: dict[str, Artifact]

    def __getitem__(self, stage: str) -> Artifact:
        return self.artifacts[stage]


def curate(store: Store, *places: Path) -> dict[str, Artifact]:
    """Walk the road from a crawl to the mix with every stage's defaults."""
    extracted = extract.run(store, crawl=open_crawl(places, store.digest_cache()))
    measured = measure.run(store, documents=extracted)
    filtered = filter_documents.run(store, documents=measured)
    signed = signatures.run(store, documents=filtered)
    deduplicated = deduplicate.run(store, signatures=[signed])
    masked = pii.run(store, documents=deduplicated)
    mixed = mix.run(store, documents=masked)
    made = [extracted, measured, filtered, signed, deduplicated, masked, mixed]
    return {artifact.stage: artifact for artifact in made}


@pytest.fixture(scope="session")
def curated(spark, tmp_path_factory: pytest.TempPathFactory) -> Curated:
    folder = tmp_path_factory.mktemp("curated")
    crawl = miniature_crawl(folder / "crawl")
    store = Store(folder / "store")
    return Curated(store, crawl, curate(store, crawl))
