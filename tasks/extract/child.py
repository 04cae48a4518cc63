"""What the child process does with one page: decode it, judge its plain text, extract it.

In and out are bytes (`sandbox.py`): a JSON line about the page and the body in, JSON out.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.extract import page
from tasks.extract.charset import Decoding, decode
from tasks.extract.gates import Skip
from tasks.extract.page import Page
from tasks.extract.params import ExtractParams
from tasks.extract.plain import PlainTextGate
from tasks.extract.wellformed import well_formed


def page_worker(params: ExtractParams, language_model: Path | None = None) -> Callable[[bytes], bytes]:
    """The function that the child process runs.

    In: {"charset": of the Content-Type header, "captured_on": YYYY-MM-DD, "url", "is_text": the body is no page but the
    text of one}, a line feed, the body.
    Out: {"page": fields of `Page`, "charset", "charset_source", "replaced"} or {"skip": [reason, detail]}.

    Args:
        language_model: a fastText file for the gate; None: the built-in one.

    Raises:
        EnvironmentProblem: languages are configured and there is no model.
    """
    # Imported before the fork, so that a restarted child has it for nothing.
    import trafilatura  # noqa: F401

    options = params.options()
    gate = plain_text_gate(params, language_model)

    def work(message: bytes) -> bytes:
        head, _, body = message.partition(b"\n")
        about = json.loads(head)
        try:
            decoding = decode(body, about["charset"])
            if about["is_text"]:
                found = (gate.judge(decoding.text) if gate else None) or page.given_page(decoding.text)
            else:
                found = page.extract_page(decoding.text, about["captured_on"], options, url=about["url"], gate=gate)
            return _encoded(_answer(found, decoding))
        except MemoryError:  # the sandbox's to answer
            raise
        except Exception as error:  # noqa: BLE001  one bad page is one skipped page; its type says why
            detail = f"{type(error).__name__}: {well_formed(str(error))}"
            return _encoded({"skip": ["extraction_error", detail]})

    return work


def _answer(found: Page | Skip, decoding: Decoding) -> dict[str, Any]:
    if isinstance(found, Skip):
        return {"skip": [found.reason, found.detail]}
    return {
        "page": asdict(found),
        "charset": decoding.charset,
        "charset_source": decoding.source,
        "replaced": decoding.replaced,
    }


def _encoded(answer: dict[str, Any]) -> bytes:
    """The answer as JSON.

    Raises:
        UnicodeEncodeError: a string in it has a lone surrogate.
    """
    return json.dumps(answer, ensure_ascii=False).encode()


def plain_text_gate(params: ExtractParams, language_model: Path | None = None) -> PlainTextGate | None:
    """The gate for the configured languages, its model loaded; None when there are none."""
    gates = params.gates
    if gates.languages is None:
        return None
    gate = PlainTextGate(
        gates.languages, gates.min_language_score, gates.min_plain_words, language_model=language_model
    )
    gate.load()
    return gate
