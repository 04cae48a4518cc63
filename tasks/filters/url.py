"""Signals of a page's address: what rules on hosts and paths need, without any list."""

import ipaddress
import re
from urllib.parse import urlsplit

_TOKEN = re.compile(r"[^\W_]+")


def url_signals(url: str | None) -> dict[str, str | int | bool | None]:
    """Signals of one URL; all None when there is none or when it has no host.

    Returns:
        `url_chars`; `url_host`, lower-cased, without port; `url_host_labels`, how many labels the host has;
        `url_top_label`, the last of them, None for an address; `url_host_is_ip`; `url_path_depth`, non-empty segments
        of the path; `url_query_chars`.
    """
    parts = _split(url)
    if url is None or parts is None:
        return dict.fromkeys(URL_SIGNALS)
    host, path, query = parts
    is_ip = _is_ip(host)
    labels = [label for label in host.split(".") if label]
    return {
        "url_chars": len(url),
        "url_host": host,
        "url_host_labels": 1 if is_ip else len(labels),
        "url_top_label": None if is_ip or not labels else labels[-1],
        "url_host_is_ip": is_ip,
        "url_path_depth": sum(1 for segment in path.split("/") if segment),
        "url_query_chars": len(query),
    }


URL_SIGNALS = (
    "url_chars",
    "url_host",
    "url_host_labels",
    "url_top_label",
    "url_host_is_ip",
    "url_path_depth",
    "url_query_chars",
)


def url_tokens(url: str) -> list[str]:
    """The words of a URL, lower-cased: word lists are lower case, and a URL in capitals must not slip past them."""
    return _TOKEN.findall(url.lower())


def _split(url: str | None) -> tuple[str, str, str] | None:
    """(host, path, query), or None where there is no readable host."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:  # an unbalanced bracket, for one: urlsplit refuses what a crawler may still have fetched
        return None
    return (host.lower(), parts.path, parts.query) if host else None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
