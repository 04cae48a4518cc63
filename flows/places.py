"""What users name on the command line and in configurations: references to artifacts, files and folders."""

from collections.abc import Sequence
from pathlib import Path

from infra.errors import BadInput
from infra.stage import Source
from infra.store import Artifact, Store
from infra.store.digests import DigestCache
from infra.store.store import TAG
from tasks.classifier.text_files import open_texts


def split_places(values: Sequence[str], store: Store) -> tuple[list[Artifact], Source | None]:
    """References among some values as artifacts, and the rest as files of texts (None when there are none).

    Raises:
        BadInput: a reference names nothing, or a file is missing.
    """
    artifacts = [store.open(value) for value in values if is_reference(value, store)]
    files = [value for value in values if not is_reference(value, store)]
    return artifacts, open_texts(files, store.digest_cache()) if files else None


def is_reference(value: str, store: Store) -> bool:
    """Whether a value reads as `stage@tag` or `stage/version` of a stage in the store, and not as a path."""
    stage, at, tag = value.partition("@")
    stage, _, version = (stage, "", "") if at else value.partition("/")
    well_formed = TAG.fullmatch(tag) is not None if at else "." not in version  # a dot there: a file in a folder
    return well_formed and stage in store.stages() and not Path(value).exists()


def files_of(values: Sequence[str], digests: DigestCache) -> Source:
    """Files, and all files directly in folders (hidden ones left out).

    Raises:
        BadInput: one of them is missing, or a folder is empty.
    """
    found: list[Path] = []
    for value in values:
        path = Path(value).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
            if not inside:
                raise BadInput(f"{value}: no file in this folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(f"{value}: no such file or folder, and no artifact of that name in the store")
    return Source.of_files(found, digests)
