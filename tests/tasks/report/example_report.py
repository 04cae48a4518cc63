"""A made-up report with everything a page may hold, hostile web text included."""

import math

from tasks.report.charts import Series
from tasks.report.data import (
    Answer,
    Change,
    Node,
    Panel,
    Prediction,
    Preference,
    Quality,
    ReportData,
    Sample,
    Tally,
)
from tasks.report.funnel import FunnelRow

NASTY = "<script>alert('x')</script><img src=x onerror=alert(1)> \"quoted\" & 'apostrophe' </p></style>"
RTL = "ما هي الدالة \u202eالتي تعيد الشكل؟ \u202c"
LONG = "supercalifragilistic" * 25
CONTROL = "bell\x07 nul\x00 esc\x1b[31m surrogate \ud800 end"

_CHAIN = [
    ("sample-crawl", []),
    ("extract", ["sample-crawl"]),
    ("measure", ["extract"]),
    ("filter", ["measure"]),
    ("signatures", ["filter"]),
    ("dedup", ["signatures"]),
    ("mix", ["dedup"]),
    ("tokenizer", ["mix"]),
    ("tokens", ["mix", "tokenizer"]),
    ("pretrain", ["tokens", "tokenizer"]),
    ("chat-data", ["mix"]),
    ("sft", ["pretrain", "chat-data"]),
    ("dpo", ["sft", "chat-data"]),
    ("evaluate", ["tokens", "chat-data", "pretrain", "sft", "dpo"]),
]


def _version(stage: str) -> str:
    return f"{abs(sum(ord(c) * 7919**k for k, c in enumerate(stage, 1))) % 16**16:016x}"


def _ref(stage: str) -> str:
    return f"{stage}/{_version(stage)}"


def _row(stage, unit_in, n_in, dropped, unit_out, n_out, used=None):
    total = sum(n for _, n in dropped)
    return FunnelRow(
        stage, _version(stage), unit_in, n_in, n_in - total if used is None else used, dropped, unit_out, n_out
    )


def _nodes() -> tuple[Node, ...]:
    seconds = dict(zip([s for s, _ in _CHAIN], [21, 44, 38, 3.1, 12, 9.4, 6, 5, 4, 241, 2, 31, 27, 38], strict=True))
    return tuple(
        Node(
            stage=stage,
            version=_version(stage),
            parents=tuple((parent if parent != "chat-data" else "chat", _ref(parent)) for parent in parents),
            ended="2026-11-21 04:12",
            seconds=seconds[stage],
            cpu_seconds=seconds[stage] * 1.7,
            bytes=int(seconds[stage] * 1_234_567),
            git_sha="4f1c0de",
            git_dirty=stage == "dpo",
            stage_version=1,
            params=(("seed", "0"), ("pattern", NASTY if stage == "filter" else "x")),
            command=f"sluice stage {stage} --set seed=0",
        )
        for stage, parents in _CHAIN
    )


