"""One rank that runs several training jobs after each other; started by `test_train.py` as a process of its own.

Usage: RANK=… python trainer_worker.py PLAN.json; the plan is a list of {"job": path, "fail_at": step or null}, or of
{"job": path, "refused": true} for one that must not begin: what it says goes to refused.txt in the job's folder.
Which samples a rank was given at which step is written to ids-RANK.jsonl in the job's folder.
Starting torch and DeepSpeed costs seconds, so tests that need no fresh process share one.
"""

import gc
import json
import sys
from pathlib import Path

import torch

from model.train import start_process_group


class Interruption(Exception):
    """Stands for whatever ends a run between two steps."""


def note_ids(trainer) -> None:
    """Write down every sample that is learnt from: (step, stream, rows)."""
    path = trainer.job.work.folder / f"ids-{trainer.rank}.jsonl"
    for stream, objective in enumerate(trainer.streams):

        def noted(samples, step=0, stream=stream, micro_batch=objective.micro_batch):
            with path.open("a") as file:
                file.write(json.dumps([step, stream, [one for one in samples if one is not None]]) + "\n")
            return micro_batch(samples, step)

        objective.micro_batch = noted


def main(plan: Path) -> None:
    start_process_group(threads=1)
    from model.engine import Trainer
    from model.job import Job

    for entry in json.loads(plan.read_text()):
        job = Job.model_validate_json(Path(entry["job"]).read_text())
        job.work.folder.mkdir(parents=True, exist_ok=True)
        if entry.get("refused"):
            try:
                Trainer(job, say=print)
            except ValueError as error:
                (job.work.folder / "refused.txt").write_text(str(error))
            continue
        trainer = Trainer(job, say=lambda text: print(text, flush=True))
        note_ids(trainer)
        if entry.get("fail_at"):
            step = trainer._step

            def interrupted(step=step, trainer=trainer, fail_at=entry["fail_at"]):
                if trainer.state.step == fail_at:
                    raise Interruption
                return step()

            trainer._step = interrupted
        try:
            trainer.run()
            trainer.export()
        except Interruption:
            pass
        trainer.engine.destroy()
        del trainer
        gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
