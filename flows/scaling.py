"""`scaling`: many small runs, the laws that they follow, and the run that these recommend.

tokenizer -> tokens -> pretrain (a grid of budgets and sizes, and what is compared beside it) -> scaling-fit
[-> pretrain (the recommended run) -> scaling-fit, with that run held out]. The runs share tokenizer and tokens; each is
an ordinary artifact, so a study that was killed, or got another budget, makes only what is not there yet.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from typing import Any

import yaml
from prefect import flow

from flows.config import ScalingConfig
from flows.pages import show_page
from flows.pretrain import tokens_road
from flows.road import Road, result_row, walking
from infra.canonical import digest
from infra.errors import BadConfig, BadInput, SluiceError
from infra.quantities import duration
from infra.stage import StageResult, running
from infra.stage.provenance import code_of
from infra.store import Artifact
from tasks.course import shown
from tasks.evaluate.stage import evaluate as evaluate_stage
from tasks.pretrain import PretrainParams, holds_out_a_row, shape_of
from tasks.pretrain import pretrain as pretrain_stage
from tasks.scaling.comparisons import Compared
from tasks.scaling.grid import Pace, Plan, PlannedRun, most_epochs, plan_runs
from tasks.scaling.recommended import FILE
from tasks.scaling.stage import scaling_fit
from tasks.tokenizer import Vocabulary
from tasks.tokens.files import Tokens
from tasks.training import check_layout

LOG = logging.getLogger("sluice.scaling")


def scaling_road(road: Road, config: ScalingConfig, documents: Artifact) -> Artifact:
    """Walk the road from the mix to the fit, and with `verify` to the run that it predicts."""
    chat = None if config.chat is None else conversations(road, config, documents)
    tokenizer, tokens = tokens_road(road, config, documents)
    plan = checked_plan(config, tokenizer, tokens)
    models = train_all(road, plan, tokens, tokenizer, config.at_once)
    grid = [models[run.identity] for run in plan.runs if run.in_grid]

    def evaluated(some: list[Artifact]) -> list[Artifact]:
        if chat is None:
            return []
        return [road(evaluate_stage, tokens=tokens, chat=chat, models=some, params=config.evaluate)]

    tags = tuple(Compared(**vars(tag), run=models[run.identity].ref) for run in plan.runs for tag in run.tags)
    roles: dict[str, Any] = {
        "runs": grid,
        "compared": [models[run.identity] for run in plan.runs if not run.in_grid],
        "evaluations": evaluated(grid),
    }
    params = config.fit.model_copy(update={"comparisons": tags})
    fit = road(scaling_fit, **roles, params=params)
    if config.verify:
        recommended = recommended_params(fit)
        check_length(recommended, config, tokens)
        LOG.info("scaling      training what was recommended, to hold the prediction against it")
        verified = road(pretrain_stage, tokens=tokens, tokenizer=tokenizer, params=recommended)
        roles["evaluations"] = [*roles["evaluations"], *evaluated([verified])]
        fit = road(scaling_fit, **roles, heldout=[verified], params=params)
    return fit


def conversations(road: Road, config: ScalingConfig, documents: Artifact) -> Artifact:
    """What the runs are to answer; looked at before anything is trained.

    Raises:
        BadInput: there is no such artifact, or it was mined from other documents, whose split is another.
        BadConfig: no room for a question in a row.
    """
    assert config.chat is not None
    chat = road.open(config.chat)
    mined_from = chat.manifest.parents.get("documents")
    if mined_from is not None and mined_from != documents.ref:
        raise BadInput(f"{chat.ref} was mined from {mined_from}, and the runs learn from {documents.ref}: mine it anew")
    if config.evaluate.questions and config.evaluate.max_new_tokens >= config.pretrain.seq_len:
        raise BadConfig(
            f"evaluate.max_new_tokens {config.evaluate.max_new_tokens} leaves no room for a question in rows of"
            f" {config.pretrain.seq_len} tokens: lower it, or set evaluate.questions=0"
        )
    return chat


def checked_plan(config: ScalingConfig, tokenizer: Artifact, tokens: Artifact) -> Plan:
    """The runs, with what is left out said before the first of them starts.

    Raises:
        BadConfig: a budget with too few sizes left, a size that this vocabulary does not allow, heads that ranks cannot
            share as the runtime says.
        BadInput: no text is held out.
    """
    corpus = Tokens(tokens.store, tokens.manifest)
    if not holds_out_a_row(corpus, config.pretrain.seq_len):
        raise BadInput(
            f"{tokens.ref} has no row of {config.pretrain.seq_len:,} tokens of validation text, and scaling laws are of"
            " held-out loss: see mix.split"
        )
    vocab_size = Vocabulary(tokenizer.store, tokenizer.manifest).encoder.vocab_size
    plan = plan_runs(config.scaling, config.pretrain, vocab_size, corpus)
    for run in plan.runs:
        shape = shape_of(run.params, vocab_size)
        check_layout("scaling", "lm", run.params.optim, config.runtime, run.params.seq_lens, shape)
    for line in plan.left_out:
        LOG.warning("scaling      %s", line)
    return plan


def check_length(params: PretrainParams, config: ScalingConfig, tokens: Artifact) -> None:
    """Refuse a recommended run that would show its text too often.

    Raises:
        BadConfig: it would.
    """
    course = shown(params, Tokens(tokens.store, tokens.manifest), params.steps or 0)
    course.check()
    epochs = most_epochs(course)
    if epochs > config.scaling.max_epochs:
        raise BadConfig(
            f"verify: the recommended run would show its text {epochs:.1f} times, and scaling.max_epochs is"
            f" {config.scaling.max_epochs:g}; lower fit.target, or take more text"
        )


def recommended_params(fit: Artifact) -> PretrainParams:
    """What the fit's configuration says of the run.

    Raises:
        BadInput: it recommends nothing.
    """
    if not any(entry.path == FILE for entry in fit.files()):
        raise BadInput(f"verify: {fit.ref} recommends no run; its page says what stands in the way")
    sections = yaml.safe_load(fit.file(FILE).read_text(encoding="utf-8"))
    return PretrainParams.model_validate(sections["pretrain"])


def train_all(road: Road, plan: Plan, tokens: Artifact, tokenizer: Artifact, at_once: int) -> dict[str, Artifact]:
    """Every run of the plan by `identity`, some at a time; what exists already is reused."""
    store = road.context.store
    roles = {"tokens": tokens, "tokenizer": tokenizer, "model": None}
    refreshed = pretrain_stage.name in road.context.refresh
    missing = {
        run.identity
        for run in plan.runs
        if refreshed or not store.exists(pretrain_stage.name, digest(pretrain_stage.key(run.params, roles)))
    }
    LOG.info(
        "scaling      %d runs, %.3g FLOP; %d exist already", len(plan.runs), plan.flops, len(plan.runs) - len(missing)
    )
    # Found once and kept. Python 3.11 may not parse in two threads at a time (cpython issue 106905).
    code_of(pretrain_stage.stage_version, pretrain_stage.function.__module__)
    pace, stop, lock = Pace(plan), threading.Event(), threading.Lock()
    shown_progress = StudyProgress() if road.context.as_prefect_tasks else None
    made: dict[str, Artifact] = {}

    def train(run: PlannedRun) -> None:
        reporter = RunReporter(road.context.reporter, run.name, stop)
        own = replace(road.context, reporter=reporter, results=[])
        with running(own):
            artifact = pretrain_stage(tokens=tokens, tokenizer=tokenizer, params=run.params)
        (result,) = own.results
        with lock:
            made[run.identity] = artifact
            road.context.results.append(result)
            pace.finished(run, result.seconds, result.reused)
            missing.discard(run.identity)
            left = pace.seconds_left([one for one in plan.runs if one.identity in missing])
            about = "" if left is None or not missing else f", about {duration(left / at_once)} left"
            text = f"{pace.done} of {len(plan.runs)} runs{about}"
            LOG.info("scaling      %s; last: %s", text, run.name)
            if shown_progress is not None:
                shown_progress.tell(100 * pace.share, text)

    each(train, plan.runs, at_once, stop)
    road.reached(pretrain_stage)
    return made


def each(work: Callable[[PlannedRun], None], runs: Sequence[PlannedRun], at_once: int, stop: threading.Event) -> None:
    """Work through the runs in order, `at_once` at a time. The first failure stops those that are under way."""
    if at_once == 1:
        for run in runs:
            work(run)
        return
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(copy_context().run, work, run) for run in runs]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in sorted(futures, key=lambda one: not one.done()):  # the one that failed, not the slowest first
                future.result()
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise


class RunReporter:
    """Tells of one run by its name, and ends it where the study has ended."""

    def __init__(self, inner: Any, name: str, stop: threading.Event) -> None:
        self._inner, self._name, self._stop = inner, name, stop

    def started(self, stage: str, version: str) -> None:
        self._inner.started(stage, version)

    def waiting(self, stage: str, holder: str) -> None:
        self._inner.waiting(stage, holder)

    def progress(self, stage: str, done: float, total: float, text: str) -> None:
        if self._stop.is_set():
            raise SluiceError(f"{self._name}: stopped, since another run of the study failed or it was cancelled")
        self._inner.progress(stage, done, total, f"{self._name}: {text}")

    def finished(self, result: StageResult) -> None:
        self._inner.finished(result)


class StudyProgress:
    """How far the whole study is, as a progress artifact of the run in Prefect."""

    def __init__(self) -> None:
        self._id: Any = None

    def tell(self, percent: float, text: str) -> None:
        """Show it."""
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        percent = min(percent, 100.0)
        if self._id is None:
            self._id = create_progress_artifact(percent, key="progress-scaling", description=text)
        else:
            update_progress_artifact(self._id, percent, description=text)


@flow(name="scaling")
def scaling(config: ScalingConfig) -> list[dict[str, Any]]:
    """Train a grid of small models, fit scaling laws to them and recommend a larger one."""
    with walking("scaling", config.runtime, config.run) as road:
        show_page(scaling_road(road, config, road.open(config.documents)))
    return [result_row(result) for result in road.context.results]
