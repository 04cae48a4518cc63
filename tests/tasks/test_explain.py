import gzip
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Stage
from infra.store import Artifact
from tasks.crawl import open_crawl
from tasks.dedup.stage import deduplicate
from tasks.documents import iter_documents
from tasks.explain import explain
from tasks.extract.stage import extract
from tasks.filter import FilterParams, filter_documents
from tasks.filters.rules import Rule
from tasks.measure import measure
from tasks.mix.stage import MixParams, mix
from tasks.pii.stage import KEPT, PiiParams, pii
from tasks.select import SelectParams, select
from tasks.signatures import signatures
from tests.miniature import english_pages, write_warc


def one(curated, query):
    (page,) = explain(curated.store, query, curated["mix"])
    return page


def doc_ids(curated, stage, table="kept"):
    return set(curated[stage].read_table(table, ["doc_id"]).column("doc_id").to_pylist())


def fates(page):
    return {finding.stage: finding.fate for finding in page.findings}


def urls_once(curated):
    """URLs captured once, by doc_id."""
    table = curated["extract"].read_table("documents", ["doc_id", "url"])
    counts = {row["values"]: row["counts"] for row in pc.value_counts(table.column("url")).to_pylist()}
    return {row["doc_id"]: row["url"] for row in table.to_pylist() if counts[row["url"]] == 1}


def test_a_kept_page_is_followed_to_its_split(curated):
    doc_id = sorted(doc_ids(curated, "mix", "documents") & set(urls_once(curated)))[0]
    page = one(curated, doc_id)
    assert fates(page) == {"extract": "kept", "filter": "kept", "dedup": "kept", "pii": "kept", "mix": "kept"}
    assert "split " in page.findings[-1].text
    assert one(curated, urls_once(curated)[doc_id]) == page


def test_the_record_that_explain_names_is_that_page(curated):
    doc_id = sorted(doc_ids(curated, "mix", "documents") & set(urls_once(curated)))[0]
    page = one(curated, doc_id)
    path, _, place = page.warc.rpartition(":")
    offset, length = (int(number) for number in place.split("+"))
    assert path in [file.path for file in curated["extract"].manifest.inputs["crawl"]]
    with Path(path).open("rb") as file:
        file.seek(offset)
        record = gzip.decompress(file.read(length))
    assert f"WARC-Target-URI: {page.url}\r\n".encode() in record


def test_a_rejected_page_names_rule_value_and_threshold(curated):
    rejected = curated["filter"].read_table("rejected").to_pylist()
    row = next(row for row in rejected if row["value"] is not None)
    page = next(p for p in explain(curated.store, row["doc_id"], curated["mix"]))
    assert fates(page) == {"extract": "kept", "filter": "dropped"}
    text = page.findings[-1].text
    assert text.startswith(f"{row['reason']}: {row['signal']} is {str(row['value'])[:6]}")
    assert f"rule {row['rule']} wants it not {row['comparison']} {row['threshold']:g}" in text


def test_a_duplicate_names_what_it_is_a_copy_of(curated):
    clusters = curated["dedup"].read_table("clusters").to_pylist()
    row = next(row for row in clusters if row["kind"] == "near")
    page = one(curated, row["doc_id"])
    assert fates(page) == {"extract": "kept", "filter": "kept", "dedup": "dropped"}
    assert f"near duplicate of {row['matched_with']}" in page.findings[-1].text
    assert f"{row['cluster_id']} stays" in page.findings[-1].text


def test_a_skipped_response_has_its_reason(curated):
    skipped = curated["extract"].read_table("skipped").to_pylist()
    row = next(row for row in skipped if row["reason"] == "http_status")
    page = one(curated, row["url"])
    assert fates(page) == {"extract": "dropped"} and "http_status" in page.findings[0].text


def test_another_spelling_of_the_url_is_found(curated):
    doc_id, url = next((d, u) for d, u in sorted(urls_once(curated).items()) if u.startswith("http://"))
    assert one(curated, url.replace("http://", "HTTP://") + "#part").doc_id == doc_id


def test_an_unknown_page_is_one_line(curated):
    with pytest.raises(BadInput, match=r"http://no\.where/: no such page among the \d+ responses of extract/"):
        explain(curated.store, "http://no.where/", curated["mix"])


MAIL = "maria.keller@example.com"  # on one page of the miniature crawl


def with_mail(curated):
    """doc_id of the kept pages that hold the address."""
    rows = [row for table in iter_documents(curated["dedup"], ["text"]) for row in table.to_pylist()]
    return sorted(row["doc_id"] for row in rows if MAIL in row["text"])


