"""The child's answers: whatever a page gives, something is answered."""

import json
from dataclasses import replace

import pytest

from tasks.extract import child
from tasks.extract.gates import Skip
from tasks.extract.page import given_page
from tasks.extract.params import ExtractParams


def test_an_answer_that_cannot_be_written_is_an_error_of_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given_page("A text.")
    assert not isinstance(found, Skip)
    monkeypatch.setattr(child.page, "given_page", lambda text: replace(found, title="\ud83d"))
    work = child.page_worker(ExtractParams())
    head = json.dumps({"charset": "", "captured_on": "2024-05-18", "url": "", "is_text": True})
    reason, detail = json.loads(work(head.encode() + b"\nA text."))["skip"]
    assert reason == "extraction_error" and detail.startswith("UnicodeEncodeError")
