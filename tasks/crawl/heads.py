"""The first bytes of a file: enough to tell whether it is one of a crawl."""

from pathlib import Path

from infra.errors import BadInput

HEAD_BYTES = 8192


def head_of(path: Path) -> bytes:
    """The first bytes of a file on this machine.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def looks_right(head: bytes) -> bool:
    """Whether a file that begins with these bytes can be one of a crawl."""
    from tasks.extract.records import format_of

    return format_of(head) is not None


def check_head(where: str, head: bytes) -> None:
    """Refuse a file that is none of a crawl.

    Raises:
        BadInput: it is empty or something else.
    """
    if not head:
        raise BadInput(f"{where}: the file is empty; remove it or fetch it again")
    if not looks_right(head):
        raise BadInput(
            f"{where}: not a WARC file (it does not begin with a WARC or ARC record); remove it from the crawl"
        )
