"""`select`: which documents stay, by what classifiers think of them.

The same rules as `filter`, over the columns of `score` (and any signal before them), with the same account. Published
thresholds do not carry over to other models or other crawls: DCLM's score of 0.018112 means "the best tenth" for one
classifier on one pool only (Li et al. 2024, arXiv:2406.11794, section 4.4). So the usual rule here is a quantile.
"""

from pydantic import Field

from infra.errors import BadConfig
from infra.params import Params
from infra.stage import Draft, Part, stage
from tasks.documents import Documents
from tasks.filters.rules import Rule, override
from tasks.filters.verdicts import KEPT, REJECTED, decide_documents, decide_part

BEST_TENTH = Rule(
    name="quality",
    signal="quality",
    comparison="<",
    quantile=0.9,
    reason="quality",
    source="Li et al. 2024, arXiv:2406.11794, section 4.4: the top 10 %",
)


class SelectParams(Params):
    """Which rules decide, in order."""

    rules: tuple[Rule, ...] = Field(
        (BEST_TENTH,),
        description="Rules over scores and signals: {name, signal: quality, comparison: <, threshold: 0.3, reason}, or"
        " quantile: 0.9 in place of a threshold, and by: domain for a quantile of each domain.",
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Rule name -> a threshold in place of its own or of its quantile."
    )
    without: tuple[str, ...] = Field((), description="Names of rules to leave out.")


@stage("select", version=1, tables={"kept": KEPT, "rejected": REJECTED})
def select(documents: Documents, params: SelectParams, out: Draft) -> None:
    """Keep the documents that no rule over their scores rejects; the first rule that fires gives the reason."""
    decide_documents(documents, select_rules(params), out, select_part)


def select_part(part: Part) -> None:
    """Decide on the documents of one part."""
    decide_part(part, select_rules(part.params))


def select_rules(params: SelectParams) -> list[Rule]:
    """The rules that parameters stand for.

    Raises:
        BadConfig: there are none, two have one name, or an unknown name is given.
    """
    rules = override(params.rules, params.thresholds, params.without)
    if not rules:
        raise BadConfig("select has no rules, so it would keep everything; leave the stage out, or give it one")
    return rules
