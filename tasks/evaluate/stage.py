"""The `evaluate` stage: measure models on held-out pages, one table of scores and every answer beside them.

    scores       a row a (model, task, metric): value, standard error, over how many, hashes of task and tokenizer
    answers      every question with every model's answer and its measures; `counted`: the way of asking that counts
    differences  paired differences of models on the same questions, with 95 % intervals

All of it runs in this process, in fp32; `measure.py` says on what. Values are rounded to DECIMALS, beyond which another
number of threads would show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from infra.canonical import file_sha256
from infra.errors import BadInput
from infra.params import Params, Runtime
from infra.process import usable_cores
from infra.stage import Draft, stage
from infra.store import Artifact
from tasks.encoding import TOKENIZER_FILE, Encoder
from tasks.evaluate import answers as asking
from tasks.evaluate import prediction, preferences
from tasks.evaluate.form import form
from tasks.evaluate.measure import Measured, Work, measure_all
from tasks.evaluate.models import compared, context_length, in_road_order
from tasks.evaluate.statistics import Mean, mean, paired_difference
from tasks.ngrams import ngram_log2_probabilities
from tasks.tokenizer import vocabulary_of
from tasks.tokens.files import Tokens, prefixes, read_index, token_files
from tasks.training import Model, model_config

SCORES = pa.schema(
    [
        ("model", pa.string()),  # a reference; of a baseline its name; "reference" for the reference answers
        ("stage", pa.string()),
        ("task", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("stderr", pa.float64()),
        ("n", pa.int64()),
        ("task_hash", pa.string()),
        ("tokenizer_hash", pa.string()),
    ]
)
ANSWERS = pa.schema(
    [
        ("question_id", pa.int64()),  # line of the held-out file, from 0
        ("question", pa.string()),
        ("reference", pa.string()),
        ("model", pa.string()),
        ("stage", pa.string()),
        ("prompt", pa.string()),  # chatml or plain
        ("counted", pa.bool_()),
        ("answer", pa.string()),
        ("rouge_l", pa.float64()),
        ("exact_form", pa.bool_()),
        ("finish_reason", pa.string()),  # stop or length
    ]
)
DIFFERENCES = pa.schema(
    [
        ("task", pa.string()),
        ("metric", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("value", pa.float64()),
        ("stderr", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("task_hash", pa.string()),
    ]
)
QUESTIONS_FILE = "test.jsonl"
PAIRS_FILE = "preferences-test.jsonl"
DECIMALS = 6
HELDOUT_TASK, ANSWERS_TASK, PREFERENCES_TASK, CHOICES_TASK = "heldout", "answers", "preferences", "choices"
DIFFERENCE_METRICS = ("rouge_l", "exact_form")


class ChatData(Artifact):
    """Role: conversations and preference pairs."""

    accepts = ("chat-data",)


class EvaluateParams(Params):
    """What is measured, and on how much."""

    split: Literal["validation", "test"] = Field("test", description="Held-out split whose text is predicted.")
    heldout_tokens: int = Field(
        1_000_000, ge=1, description="Tokens to predict; of more, evenly spaced documents are taken."
    )
    ngram_tokens: int = Field(
        50_000_000, ge=1, description="Training tokens that the n-gram baselines are counted on, from the first."
    )
    questions: int = Field(1000, ge=0, description="Held-out questions to ask, evenly spaced in their file.")
    context: int = Field(
        2048,
        ge=8,
        description="Longest window to predict held-out text in, in tokens; a model that takes fewer has its own.",
    )
    max_new_tokens: int = Field(128, ge=1, description="Tokens after which an answer is cut off.")
    pairs: int = Field(1000, ge=0, description="Held-out preference pairs to rank, evenly spaced in their file.")
    seed: int = Field(0, description="Seed of the bootstrap intervals.")


@dataclass
class Ledger:
    """The rows written so far."""

    tokenizer_hash: str
    scores: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)

    def score(self, model: str, stage_name: str, task: str, metric: str, value: Mean, task_hash: str) -> None:
        """Add one score."""
        self.scores.append(
            {
                "model": model,
                "stage": stage_name,
                "task": task,
                "metric": metric,
                "value": round(value.value, DECIMALS),
                "stderr": None if value.stderr is None else round(value.stderr, DECIMALS),
                "n": value.n,
                "task_hash": task_hash,
                "tokenizer_hash": self.tokenizer_hash,
            }
        )


@stage(
    "evaluate",
    version=3,
    libraries=("torch", "tokenizers"),
    tables={"scores": SCORES, "answers": ANSWERS, "differences": DIFFERENCES},
)
def evaluate(
    tokens: Tokens, chat: ChatData, models: list[Model], params: EvaluateParams, runtime: Runtime, out: Draft
) -> None:
    """Measure each model: held-out bits per byte beside n-grams, answers to held-out questions, choices, preferences.

    Raises:
        BadInput: a model writes no text, has another tokenizer than the tokens, or no room for a question; a file of
            `chat` cannot be read.
    """
    ordered = in_road_order({model.ref: model for model in models}.values())
    tokenizer = vocabulary_of(tokens).folder / TOKENIZER_FILE
    encoder, tokenizer_hash = Encoder.load(tokenizer.parent), file_sha256(tokenizer)[:16]
    for model in ordered:
        model_config(model)
        if file_sha256(model.folder / TOKENIZER_FILE)[:16] != tokenizer_hash:
            raise BadInput(f"{model.ref} has another tokenizer than {tokens.ref}; evaluate it on its own tokens")
    heldout = _heldout(tokens, encoder, params, out)
    questions, n_questions, too_long = _questions(chat, ordered, encoder, params, out)
    pairs, choices = _pairs(chat, ordered, encoder, params, out)
    ledger = Ledger(tokenizer_hash)
    if heldout is not None:
        _score_ngrams(tokens, heldout, encoder, params, ledger)
    work = Work(encoder, heldout, questions, pairs, choices, params.max_new_tokens, params.context)
    measured = measure_all(ordered, work, runtime.cores or usable_cores(), out.progress)
    for model, found in zip(ordered, measured, strict=True):
        _score_model(model, found, work, ledger)
        out.metrics.setdefault("parameters", {})[model.ref] = found.parameters
    if questions:
        _score_answers(ordered, questions, [found.answers for found in measured], params, ledger)
    for name, rows, schema in (
        ("scores", ledger.scores, SCORES),
        ("answers", ledger.answers, ANSWERS),
        ("differences", ledger.differences, DIFFERENCES),
    ):
        out.write(name, pa.Table.from_pylist(rows, schema=schema))
    dropped = {"not_sampled": n_questions - len(questions) - too_long, "too_long": too_long}
    out.count("questions", n_questions, dropped=dropped, out=len(ledger.answers), out_unit="answers")
    for row in ledger.scores:
        if row["metric"] in ("bits_per_byte", "rouge_l"):
            out.metrics.setdefault(row["metric"], {})[f"{row['model']} {row['task']}"] = row["value"]


# -- the tasks --------------------------------------------------------------------------------------------------------


def _heldout(tokens: Tokens, encoder: Encoder, params: EvaluateParams, out: Draft) -> prediction.HeldOut | None:
    """The text to predict; None when the split is empty."""
    from model.indexed import IndexedDataset

    if not any(entry["split"] == params.split and entry["n_bytes"] for entry in read_index(tokens)["files"]):
        out.log.warning("%s holds no %s text: bits per byte are not measured", tokens.ref, params.split)
        return None
    files = [IndexedDataset(prefix) for prefix in prefixes(tokens, token_files(tokens, params.split))]
    heldout = prediction.take_heldout(files, prediction.token_bytes(encoder), params.heldout_tokens)
    out.metrics["heldout"] = {
        "split": params.split,
        "documents": len(heldout.n_bytes),
        "tokens": int(heldout.is_text.sum()),
        "bytes": heldout.total_bytes,
    }
    return heldout


def _score_ngrams(
    tokens: Tokens,
    heldout: prediction.HeldOut,
    encoder: Encoder,
    params: EvaluateParams,
    ledger: Ledger,
) -> None:
    """Unigram, bigram and Witten-Bell trigram on the same tokens."""
    from model.indexed import IndexedDataset

    pieces: list[np.ndarray] = []
    room = params.ngram_tokens
    for prefix in prefixes(tokens, token_files(tokens, "train")):
        pieces.append(np.asarray(IndexedDataset(prefix).tokens[:room]))
        room -= len(pieces[-1])
        if room <= 0:
            break
    scores = ngram_log2_probabilities(np.concatenate(pieces), heldout.tokens, encoder.vocab_size)
    for name, log2 in scores.items():
        value = prediction.bits_per_byte(-log2, heldout)
        ledger.score(name, "baseline", HELDOUT_TASK, "bits_per_byte", value, prediction.task_hash(heldout))


def _questions(
    chat: ChatData, models: Sequence[Model], encoder: Encoder, params: EvaluateParams, out: Draft
) -> tuple[list[asking.Question], int, int]:
    """(questions that fit every model in both ways of asking, how many there are in all, how many were too long)."""
    chosen, total = asking.read_questions(chat.file(QUESTIONS_FILE), params.questions)
    shortest = min(models, key=context_length)
    room = context_length(shortest) - params.max_new_tokens
    if chosen and room <= 0:
        raise BadInput(
            f"evaluate.max_new_tokens: {params.max_new_tokens} tokens of an answer leave no room for a question in the"
            f" {context_length(shortest)} that {shortest.ref} takes: lower it, or ask no questions (questions: 0)"
        )
    fitting = [
        question
        for question in chosen
        if max(len(asking.prompt_ids(encoder, question, style)) for style in (asking.CHATML, asking.PLAIN)) <= room
    ]
    if too_long := len(chosen) - len(fitting):
        told = "%d of %d questions are not asked: with an answer they are longer than the %d tokens that %s takes"
        out.log.warning(told, too_long, len(chosen), context_length(shortest), shortest.ref)
    return fitting, total, too_long


def _pairs(
    chat: ChatData, models: Sequence[Model], encoder: Encoder, params: EvaluateParams, out: Draft
) -> tuple[list[tuple[preferences.Rendered, preferences.Rendered]], list[preferences.Choice]]:
    """Held-out preference pairs that fit every model: as chat models see them, and as base models choose."""
    if not chat.files(PAIRS_FILE):
        return [], []
    chosen, _ = preferences.read_pairs(chat.file(PAIRS_FILE), params.pairs)
    room = min(context_length(model) for model in models)
    rendered = [preferences.sequences(encoder, pair) for pair in chosen]
    choices = [preferences.choice(encoder, pair) for pair in chosen if pair.is_choice]
    fitting = [pair for pair in rendered if max(len(side.ids) for side in pair) <= room]
    chosen_from = [one for one in choices if one.longest <= room]
    too_long = {PREFERENCES_TASK: len(rendered) - len(fitting), CHOICES_TASK: len(choices) - len(chosen_from)}
    if any(too_long.values()):
        out.metrics["pairs_too_long"] = too_long
    return fitting, chosen_from


def _score_answers(
    models: Sequence[Model],
    questions: Sequence[asking.Question],
    answers: Sequence[dict[str, list[asking.Scored]]],
    params: EvaluateParams,
    ledger: Ledger,
) -> None:
    """Figures of each way of asking, every answer, and the differences between models."""
    hashes = {
        style: asking.task_hash(ANSWERS_TASK, style, questions, params.max_new_tokens)
        for style in (asking.CHATML, asking.PLAIN)
    }
    references = mean([float(form(question.reference, ended=True).exact) for question in questions])
    task = f"{ANSWERS_TASK}.{asking.CHATML}"
    ledger.score("reference", "reference", task, "exact_form", references, hashes[asking.CHATML])
    given = {model.ref: found for model, found in zip(models, answers, strict=True)}
    counted = {model.ref: asking.better_style(given[model.ref]) for model in models}
    for model in models:
        for style, scored in given[model.ref].items():
            for metric, value in asking.figures(scored).items():
                task = f"{ANSWERS_TASK}.{style}"
                ledger.score(model.ref, model.stage, task, metric, value, hashes[style])
            for question, answer in zip(questions, scored, strict=True):
                ledger.answers.append(
                    {
                        "question_id": question.number,
                        "question": question.text,
                        "reference": question.reference,
                        "model": model.ref,
                        "stage": model.stage,
                        "prompt": style,
                        "counted": style == counted[model.ref],
                        "answer": answer.answer,
                        "rouge_l": round(answer.rouge_l, DECIMALS),
                        "exact_form": answer.exact_form,
                        "finish_reason": answer.finish_reason,
                    }
                )
    for metric in DIFFERENCE_METRICS:
        for before, after in compared(models):
            old, new = (asking.values_of(given[ref][counted[ref]], metric) for ref in (before, after))
            found = paired_difference(old, new, params.seed)
            ledger.differences.append(
                {
                    "task": ANSWERS_TASK,
                    "metric": metric,
                    "before": before,
                    "after": after,
                    "value": round(found.value, DECIMALS),
                    "stderr": None if found.stderr is None else round(found.stderr, DECIMALS),
                    "low": round(found.low, DECIMALS),
                    "high": round(found.high, DECIMALS),
                    "n": found.n,
                    "task_hash": hashes[asking.CHATML],
                }
            )


def _score_model(model: Model, found: Measured, work: Work, ledger: Ledger) -> None:
    """What was measured on one model alone: prediction and preferences."""
    if work.heldout is not None and found.bits is not None:
        value, task_hash = prediction.bits_per_byte(found.bits, work.heldout), prediction.task_hash(work.heldout)
        ledger.score(model.ref, model.stage, HELDOUT_TASK, "bits_per_byte", value, task_hash)
    if found.margins is not None:
        task_hash = preferences.task_hash(work.pairs)
        won = mean((found.margins > 0).astype(float).tolist())
        ledger.score(model.ref, model.stage, PREFERENCES_TASK, "accuracy", won, task_hash)
        margin = mean(found.margins.tolist())
        ledger.score(model.ref, model.stage, PREFERENCES_TASK, "margin", margin, task_hash)
    if found.chosen is not None:
        task_hash = preferences.task_hash([one.asked for one in work.choices], CHOICES_TASK)
        for metric, scores in (("accuracy", found.chosen.a_byte), ("accuracy_pmi", found.chosen.gain)):
            right = mean((scores[:, 0] > scores[:, 1]).astype(float).tolist())
            ledger.score(model.ref, model.stage, CHOICES_TASK, metric, right, task_hash)
        bits = mean((-found.chosen.a_byte[:, 0] / math.log(2)).tolist())
        ledger.score(model.ref, model.stage, CHOICES_TASK, "answer_bits_per_byte", bits, task_hash)