def _curve(start: float, end: float, steps: int, wobble: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    xs = tuple(float(k) for k in range(steps))
    ys = tuple(end + (start - end) * math.exp(-4 * k / steps) + wobble * math.sin(k * 12.9898) for k in range(steps))
    return xs, ys


def example_report() -> ReportData:
    """The example, always the same."""
    train, val = _curve(8.3, 2.9, 1800, 0.12), _curve(7.6, 3.05, 10, 0.0)
    val = (tuple(k * 190.0 for k in range(10)), val[1])
    sft, dpo = _curve(3.4, 1.9, 160, 0.05), _curve(0.6931, 0.42, 60, 0.02)
    reasons = (
        ("gopher_word_count", 412),
        ("gopher_stop_words", 133),
        ("c4_javascript", 77),
        ("fineweb_line_punctuation", 61),
        ("gopher_symbol_ratio", 40),
        ("language", 22),
        ("c4_curly_bracket", 9),
        (NASTY, 4),
    )
    funnel = (
        _row("sample-crawl", "page", 3412, (), "response", 3640),
        _row(
            "extract",
            "response",
            3640,
            (("status_404", 130), ("mime", 61), ("same_payload", 37), ("empty", 4)),
            "document",
            3408,
        ),
        _row("measure", "document", 3408, (), "document", 3408),
        _row("filter", "document", 3408, reasons, "document", 2650),
        _row("signatures", "document", 2650, (), "document", 2650),
        _row("dedup", "document", 2650, (("near", 301), ("exact", 44), ("url", 17)), "document", 2288),
        _row("mix", "document", 2288, (), "document", 2288),
        _row("tokens", "document", 2288, (), "token", 1_312_904),
        _row("chat-data", "document", 2288, (("no_question", 903),), "conversation", 4120, used=1385),
    )
    texts = [
        (
            "What does `numpy.shape` return?",
            "It returns the shape of an array.",
            "The array is the array is the array is",
        ),
        (NASTY, "The reference with " + NASTY, NASTY),
        (RTL, RTL, LONG),
        ("Why " + LONG + "?", CONTROL, ""),
    ]
    samples = tuple(
        Sample(
            question,
            reference,
            (
                Answer("base", base, 0.12, False, "length"),
                Answer("SFT", "It returns the shape of the given array.", 0.71, True, "stop"),
                Answer("DPO", "It returns the shape of an array.", 0.88, True, "stop"),
            ),
        )
        for question, reference, base in texts
    )
    return ReportData(
        evaluation=_ref("evaluate"),
        data_from="2026-09-02",
        data_until="2026-11-18",
        funnel=funnel,
        heldout="61,204 tokens, 198,113 bytes of 114 test pages",
        prediction=(
            Prediction("unigram", None, 2.981, True),
            Prediction("bigram", None, 1.893, True),
            Prediction("Witten–Bell trigram", None, 1.445, True),
            Prediction("base", _ref("pretrain"), 1.421, False),
            Prediction("SFT", _ref("sft"), 1.502, False),
            Prediction("DPO", _ref("dpo"), 1.511, False),
        ),
        panels=(
            Panel(
                "Pretraining",
                _ref("pretrain"),
                "step",
                "loss",
                (Series("train", *train, 1), Series("validation", *val, 3, True)),
            ),
            Panel("Fine-tuning", _ref("sft"), "step", "loss", (Series("train", *sft, 2),)),
            Panel("Preference tuning", _ref("dpo"), "step", "loss", (Series("train", *dpo, 3),)),
        ),
        quality=(
            Quality("base", _ref("pretrain"), "ChatML", False, 200, (0.071, 0.006), (0.0, 0.0), (0.01, 0.007)),
            Quality(
                "base", _ref("pretrain"), "Question/Answer", True, 200, (0.112, 0.008), (0.05, 0.015), (0.31, 0.03)
            ),
            Quality("SFT", _ref("sft"), "ChatML", True, 200, (0.283, 0.014), (0.84, 0.026), (0.97, 0.012)),
            Quality("DPO", _ref("dpo"), "ChatML", True, 200, (0.291, 0.014), (0.90, 0.021), (0.99, 0.007)),
        ),
        reference_exact_form=0.985,
        changes=(
            Change("rouge_l", "base", "SFT", 0.171, 0.142, 0.2, 200),
            Change("rouge_l", "SFT", "DPO", 0.008, -0.009, 0.024, 200),
            Change("rouge_l", "base", "DPO", 0.179, 0.149, 0.209, 200),
            Change("exact_form", "base", "SFT", 0.79, 0.73, 0.85, 200),
            Change("exact_form", "SFT", "DPO", 0.06, 0.02, 0.1, 200),
        ),
        preferences=(Preference(_ref("dpo"), 0.742, 0.031, 0.412, 200),),
        samples=samples,
        n_questions=200,
        tallies=(
            Tally("Rejected, by rule", "document", reasons[:8], sum(n for _, n in reasons), 8),
            Tally(
                "Sites",
                "document",
                (*((f"site{k}.docs.sample", 400 // (k + 1)) for k in range(9)), (RTL, 3), (LONG[:90], 2)),
                2288,
                41,
            ),
            Tally("Languages", "document", (("en", 2201), ("de", 40), ("ru", 24), ("ar", 14), ("unknown", 9)), 2288, 5),
        ),
        nodes=_nodes(),
        parameters=2_412_288,
        tokens_seen=3_276_800,
        machine=(("python", "3.11.9"), ("platform", "Linux x86_64, 2 cores"), ("torch", "2.13.0")),
        command="sluice run pipeline --profile demo",
    )
