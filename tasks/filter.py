"""`filter`: which documents stay, by rules over the signals that `measure` left.

Nothing is counted here and no text is read, so that another threshold costs seconds. The default rules are FineWeb's,
in its order (Penedo et al. 2024, arXiv:2406.17557, section 3): language, Gopher repetition, Gopher quality, C4 without
the terminal punctuation rule, FineWeb's own.
"""

from collections.abc import Sequence

from pydantic import Field

from infra.errors import BadConfig
from infra.params import Params
from infra.stage import Draft, Part, stage
from tasks.documents import Documents
from tasks.filters.rules import Rule, override, preset, preset_digests
from tasks.filters.verdicts import KEPT, REJECTED, decide_documents, decide_part


class FilterParams(Params):
    """Which rules decide, in which order: the language gate, the presets as listed, the rules given here."""

    languages: tuple[str, ...] | None = Field(
        ("en",), description="Languages to keep, as lid.176 names them (ISO 639); empty (null) keeps all."
    )
    min_language_score: float = Field(
        0.65,
        ge=0,
        le=1,
        description="Documents stay whose language is given a higher probability than this (FineWeb, RefinedWeb, DCLM:"
        " 0.65); not looked at when `languages` is empty.",
    )
    presets: tuple[str, ...] = Field(
        ("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="Rule sets of tasks/filters/presets, in the order in which they decide.",
    )
    rules: tuple[Rule, ...] = Field((), description="Further rules, applied after the presets.")
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Rule name -> another threshold than its own (gopher_min_words: 30)."
    )
    without: tuple[str, ...] = Field((), description="Names of rules to leave out.")


@stage("filter", version=1, tables={"kept": KEPT, "rejected": REJECTED}, fingerprint=preset_digests)
def filter_documents(documents: Documents, params: FilterParams, out: Draft) -> None:
    """Keep the documents that no rule rejects; the first rule that fires gives the reason."""
    decide_documents(documents, resolve_rules(params), out, filter_part)


def filter_part(part: Part) -> None:
    """Decide on the documents of one part."""
    decide_part(part, resolve_rules(part.params))


def resolve_rules(params: FilterParams) -> list[Rule]:
    """The rules that parameters stand for, in the order in which they decide.

    Raises:
        BadConfig: an unknown preset or rule name, or two rules of one name.
    """
    rules = [*language_rules(params.languages, params.min_language_score)]
    for name in params.presets:
        rules.extend(preset(name))
    rules.extend(params.rules)
    return override(rules, params.thresholds, params.without)


def language_rules(languages: Sequence[str] | None, min_score: float) -> list[Rule]:
    """The language gate: another language goes, and so does one that is not surer than `min_score`.

    Strictly surer, as in FineWeb. `measure` rounds scores to four decimals, so that 0.65004 counts as 0.65 and goes.
    """
    if languages is None:
        return []
    if not languages:
        raise BadConfig("filter.languages is an empty list, which keeps nothing; null keeps every language")
    source = "Penedo et al. 2024, arXiv:2406.17557, section 3.1"
    return [
        Rule(
            name="language",
            signal="language",
            comparison="not_in",
            threshold=tuple(languages),
            reason="language",
            source=source,
        ),
        Rule(
            name="language_score",
            signal="language_score",
            comparison="<=",
            threshold=min_score,
            reason="language_score",
            source=source,
        ),
    ]
