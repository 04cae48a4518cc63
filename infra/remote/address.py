"""Addresses of remote files: what they name, and what of them may be shown.

User names, passwords and signed queries are for the server alone: `shown` is what goes into names, logs and manifests.
"""

from urllib.parse import unquote, urlsplit, urlunsplit

from infra.errors import BadInput

HTTP = ("https://", "http://")
S3 = "s3://"


def is_remote(place: str) -> bool:
    """Whether it is the address of a remote file, and not a path."""
    return place.lower().startswith((*HTTP, S3))


def is_s3(url: str) -> bool:
    """Whether it names an object of S3."""
    return url.lower().startswith(S3)


def bucket_and_key(url: str) -> tuple[str, str]:
    """The parts of `s3://bucket/key`; a key may hold any character, `?` and `#` too.

    Raises:
        BadInput: there is no bucket.
    """
    bucket, _, key = url[len(S3) :].partition("/")
    if not bucket:
        raise BadInput(f"{url}: no bucket is named; write s3://bucket/key")
    return bucket, key


def shown(url: str) -> str:
    """The address without user, password, query and fragment.

    >>> shown("https://me:secret@example.org/a.warc.gz?X-Amz-Signature=abc")
    'https://example.org/a.warc.gz'
    """
    if is_s3(url):
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def file_name(url: str) -> str:
    """The last part of the path, as a file's name; empty for an address that ends in a slash.

    >>> file_name("https://example.org/crawl/a%20b.warc.gz?sig=1")
    'a b.warc.gz'
    """
    path = bucket_and_key(url)[1] if is_s3(url) else unquote(urlsplit(url).path)
    return path.rpartition("/")[2]
