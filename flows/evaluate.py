"""`evaluate`: measure models and write the report: evaluate -> report."""

from collections.abc import Sequence
from typing import Any

from prefect import flow

from flows.config import EvaluateConfig, EvaluateSections
from flows.pages import show_page
from flows.road import Road, result_row, walking
from infra.store import Artifact
from tasks.evaluate.stage import evaluate as evaluate_stage
from tasks.report.stage import report as report_stage


def evaluate_road(
    road: Road, config: EvaluateSections, tokens: Artifact, chat: Artifact, models: Sequence[Artifact]
) -> Artifact:
    """Walk the road from the models to the report, and show its link in Prefect."""
    evaluation = road(evaluate_stage, tokens=tokens, chat=chat, models=list(models), params=config.evaluate)
    report = road(report_stage, evaluation=evaluation, params=config.report)
    show_page(report)
    return report


@flow(name="evaluate")
def evaluate(config: EvaluateConfig) -> list[dict[str, Any]]:
    """Measure models on held-out tokens and questions, and write the report page."""
    with walking("evaluate", config.runtime, config.run) as road:
        models = [road.open(ref) for ref in config.models]
        evaluate_road(road, config, road.open(config.tokens), road.open(config.chat), models)
    return [result_row(result) for result in road.context.results]
