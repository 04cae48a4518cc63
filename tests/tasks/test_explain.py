import gzip
from pathlib import Path

import pyarrow.compute as pc
import pytest

from infra.errors import BadInput
from tasks.explain import explain


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
    assert fates(page) == {"extract": "kept", "filter": "kept", "dedup": "kept", "mix": "kept"}
    assert "split " in page.findings[-1].text
    assert one(curated, urls_once(curated)[doc_id]) == page


def test_the_record_that_explain_names_is_that_page(curated):
    doc_id = sorted(doc_ids(curated, "mix", "documents") & set(urls_once(curated)))[0]
    page = one(curated, doc_id)
    name, _, place = page.warc.rpartition(":")
    offset, length = (int(number) for number in place.split("+"))
    (path,) = [file.path for file in curated["extract"].manifest.inputs["crawl"] if file.name == name]
    with Path(path).open("rb") as file:
        file.seek(offset)
        record = gzip.decompress(file.read(length))
    assert f"WARC-Target-URI: {page.url}\r\n".encode() in record


def test_a_rejected_page_names_rule_value_and_threshold(curated):
    rejected = curated["filter"].read_table("rejected").to_pylist()
    row = next(row for row in rejected if row["rule"] == "gopher_min_words")
    page = next(p for p in explain(curated.store, row["doc_id"], curated["mix"]))
    assert fates(page) == {"extract": "kept", "filter": "dropped"}
    text = page.findings[-1].text
    assert row["reason"] in text and f"{row['signal']} is {row['value']:.0f}" in text


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
