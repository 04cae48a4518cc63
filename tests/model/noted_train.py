"""`python -m model.train JOB.json` that writes down, besides, which samples each rank learns from (ids-RANK.jsonl)."""

import sys
from typing import Any

from model import engine, train
from tests.model.trainer_worker import note_ids


class NotedTrainer(engine.Trainer):
    """The trainer itself, with its samples noted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        note_ids(self)


if __name__ == "__main__":
    engine.Trainer = NotedTrainer  # type: ignore[misc]
    raise SystemExit(train.main(sys.argv[1:]))
