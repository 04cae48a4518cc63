"""IPv4 and IPv6 addresses that are routed on the internet: only those can stand for a person.

Private, loopback, documentation and other special networks (IANA IPv4 and IPv6 Special-Purpose Address Registries) are
nobody's. Four small numbers with dots are more often a version or a section ("4.2.11.3") than an address, so that
these need a word before them that says so; see `_looks_like_version`.
"""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network

from tasks.pii.match import Match, before

SPECIAL_IPV4 = tuple(
    (int(network.network_address), int(network.broadcast_address))
    for network in map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
# All that is given out lies in 2000::/3 (IANA IPv6 Global Unicast Address Space); these networks of it are special.
SPECIAL_IPV6 = tuple(
    (int(network.network_address), int(network.broadcast_address))
    for network in map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20"))
)

# What is looked for begins with one certain character, which is quick; then the address around it is read.
_INSIDE_IPV4 = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
# Four numbers with dots, not inside a longer dotted number ("1.2.3.4.5" is a version, no address).
QUAD = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?[0-9]|\w)")
_INSIDE_IPV6 = re.compile(r":(?=[0-9a-fA-F]{0,4}:)")
_FIRST_GROUP = 4  # digits of the first group of an address in 2000::/3
_IPV6 = re.compile(r"(?<![\w.])[23][0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?![\w])")
# A colon before an address is a label's ("IPv6:", "ip:"), which is no group of one itself.
_LABEL_BEFORE = re.compile(r"(?<![\w:.])(?=[\w-]*[G-Zg-z])[\w-]{1,24}:\Z", re.ASCII)
_LABEL_CHARS = 26  # of such a label, its colon and what stands before it
MIN_IPV6_GROUPS = 3  # written ones: "2600::" is a network, "[2000::5]" a slice of an array

VERSION_SHAPED = 32  # three of four numbers below it: 0.7 % of random addresses, nearly all versions and sections
MIN_REPEATED = 5  # 8.8.8.8 and 9.9.9.9 are name servers; no section has such a number, though 4.4.4.4 was seen
_VERSION_BEFORE = re.compile(
    r"(?:\b(?:v|vers?|versions?|releases?|rel|rev(?:ision)?|build|firmware|driver|update|patch|sections?|sect?|chapters?|"
    r"clauses?|appendix|annex|tables?|figures?|fig|paragraphs?|articles?|rules?|items?|rfc ?[0-9]+,?|oid|"
    r"(?:up|down)graded? to|since)|§)[.:]?[\s:=(]*(?:(?:number|no\.?|is|was|to|of|[<>=~^]+)[\s:=]*){0,2}\Z",
    re.IGNORECASE,
)
_ADDRESS_BEFORE = re.compile(
    r"(?:\b(?:ip|ipv4|ip[- ]addr(?:ess)?|addr(?:ess)?|dns|name ?server|resolver|server|host|hostname|ping|gateway|"
    r"router|subnet|network|proxy|client|remote|peer|traceroute|nslookup|whois|"
    r"connect(?:ed|s|ing)? (?:to|from)|dig)(?:e?s)?\b"
    r"[\s:=(\"'`,]*(?:(?:is|are|was|at|like|of)\b[\s:=(\"'`]*)?(?:[0-9]+(?:\.[0-9]+){3}[\s,;/]*(?:and|or)?\s*){0,3}"
    r"|://|@)\Z",
    re.IGNORECASE,
)
_ADDRESS_AFTER = re.compile(r"/[0-9]{1,2}(?![\w/.])|:[0-9]{2,5}(?![\w:])")  # a prefix length, a port
_PREFIX = re.compile(r"/([12]?[0-9]|3[01])(?![\w/.])")
_PACKAGE_AFTER = re.compile(
    r"[+~-][A-Za-z]|\.(?:tar|t?gz|zip|bz2|xz|exe|dll|deb|rpm|jar|msi|dmg|whl|iso|html?|so|el[0-9])\b"
)


def find_ipv4(text: str) -> Iterator[Match]:
    """Every public IPv4 address of a text."""
    for inside in _INSIDE_IPV4.finditer(text):
        found = QUAD.search(text, max(0, inside.start() - 3), inside.end() + 4)
        if found is None:
            continue
        octets = [int(octet) for octet in found[0].split(".")]
        if not _is_public_ipv4(found[0], octets) or _is_network(text, found.end(), octets):
            continue
        if not _looks_like_version(text, found.start(), found.end(), octets):
            yield Match(found.start(), found.end(), "ipv4")


def find_ipv6(text: str) -> Iterator[Match]:
    """Every public IPv6 address of a text."""
    for inside in _INSIDE_IPV6.finditer(text):
        found = _IPV6.match(text, max(0, inside.start() - _FIRST_GROUP))
        if found is None or not _may_begin_ipv6(text, found.start()):
            continue
        written = found[0]
        if written.endswith(":") and not written.endswith("::"):  # the sentence's colon
            written = written[:-1]
        if sum(map(bool, written.split(":"))) < MIN_IPV6_GROUPS:
            continue
        try:
            address = int(IPv6Address(written))
        except AddressValueError:
            continue
        if not any(first <= address <= last for first, last in SPECIAL_IPV6):
            yield Match(found.start(), found.start() + len(written), "ipv6")


def _may_begin_ipv6(text: str, start: int) -> bool:
    """Whether no group of a longer row of groups stands before."""
    return text[start - 1 : start] != ":" or _LABEL_BEFORE.search(before(text, start, _LABEL_CHARS)) is not None


def _is_public_ipv4(written: str, octets: list[int]) -> bool:
    if max(octets) > 255 or any(part[0] == "0" and len(part) > 1 for part in written.split(".")):
        return False
    address = int.from_bytes(bytes(octets), "big")
    return not any(first <= address <= last for first, last in SPECIAL_IPV4)


def _is_network(text: str, end: int, octets: list[int]) -> bool:
    """Whether a prefix length follows and nothing but zeros is left for a host: 198.41.0.0/16."""
    prefix = _PREFIX.match(text, end)
    return prefix is not None and int.from_bytes(bytes(octets), "big") % (1 << max(0, 32 - int(prefix[1]))) == 0


def _looks_like_version(text: str, start: int, end: int, octets: list[int]) -> bool:
    """Whether what surrounds four numbers, or their size, says that they are no address."""
    previous, earlier = text[start - 1 : start], text[start - 2 : start - 1] if start > 1 else ""
    if previous and previous in "-/" and (earlier.isalpha() or earlier == "_"):  # linux-4.2.11.3, Chrome/90.0.44.93
        return True
    lead = before(text, start)
    if _PACKAGE_AFTER.match(text, end) or _VERSION_BEFORE.search(lead):
        return True
    if sum(octet < VERSION_SHAPED for octet in octets) < 3 or (len(set(octets)) == 1 and octets[0] >= MIN_REPEATED):
        return False
    return not (_ADDRESS_BEFORE.search(lead) or _ADDRESS_AFTER.match(text, end))
