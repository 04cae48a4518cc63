"""How much personal data a text holds, by kind. Counting only: nothing is masked here."""

import ipaddress
import re

import pyarrow as pa

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("n_emails", pa.int32()),
    pa.field("n_public_ips", pa.int32()),
)

# A local part of RFC 5322 atoms and dots, and a domain of labels with a last one of letters; ASCII only. It starts only
# where no such character precedes it, so a long run of symbols is read once.
_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_EMAIL = re.compile(
    rf"(?<!{_LOCAL}){_LOCAL}{{1,64}}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.)+[A-Za-z]{{2,24}}(?![\w-])",
    re.ASCII,
)
# Four numbers with dots, not inside a longer dotted number ("1.2.3.4.5" is a version, no address).
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d|\w)", re.ASCII)
_INSIDE_IPV4 = re.compile(r"\.\d{1,3}\.", re.ASCII)  # quick to refute, and most texts have none


def signals(text: str) -> dict[str, int]:
    """How many of each kind a text holds, by the names in `SIGNALS`."""
    return {"n_emails": count_emails(text), "n_public_ips": count_public_ips(text)}


def count_emails(text: str) -> int:
    """E-mail addresses in a text."""
    if "@" not in text:
        return 0
    return sum(1 for _ in _EMAIL.finditer(text))


def count_public_ips(text: str) -> int:
    """IPv4 addresses in a text that are routed on the internet (private, loopback and example networks are not)."""
    if _INSIDE_IPV4.search(text) is None:
        return 0
    return sum(1 for match in _IPV4.finditer(text) if _is_public(match.group()))


def _is_public(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_global
    except ValueError:  # an octet above 255 or with a leading zero
        return False
