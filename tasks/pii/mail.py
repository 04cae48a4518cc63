"""E-mail addresses, in ASCII or any other script, and those written as "ann (at) host (dot) org".

Every "@" is looked at once, to both sides: the domain must end in a top-level domain that exists (the public suffix
list that tldextract ships), which is what keeps out `icon@2x.png`, `getty@tty1.service` and `left@right.shape`. The
local part (RFC 5322 3.4.1 dot-atom, RFC 6531 for other scripts) is read without the symbols that in running text are
nearly always punctuation: `mailto=ann@x.org` is about ann@x.org. Quoted local parts and address literals are not read.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from tasks.pii.match import Match

PSEUDONYM = re.compile(r"user[0-9]{4}@example\.com")  # what tasks/pii/replace.py puts in the place of an address

MAX_LOCAL, MAX_LABEL, MAX_DOMAIN = 64, 63, 253  # octets (RFC 5321 4.5.3.1, RFC 1035 2.3.4), here characters
_LOCAL_SYMBOLS = frozenset(".+-%&'~")
_DOMAIN = re.compile(rf"[\w.-]{{3,{MAX_DOMAIN}}}")
_ASCII_DOMAIN = re.compile(rf"[A-Za-z0-9.-]{{3,{MAX_DOMAIN}}}")
_LAST_LATIN = "\u024f"  # end of Latin Extended-B
# "https://name:word@host": a login, not an address of mail
_LOGIN = re.compile(r"://[^\s/@]{0,64}\Z")
_REPOSITORY = re.compile(r"[:/][\w~/.-]")  # git@host:owner/name
_REPOSITORY_USERS = frozenset({"git", "hg", "svn"})

_AT = re.compile(r"[\[({<] ?at ?[\])}>]", re.IGNORECASE)
# Quick looks that keep the pattern away from nearly every text; that each begins with fixed letters makes them quick.
_AT_CLOSED = (re.compile(r"at ?[\])}>]"), re.compile(r"AT ?[\])}>]"))
_DOT = re.compile(r" ?[\[({<] ?(?:dot|\.) ?[\])}>] ?", re.IGNORECASE)
_LOCAL_BEFORE_AT = re.compile(rf"(?<![\w.+-])\w[\w.+-]{{0,{MAX_LOCAL - 1}}} ?\Z")
_LABEL_AND_DOT = rf"[\w-]{{1,{MAX_LABEL}}}(?:{_DOT.pattern}|\.)"
_DOMAIN_AFTER_AT = re.compile(rf" ?((?:{_LABEL_AND_DOT}){{1,4}}[\w-]{{2,24}})", re.IGNORECASE)


def find_emails(text: str) -> Iterator[Match]:
    """Every e-mail address of a text, pseudonyms left out."""
    at = text.find("@")
    while at >= 0:
        end = _domain_end(text, at + 1)
        if end:
            start = _local_start(text, at)
            if start < at and _is_mail(text, start, at, end):
                yield Match(start, end, "email")
        at = text.find("@", max(at + 1, end))
    if any(closed.search(text) for closed in _AT_CLOSED):
        yield from _spelled_out(text)


@lru_cache(maxsize=1)
def top_level_domains() -> frozenset[str]:
    """Every top-level domain, in its own script and as `xn--`, lower case."""
    import tldextract

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    own = {suffix.rpartition(".")[2] for suffix in extract.tlds}
    return frozenset(own | {name.encode("idna").decode("ascii") for name in own if not name.isascii()})


def _domain_end(text: str, start: int) -> int:
    """Where the domain that begins at `start` ends; 0: there is none."""
    found = _ASCII_DOMAIN.match(text, start)
    if found is not None:
        size = _domain_size(found[0])
        follower = text[start + size : start + size + 1]
        if size and not (follower.isalnum() and follower <= _LAST_LATIN):
            return start + size
    found = _DOMAIN.match(text, start)
    if found is None or found[0].isascii():
        return 0
    size = _domain_size(found[0])
    return start + size if size else 0


def _domain_size(chunk: str) -> int:
    """Characters of the longest beginning of a chunk that is a domain; 0: none is.

    What follows the top-level domain after a dot ("ann@x.org.Please write") is left away label by label, and what
    follows it after a hyphen ("ann@x.org-Bob").
    """
    labels = chunk.rstrip("._-").split(".")
    known = top_level_domains()
    top = labels[-1].lower().partition("-")[0]
    if labels[-1].lower() not in known and top in known:
        labels[-1] = top
    while len(labels) > 1 and labels[-1].lower() not in known:
        labels.pop()
    if len(labels) < 2:
        return 0
    for label in labels:
        if not label or len(label) > MAX_LABEL or label[0] == "-" or label[-1] == "-" or "_" in label:
            return 0
    return sum(map(len, labels)) + len(labels) - 1


def _local_start(text: str, at: int) -> int:
    """Where the local part before `at` begins; `at`: there is none.

    Scripts without spaces run into the address ("联系ann@x.org"): a local part that ends in Latin letters is Latin.
    """
    if at == 0 or not (text[at - 1].isalnum() or text[at - 1] in "_+-"):
        return at
    latin = text[at - 1] <= _LAST_LATIN
    start = at
    while start and at - start <= MAX_LOCAL:
        character = text[start - 1]
        if character.isalnum():
            if latin and character > _LAST_LATIN:
                break
        elif character != "_" and (character not in _LOCAL_SYMBOLS or text[start - 1 : start + 1] == ".."):
            break
        start -= 1
    if at - start > MAX_LOCAL:
        return at
    while start < at and not (text[start].isalnum() or text[start] == "_"):
        start += 1
    return start


def _is_mail(text: str, start: int, at: int, end: int) -> bool:
    previous = text[start - 1 : start]
    if previous and previous in "@$":  # @name@host: an account of the fediverse; $1@host: a variable
        return False
    if previous in ("/", ":") and _LOGIN.search(text, max(0, start - 80), start):
        return False
    if text[start:at] in _REPOSITORY_USERS and _REPOSITORY.match(text, end):
        return False
    return PSEUDONYM.fullmatch(text, start, end) is None


def _spelled_out(text: str) -> Iterator[Match]:
    for at in _AT.finditer(text):
        first = max(0, at.start() - MAX_LOCAL - 2)
        local = _LOCAL_BEFORE_AT.search(text[first : at.start()])
        domain = _DOMAIN_AFTER_AT.match(text, at.end())
        if local is not None and domain is not None:
            top = re.split(r"[^\w-]+", domain[1])[-1]
            if top.lower() in top_level_domains():
                yield Match(first + local.start(), domain.end(), "email")
