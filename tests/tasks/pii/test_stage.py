import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from infra.params import Runtime
from infra.store import Store
from tasks.documents import open_part
from tasks.measure import measure
from tasks.mix.stage import MixParams, mix
from tasks.pii.match import KINDS
from tasks.pii.stage import KEPT, REJECTED, SPANS, PiiParams, look_through, pii
from tests.tasks.raw_documents import raw_documents

MAIL, CARD, PHONE, SSN = "ann.lee@mail.example.org", "4111 1111 1111 1111", "+1 202-456-1111", "457-55-5462"
TEXTS = [
    f"Äpfel kauft man bei Ann: {MAIL}.\nOder ruft an: {PHONE}.",
    "Nothing of anybody here.",
    f"Pay with {CARD} or {CARD}, mail {MAIL}.",
    f"SSN {SSN} of somebody at 72.15.99.187.",
]


def looked(*texts: str, **params):
    table = pa.table(
        {"doc_id": [f"d{k}" for k in range(len(texts))], "row": pa.array(range(len(texts)), pa.int32()), "text": texts}
    )
    tables, account = look_through(table, PiiParams(**params))
    return {name: rows.to_pylist() for name, rows in tables.items()}, account


def rejected(*texts: str, **params):
    return [(r["row"], r["reason"], r["kind"], r["count"]) for r in looked(*texts, **params)[0]["rejected"]]


def test_spans_are_code_points_of_the_text_and_hold_nothing_of_what_they_cover():
    tables, account = looked(*TEXTS)
    assert [row["row"] for row in tables["kept"]] == [0, 1, 2, 3]
    covered = [(r["row"], r["reason"], TEXTS[r["row"]][r["start"] : r["end"]]) for r in tables["spans"]]
    assert covered == [
        (0, "pii_email", MAIL),
        (2, "pii_card", CARD),
        (2, "pii_card", CARD),
        (2, "pii_email", MAIL),
        (3, "pii_ssn", SSN),
        (3, "pii_ipv4", "72.15.99.187"),
    ]
    assert {r["stage"] for r in tables["spans"]} == {"pii"}
    assert tables["spans"][0]["replacement"] == tables["spans"][3]["replacement"]
    assert account["found_email"] == 2 and account["pages_email"] == 2 and account["found_card"] == 2
    assert account["masked"] == 6 and account["masked_pages"] == 3
    assert "found_phone" not in account  # off: not looked for
    for row in tables["spans"]:
        for secret in (MAIL, CARD, SSN, "72.15.99.187"):
            assert secret not in row.values()


def test_a_kind_that_drops_its_pages_is_the_reason():
    assert rejected(*TEXTS, card="drop") == [(2, "pii_card", "card", 2)]
    assert rejected(*TEXTS, phone="drop", email="off") == [(0, "pii_phone", "phone", 1)]
    # of two the first in the order of the kinds
    assert rejected(TEXTS[2], card="drop", email="drop") == [(0, "pii_email", "email", 1)]
    assert looked(*TEXTS, card="drop")[0]["spans"] == [r for r in looked(*TEXTS)[0]["spans"] if r["row"] != 2]


def test_too_many_hits_drop_a_page():
    assert rejected(*TEXTS, max_hits=2) == [(2, "pii_hits", None, 3)]
    assert rejected(*TEXTS, max_hits=3) == []
    assert rejected(*TEXTS, max_hits=0) == [
        (0, "pii_hits", None, 1),
        (2, "pii_hits", None, 3),
        (3, "pii_hits", None, 2),
    ]
    assert rejected(TEXTS[2], max_hits=1, email="off", card="off") == []


def test_another_seed_gives_other_pseudonyms_at_the_same_places():
    one, other = looked(*TEXTS)[0]["spans"], looked(*TEXTS, seed=1)[0]["spans"]
    places = [(r["row"], r["start"], r["end"]) for r in one]
    assert places == [(r["row"], r["start"], r["end"]) for r in other]
    assert one[0]["replacement"] != other[0]["replacement"]
    assert one == looked(*TEXTS, seed=0)[0]["spans"]


def test_documents_without_text_are_kept():
    tables, account = looked("", max_hits=0)
    assert len(tables["kept"]) == 1 and account["masked"] == 0
    assert looked()[0] == {"kept": [], "rejected": [], "spans": []}


def test_all_off_looks_for_nothing():
    tables, account = looked(*TEXTS, **dict.fromkeys(KINDS, "off"))
    assert len(tables["kept"]) == 4 and not tables["spans"] and account == {"masked": 0, "masked_pages": 0}


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValidationError, match="mask"):
        PiiParams(email="hide")


def test_the_stage_masks_what_mix_writes_and_its_own_tables_hold_no_personal_data(spark, store: Store):
    texts = [*TEXTS, f"{MAIL} " * 40]
    halves = [
        [(f"d{k}", f"http://example.org/{k}", text) for k, text in enumerate(part)] for part in (texts[:2], texts[2:])
    ]
    measured = measure.run(store, documents=raw_documents(store, halves))
    artifact = pii.run(store, documents=measured, params=PiiParams(card="drop"), runtime=Runtime(cores=2))
    counts = artifact.manifest.counts
    assert (counts.in_.n, counts.used, counts.dropped) == (5, 4, {"pii_card": 1})
    assert artifact.read_table("kept").schema == KEPT and artifact.read_table("rejected").schema == REJECTED
    assert artifact.read_table("spans").schema == SPANS
    assert artifact.manifest.metrics["found_email"] == 42 and artifact.manifest.metrics["pages_email"] == 3
    assert artifact.manifest.metrics["policies"]["card"] == "drop"
    for path in sorted(artifact.path.rglob("*.parquet")):
        held = str(pq.read_table(path).to_pylist())
        assert not [secret for secret in (MAIL, CARD, SSN, "72.15.99.187") if secret in held], path
    after = open_part(artifact, 1, ["text"]).column("text").to_pylist()
    assert after[0].startswith("SSN [SSN] of somebody at ") and "72.15.99.187" not in after[0]
    assert open_part(artifact, 1, ["text"], edits=False).column("text").to_pylist() == [texts[3], texts[4]]
    final = mix.run(store, documents=artifact, params=MixParams(min_words=0)).read_table("documents")
    assert not [text for text in final.column("text").to_pylist() if MAIL in text or SSN in text]
    assert final.column("row").to_pylist() == [0, 1, 1, 2]


def test_looking_through_what_was_masked_finds_nothing(spark, store: Store):
    rows = [[(f"d{k}", None, text) for k, text in enumerate(TEXTS)]]
    once = pii.run(store, documents=raw_documents(store, rows), params=PiiParams(phone="mask"))
    after = [(f"d{k}", None, text) for k, text in enumerate(open_part(once, 0, ["text"]).column("text").to_pylist())]
    again = pii.run(store, documents=raw_documents(store, [after]), params=PiiParams(phone="mask"))
    assert once.manifest.metrics["masked"] == 7 and again.manifest.metrics["masked"] == 0
