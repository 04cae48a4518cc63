"""A model as a folder that others load: the files of a model artifact, and where they come from."""

import json
import shutil
from pathlib import Path

from infra.errors import BadInput
from infra.store import Artifact

MODEL = "model/"  # of a model artifact: the folder that transformers loads
ORIGIN = "sluice.json"  # which artifact the folder was written from, and its whole lineage


def export_model(artifact: Artifact, folder: Path) -> list[str]:
    """Copy a model's files to `folder`; returns their names.

    Raises:
        BadInput: not a model, or a folder that holds something already.
    """
    entries = artifact.files(MODEL)
    if not entries:
        raise BadInput(f"{artifact.ref} is not a model; export one of pretrain, sft, dpo or imported-model")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists and is not an empty folder; choose another")
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        shutil.copyfile(artifact.file(entry.path), folder / entry.path.removeprefix(MODEL))
    lineage = {one.ref: one.manifest.parents for one in artifact.ancestors()}
    (folder / ORIGIN).write_text(json.dumps({"ref": artifact.ref, "lineage": lineage}, indent=2) + "\n")
    return [entry.path.removeprefix(MODEL) for entry in entries] + [ORIGIN]
