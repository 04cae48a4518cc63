"""`curate`: from a crawl to training documents.

crawl -> extract -> measure -> filter -> [quality-model, domain-model -> score -> select] -> signatures -> dedup -> pii
-> mix -> curation-report. What is in brackets runs where the configuration asks for a classifier; lists of URLs and
words and a language model of the user's own become artifacts first. `decontaminate` will come between dedup and pii.
"""

from typing import Any

from prefect import flow

from flows.config import CrawlSection, CurateConfig, DomainSection, LookupSection, QualitySection
from flows.pages import show_page
from flows.places import files_of, split_places
from flows.road import Road, result_row, walking
from infra.stage import Source
from infra.store import Artifact
from tasks.classifier.stage import train_domain_model, train_quality_model
from tasks.classifier.text_files import open_texts
from tasks.crawl import crawl_source
from tasks.curation_report.stage import curation_report
from tasks.dedup.stage import deduplicate
from tasks.extract.stage import extract
from tasks.filter import filter_documents
from tasks.language_model import LanguageModelParams, language_model
from tasks.measure import measure
from tasks.mix.stage import mix
from tasks.pii.stage import pii
from tasks.sample_crawl.stage import sample_crawl
from tasks.score import score
from tasks.select import SelectParams, select
from tasks.signatures import signatures
from tasks.url_lists.source import open_url_lists
from tasks.url_lists.stage import UrlListsParams, url_lists
from tasks.word_lists import WordListsParams, word_lists


def curate_road(road: Road, config: CurateConfig) -> Artifact:
    """Walk the road from the crawl to the mix and its report."""
    crawl = _crawl(road, config.crawl)
    lists, words, language = _lookup(road, config.lookup)
    extracted = road(extract, crawl=crawl, url_lists=lists, language_model=language, params=config.extract)
    measured = road(
        measure,
        documents=extracted,
        url_lists=lists,
        word_lists=words,
        language_model=language,
        params=config.measure,
    )
    filtered = road(filter_documents, documents=measured, params=config.filter)
    selected = _selected(road, config, filtered)
    signed = road(signatures, documents=selected, params=config.signatures)
    deduplicated = road(deduplicate, signatures=[signed], params=config.dedup)
    masked = road(pii, documents=deduplicated, params=config.pii)
    mixed = road(mix, documents=masked, params=config.mix)
    show_page(road(curation_report, documents=mixed, params=config.curation_report))
    return mixed


def _crawl(road: Road, crawl: CrawlSection) -> Source:
    named = crawl_source(crawl, road.context.store.digest_cache())
    return named or Source.of_artifact(road(sample_crawl, params=crawl.sample), "warc/")


def _lookup(road: Road, lookup: LookupSection) -> tuple[Artifact | None, Artifact | None, Artifact | None]:
    """URL lists, word lists and a language model as artifacts, where they are given."""
    digests = road.context.store.digest_cache()
    urls = words = language = None
    if lookup.url_lists is not None:
        source = open_url_lists(lookup.url_lists, digests, lookup.url_categories)
        urls = road(url_lists, lists=source, params=UrlListsParams(categories=lookup.url_categories))
    if lookup.word_lists is not None:
        words = road(word_lists, lists=files_of([lookup.word_lists], digests), params=WordListsParams())
    if lookup.language_model is not None:
        source = files_of([lookup.language_model], digests)
        language = road(language_model, model=source, params=LanguageModelParams())
    return urls, words, language


def _selected(road: Road, config: CurateConfig, filtered: Artifact) -> Artifact:
    """The documents that pass what classifiers say of them; all of them where there is no classifier."""
    quality = _quality_model(road, config.quality, filtered)
    domain = _domain_model(road, config.domain, filtered)
    models = [model for model in (quality, domain) if model] + [road.open(ref) for ref in config.classifiers]
    if not models:
        return filtered
    scored = road(score, documents=filtered, models=models, params=config.score)
    if quality is None and config.select == SelectParams():
        return scored  # the default rule is one about quality
    return road(select, documents=scored, params=config.select)


def _quality_model(road: Road, quality: QualitySection, filtered: Artifact) -> Artifact | None:
    if quality.model is not None:
        return road.open(quality.model)
    if not quality.positives:
        return None
    positives, positive_files = split_places(quality.positives, road.context.store)
    negatives, negative_files = split_places(quality.negatives, road.context.store)
    return road(
        train_quality_model,
        positives=positives,
        positive_files=positive_files,
        negatives=negatives if quality.negatives else [filtered],
        negative_files=negative_files,
        params=quality.training,
    )


def _domain_model(road: Road, domain: DomainSection, filtered: Artifact) -> Artifact | None:
    if domain.model is not None:
        return road.open(domain.model)
    if not domain.train and not domain.labelled:
        return None
    labelled = open_texts(domain.labelled, road.context.store.digest_cache()) if domain.labelled else None
    documents = [filtered] if domain.train else []
    return road(train_domain_model, documents=documents, labelled=labelled, params=domain.training)


@flow(name="curate")
def curate(config: CurateConfig) -> list[dict[str, Any]]:
    """Turn a crawl into training documents: extract, measure, filter, deduplicate, mask personal data, split."""
    with walking("curate", config.runtime, config.run) as road:
        curate_road(road, config)
    return [result_row(result) for result in road.context.results]