def test_personal_data_is_told_by_kind_and_number(curated):
    masked = pii.run(curated.store, documents=curated["dedup"])
    mixed = mix.run(curated.store, documents=masked, params=MixParams(min_words=0))
    doc_id = with_mail(curated)[0]
    (page,) = explain(curated.store, doc_id, mixed)
    assert list(fates(page)) == ["extract", "filter", "dedup", "pii", "mix"]
    finding = page.findings[3]
    assert (finding.stage, finding.fate, finding.ref) == ("pii", "kept", masked.ref)
    assert finding.text == "2 edited: 1 pii_email, 1 pii_ipv4"
    assert finding.details == {"edits": {"pii_email": 1, "pii_ipv4": 1}}
    assert MAIL not in str(page.as_dict())
    other = sorted(doc_ids(curated, "mix", "documents") - set(with_mail(curated)))[0]
    assert explain(curated.store, other, mixed)[0].findings[3].text == "nothing to edit"


def test_a_page_dropped_for_personal_data_says_which(curated):
    dropped = pii.run(curated.store, documents=curated["dedup"], params=PiiParams(email="drop"))
    (page,) = explain(curated.store, with_mail(curated)[0], dropped)
    assert fates(page) == {"extract": "kept", "filter": "kept", "dedup": "kept", "pii": "dropped"}
    assert page.findings[-1].text == "pii_email: kind email, count 1"


def test_a_second_stage_of_rules_is_told_like_the_first(curated):
    short = Rule(name="long", signal="n_words", comparison=">", threshold=0, reason="too_long")
    selected = select.run(curated.store, documents=curated["filter"], params=SelectParams(rules=(short,)))
    (page,) = explain(curated.store, with_mail(curated)[0], selected)
    assert fates(page) == {"extract": "kept", "filter": "kept", "select": "dropped"}
    assert page.findings[-1].text.startswith("too_long: n_words is ")


class EveryOther(Params):
    pass


def _every_other(documents: Artifact, params: EveryOther, out: Draft) -> None:
    n_in = n_out = 0
    for part in range(documents.part_count):
        table = documents.read_part("kept", part)
        kept = table.take(list(range(0, table.num_rows, 2)))
        out.write("kept", kept.select(["doc_id", "row"]), part=part)
        n_in, n_out = n_in + table.num_rows, n_out + kept.num_rows
    out.count("documents", n_in, dropped={"odd": n_in - n_out}, out=n_out)


def every_other() -> Stage:
    """Under the name of a stage that documents may come from; not registered, since that name is another's."""
    return Stage(
        _every_other, name="score", version=0, libraries=(), tables={"kept": KEPT}, one_to_one=False, fingerprint=None
    )


def test_any_stage_that_keeps_rows_is_told(curated):
    kept = every_other().run(curated.store, documents=curated["filter"])
    stays = set(kept.read_table("kept", ["doc_id"]).column("doc_id").to_pylist())
    goes = doc_ids(curated, "filter") - stays
    (page, *_) = explain(curated.store, sorted(stays)[0], kept)
    assert (page.findings[-1].fate, page.findings[-1].text) == ("kept", "kept")
    (page, *_) = explain(curated.store, sorted(goes - stays)[0], kept)
    assert (page.findings[-1].fate, page.findings[-1].text) == ("dropped", "not kept; the stage wrote no reason")


def test_a_page_of_the_second_of_two_crawls_is_found(curated, tmp_path):
    store = curated.store
    write_warc(tmp_path / "other.warc.gz", [replace(english_pages()[0], url="http://other.example/only-here")])
    extracted = extract.run(store, crawl=open_crawl([tmp_path / "other.warc.gz"], store.digest_cache()))
    params = FilterParams(languages=None, presets=())
    filtered = filter_documents.run(store, documents=measure.run(store, documents=extracted), params=params)
    both = deduplicate.run(store, signatures=[curated["signatures"], signatures.run(store, documents=filtered)])
    (page,) = explain(store, "http://other.example/only-here", both)
    assert page.findings[0].ref == extracted.ref and page.findings[1].ref == filtered.ref
    assert page.findings[-1].stage == "dedup"
    first = explain(store, with_mail(curated)[0], both)
    assert first[0].findings[0].ref == curated["extract"].ref
    with pytest.raises(BadInput, match=rf"of .*{extracted.ref}"):
        explain(store, "http://no.where/", both)
