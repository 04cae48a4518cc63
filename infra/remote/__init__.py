"""Files that lie elsewhere, behind `https://` or `s3://`, read by byte range as if they were here.

`access.py` says how often and how long a request is tried, `http.py` and `s3.py` each make one request, `file.py` makes
of many requests the bytes of a file that must stay the same all along, and `buffer.py` lets a reader slice and search
it without holding it.
"""

from infra.remote.access import Access, Changed, Unreachable
from infra.remote.address import file_name, is_remote, shown
from infra.remote.buffer import RemoteBuffer
from infra.remote.file import RemoteFile, Traffic, list_s3, probe, read_whole

__all__ = [
    "Access",
    "Changed",
    "RemoteBuffer",
    "RemoteFile",
    "Traffic",
    "Unreachable",
    "file_name",
    "is_remote",
    "list_s3",
    "probe",
    "read_whole",
    "shown",
]
