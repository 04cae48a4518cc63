"""FineWeb's recipe in datatrove, from WARC files to the documents that its filters leave. Runs in datatrove's own venv.

    LANGUAGE_MODEL=lid.176.ftz python datatrove_curation.py WARC_FOLDER OUTPUT_FOLDER TASKS WORKERS

The steps are those of datatrove's examples/fineweb.py up to deduplication. Two settings are ours: the language model is
the file that Sluice uses, and a page may take a minute, since the default of one second of wall time loses pages
whenever the machine is busy. URL lists are left out on both sides.
"""

import os
import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.lid import FT176LID

FT176LID.MODEL_URL = os.environ["LANGUAGE_MODEL"]  # here, since datatrove's workers import this module anew

LANGUAGE_THRESHOLD = 0.65
PAGE_SECONDS = 60


def main(warcs: str, output: str, tasks: int, workers: int) -> None:
    LocalPipelineExecutor(
        pipeline=[
            WarcReader(warcs, glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=True, timeout=PAGE_SECONDS),
            LanguageFilter(["en"], language_threshold=LANGUAGE_THRESHOLD),
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
            JsonlWriter(f"{output}/documents"),
        ],
        tasks=tasks,
        workers=workers,
        logging_dir=f"{output}/logs",
    ).run()


if __name__ == "__main__":
    warcs, output, tasks, workers = sys.argv[1:]
    main(warcs, output, int(tasks), int(workers))
