"""The fastText run: `python -m tasks.classifier.trainer SETTINGS.json`, always in a process of its own.

fastText is only reproducible with one thread. And with one thread fastText 0.9.3 draws random numbers for the first
tenth of its input matrix only: `DenseMatrix::uniform` fills a tenth a thread, and the other nine tenths stay what the
allocator returned. Where that memory was used before, models differ from run to run, or training stops with
"Encountered NaN". So glibc is told to hand out zeros, always, before anything else happens in a new process, and it is
checked that it does. (Rows that begin as zeros learn well: the gradient of an input row is made of output rows. Words
come before n-gram buckets, the frequent ones first, so they are in the tenth.)
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

M_PERTURB = -6  # <malloc.h>: memory is filled with the complement of this byte when it is handed out
ZEROS = 255
NO_THREAD_CACHE = "glibc.malloc.tcache_count=0"  # blocks from glibc's cache of small ones are not filled
CHECKED_BYTES = (24, 400, 1000, 5000, 100_000, 1_000_000)  # glibc treats sizes differently
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
    environment["GLIBC_TUNABLES"] = NO_THREAD_CACHE
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        run_child([sys.executable, "-m", "tasks.classifier.trainer", str(settings)], env=environment)
    except ChildError as error:
        raise SluiceError(f"fastText: {error}") from error


def main(settings: Path) -> None:
    """The child's work."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _zeroed_memory()
    import fasttext

    run = TrainingRun.model_validate(json.loads(settings.read_text(encoding="utf-8")))
    options = run.model_dump(exclude={"text", "model", "quantise"})
    model = fasttext.train_supervised(run.text, thread=1, verbose=0, loss="softmax", **options)
    if run.quantise:
        model.quantize(input=run.text, qnorm=True, thread=1, verbose=0)
    model.save_model(run.model)


def _zeroed_memory() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not libc.mallopt(M_PERTURB, ZEROS) or not _hands_out_zeros(libc):
        raise EnvironmentProblem(
            "the memory allocator of this process does not hand out zeros, so that a classifier would not be"
            " reproducible: it takes glibc 2.26 or later, and no other allocator preloaded (LD_PRELOAD)"
        )


def _hands_out_zeros(libc: ctypes.CDLL) -> bool:
    """Whether blocks that were written to and given back come as zeros again."""
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    for size in CHECKED_BYTES:
        used = libc.malloc(size)
        ctypes.memset(used, 0x5A, size)
        libc.free(used)
        block = libc.malloc(size)
        clean = not any(ctypes.string_at(block, size))
        libc.free(block)
        if not clean:
            return False
    return True


def _leave_with_parent() -> None:
    while os.read(0, 4096):
        continue
    os._exit(1)  # nothing to save: a run is short and starts over


if __name__ == "__main__":
    main(Path(sys.argv[1]))
