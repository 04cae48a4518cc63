"""What resiliparse reads of a page, and the dearest gate: plain text that could not survive the filter later.

resiliparse reads all visible text of a page, menus included, in a twentieth of the time that trafilatura takes to find
the main text in it. The main text is a part of it: where the whole has too few words, so has the part, and where the
whole is surely in another language, the part is not surely in a wanted one. The model is the one that `measure` asks,
the threshold far looser than the filter's, since menus dilute.
"""

import re
from collections.abc import Collection
from pathlib import Path

from tasks.extract.gates import Skip

LANGUAGE_CHARS = 4096  # shown to the model; on real pages these decided as well as all, for a third of the cost
# In XHTML `<script/>` is a whole element; an HTML parser takes the rest of the page for its content.
_SELF_CLOSED = re.compile(r"<(script|style|title|iframe|textarea|noscript|noframes)\b([^<>]*)/>", re.IGNORECASE)
_XHTML_HEAD_CHARS = 2048
# Thai, Lao, Burmese, Khmer, kana, Han: scripts without spaces. Each character counts as a word, which is too many and
# turns nothing away that has enough.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class PlainTextGate:
    """Turns away pages by the language and the number of words of their plain text."""

    def __init__(
        self, languages: Collection[str], min_score: float, min_words: int, *, language_model: Path | None = None
    ) -> None:
        """Gate for some languages.

        Args:
            languages: wanted ones, as lid.176 names them.
            min_score: probability of wanted languages below which a page goes, in [0, 1]. What is known of it is the
                probability p of the likeliest language: p itself where that one is wanted, else at most p and at most
                1 - p.
            min_words: words below which a page goes.
            language_model: a fastText file; None: the built-in one.
        """
        self._languages = frozenset(languages)
        self._min_score = min_score
        self._min_words = min_words
        self._model = language_model

    def load(self) -> None:
        """Load what it needs now, and not at the first page.

        Raises:
            EnvironmentProblem: there is no language model.
        """
        from tasks.filters.language import identify_languages, model_path

        plain_text("<p>nothing")
        self._model = self._model or model_path()  # found once: looking for it takes longer than asking it
        identify_languages(["nothing"], self._model)

    def __call__(self, html: str) -> Skip | None:
        """Judge a decoded page."""
        return self.judge(plain_text(html))

    def judge(self, text: str) -> Skip | None:
        """Judge a page's plain text."""
        from tasks.filters.language import identify_languages

        n_words = count_words(text)
        if n_words < self._min_words:
            return Skip("plain_words", f"{n_words} words")
        (language,), (score,) = identify_languages([text[:LANGUAGE_CHARS]], self._model)
        if language is None or score is None:
            return None
        wanted_at_most = score if language in self._languages else min(score, 1 - score)
        return Skip("plain_language", f"{language} {score:.2f}") if wanted_at_most < self._min_score else None


def plain_text(html: str) -> str:
    """All visible text of a page on one line."""
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(_as_html(html), preserve_formatting=False, alt_texts=False, list_bullets=False))


def main_text(html: str) -> str:
    """The main text of a page as resiliparse sees it: by the names and places of elements, code as it is written."""
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(_as_html(html), main_content=True, alt_texts=False, comments=False))


def _as_html(html: str) -> str:
    return _SELF_CLOSED.sub(r"<\1\2></\1>", html) if "xmlns" in html[:_XHTML_HEAD_CHARS] else html


def count_words(text: str) -> int:
    """Words between white space; in scripts without spaces, characters."""
    n_words = len(text.split())
    return n_words if text.isascii() else n_words + len(_UNSPACED.findall(text))
