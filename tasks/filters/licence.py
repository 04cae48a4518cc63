"""Creative Commons licences: which one a page links to.

`extract` keeps the address of the licence that a page declares (`licence_url`) beside the opt-out signs
(`robots_noindex`, `robots_noai`, `tdm_reserved`), which rules can name directly. Here the address becomes a type that
rules can compare. A link is a claim, not a proof: it may stand for a picture on the page, or for nothing.
"""

import re

import pyarrow as pa

SIGNALS: tuple[pa.Field, ...] = (
    # by, by-sa, by-nd, by-nc, by-nc-sa, by-nc-nd, zero (waived), mark (public domain) or an older type by its own name;
    # null without a Creative Commons licence.
    pa.field("cc_licence", pa.string()),
    pa.field("cc_version", pa.string()),  # "4.0"; null where the address names none
)

# https://creativecommons.org/licenses/by-sa/4.0/deed.de, …/publicdomain/zero/1.0/, …/licenses/publicdomain/ (retired)
_ADDRESS = re.compile(
    r"(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licen[sc]es|publicdomain)/([a-z+-]+)(?:/(\d\.\d))?(?=[/?#.]|$)"
)
_ORDER = ("by", "nc", "sa", "nd")  # as the deeds are named; "by-nd-nc" of version 1.0 is by-nc-nd
_PUBLIC_DOMAIN = {"publicdomain": "mark"}  # the dedication that the mark and zero replaced in 2010


def signals(licence_url: str | None) -> dict[str, str | None]:
    """The signals of one page's licence link, by the names in `SIGNALS`."""
    match = _ADDRESS.match(licence_url.strip().lower()) if licence_url else None
    if match is None:
        return {"cc_licence": None, "cc_version": None}
    kind, version = match.groups()
    parts = kind.split("-")
    if all(part in _ORDER for part in parts):
        kind = "-".join(sorted(parts, key=_ORDER.index))
    return {"cc_licence": _PUBLIC_DOMAIN.get(kind, kind), "cc_version": version}
