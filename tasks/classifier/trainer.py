"""The fastText run: `python -m tasks.classifier.trainer SETTINGS.json`, always in a process of its own.

fastText is only reproducible with one thread. And with one thread fastText 0.9.3 draws random numbers for the first
tenth of its input matrix only: `DenseMatrix::uniform` fills a tenth a thread, and the other nine tenths stay what the
allocator returned. In a process that has freed memory before, these are old bytes: models differ from run to run, or
training stops with "Encountered NaN". So the allocator is told to take every large block fresh from the kernel, which
hands out zeros, before anything else happens in a new process. (Rows that begin as zeros learn well: the gradient of an
input row is made of output rows. Words come before n-gram buckets, the frequent ones first, so they are in the tenth.)
"""

import ctypes
import json
import os
import sys
import threading
from pathlib import Path

from infra.errors import EnvironmentProblem, SluiceError
from infra.launch import ChildError, run_child
from infra.params import Params

M_MMAP_THRESHOLD, M_PERTURB = -3, -6  # <malloc.h>
FRESH_BYTES = 1 << 14  # blocks from this size on come as zeros
REPOSITORY = Path(__file__).resolve().parents[2]


class TrainingRun(Params):
    """What one run of fastText is told. Names are fastText's."""

    text: str
    model: str
    lr: float
    dim: int
    epoch: int
    minCount: int  # noqa: N815
    wordNgrams: int  # noqa: N815
    minn: int
    maxn: int
    bucket: int
    seed: int
    quantise: bool


def train(run: TrainingRun, scratch: Path) -> None:
    """Train in a child process that ends with us.

    Raises:
        SluiceError: fastText failed; the message has its last words.
    """
    settings = scratch / "fasttext.json"
    settings.write_text(run.model_dump_json(), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        run_child([sys.executable, "-m", "tasks.classifier.trainer", str(settings)], env=environment)
    except ChildError as error:
        raise SluiceError(f"fastText: {error}") from error


def main(settings: Path) -> None:
    """The child's work."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _fresh_memory_only()
    import fasttext

    run = TrainingRun.model_validate(json.loads(settings.read_text(encoding="utf-8")))
    options = run.model_dump(exclude={"text", "model", "quantise"})
    model = fasttext.train_supervised(run.text, thread=1, verbose=0, loss="softmax", **options)
    if run.quantise:
        model.quantize(input=run.text, qnorm=True, thread=1, verbose=0)
    model.save_model(run.model)


def _fresh_memory_only() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        raise EnvironmentProblem("training a classifier needs glibc's allocator (mallopt), which this system lacks")
    if not (libc.mallopt(M_MMAP_THRESHOLD, FRESH_BYTES) and libc.mallopt(M_PERTURB, 0)):
        raise EnvironmentProblem("glibc refused the allocator settings that make classifier training reproducible")


def _leave_with_parent() -> None:
    while os.read(0, 4096):
        continue
    os._exit(1)  # nothing to save: a run is short and starts over


if __name__ == "__main__":
    main(Path(sys.argv[1]))
