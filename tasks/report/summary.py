"""The page's figures for programs: `summary.json`. It holds no timing, so equal runs write equal bytes."""

from typing import Any

from tasks.report.data import ReportData


def summary(report: ReportData) -> dict[str, Any]:
    """A report's figures as plain JSON values."""
    return {
        "evaluation": report.evaluation,
        "data_from": report.data_from,
        "data_until": report.data_until,
        "parameters": report.parameters,
        "tokens_seen": report.tokens_seen,
        "funnel": [
            {
                "ref": row.ref,
                "in": {"unit": row.unit_in, "n": row.n_in},
                "used": row.used,
                "dropped": dict(row.dropped),
                "out": {"unit": row.unit_out, "n": row.n_out},
            }
            for row in report.funnel
        ],
        "gaps": list(report.gaps),
        "bits_per_byte": {row.ref or row.name: row.bits_per_byte for row in report.prediction},
        "answers": [
            {
                "model": row.ref,
                "prompt": row.prompt,
                "counted": row.counted,
                "n": row.n,
                **{
                    name: {"mean": figure[0], "stderr": figure[1]}
                    for name, figure in (
                        ("rouge_l", row.rouge_l),
                        ("exact_form", row.exact_form),
                        ("ended", row.ended),
                    )
                },
            }
            for row in report.quality
        ],
        "changes": [
            {
                "metric": row.metric,
                "before": row.before,
                "after": row.after,
                "difference": row.value,
                "interval_95": [row.low, row.high],
                "n": row.n,
            }
            for row in report.changes
        ],
        "preferences": {
            row.ref: {"accuracy": row.accuracy, "stderr": row.stderr, "margin": row.margin, "n": row.n}
            for row in report.preferences
        },
    }
