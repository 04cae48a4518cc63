"""Payment cards, bank accounts (IBAN) and US social security numbers: numbers that can be checked.

Cards: ISO/IEC 7812 (issuer ranges and lengths, Luhn's digit). IBAN: ISO 13616 (length a country, remainder modulo 97).
SSN: 20 CFR 422.103 and the Social Security Administration's rules for what is never issued.
"""

import re
from collections.abc import Iterator, Sequence

from tasks.pii.match import GAP, HYPHENS, SPACES, Match, Run, before, is_issued_number

_SPACE_OR_HYPHEN = f"[{SPACES}{HYPHENS}]"

# -- cards --------------------------------------------------------------------------------------------------------

# (first, last) issuer numbers of equal length -> lengths. The public ranges of the networks' own pages.
ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({13, 16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("300", "305", frozenset({14, 16})),  # Diners Club
    ("3095", "3095", frozenset({14, 16})),
    ("36", "36", frozenset({14, 16})),
    ("38", "39", frozenset({14, 16})),
    ("6011", "6011", frozenset({16, 19})),  # Discover
    ("644", "649", frozenset({16, 19})),
    ("65", "65", frozenset({16, 19})),
    ("3528", "3589", frozenset({16, 19})),  # JCB
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("81", "82", frozenset({16})),  # RuPay (and 60, 65)
    ("60", "60", frozenset({16})),
    ("2200", "2204", frozenset({16, 19})),  # Mir
    # Maestro
    *((prefix, prefix, frozenset(range(12, 20))) for prefix in ("5018", "5020", "5038", "5893", "6304", "6759")),
    ("6761", "6763", frozenset(range(12, 20))),
)
_CARD_BEGINS = rf"(?<![\w./=#-])(?<![0-9]{_SPACE_OR_HYPHEN})"
_CARD_ENDS = rf"(?!\w|{_SPACE_OR_HYPHEN}[0-9]{{4}}(?![0-9])|[.,][0-9])"
_GROUPED_CARDS = tuple(
    re.compile(_CARD_BEGINS + shape + _CARD_ENDS)
    for shape in (
        rf"[0-9]{{4}}({_SPACE_OR_HYPHEN}|\.)[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{3}}",
        rf"[0-9]{{4}}({_SPACE_OR_HYPHEN}|\.)[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}",
        rf"[0-9]{{4}}({_SPACE_OR_HYPHEN}|\.)[0-9]{{6}}\1[0-9]{{4,5}}",
    )
)
# Several side by side: groups of digits that are cards one after the other, with nothing left over.
_ONE_CARD = re.compile(
    rf"[0-9]{{4}}(?:(?:{_SPACE_OR_HYPHEN}[0-9]{{4}}){{3}}(?:{_SPACE_OR_HYPHEN}[0-9]{{3}}(?![0-9]))?"
    rf"|{_SPACE_OR_HYPHEN}[0-9]{{6}}{_SPACE_OR_HYPHEN}[0-9]{{4,5}})(?![0-9])"
)
_CARDS_IN_A_ROW = re.compile(
    rf"{_CARD_BEGINS}{_ONE_CARD.pattern}(?:{_SPACE_OR_HYPHEN}{_ONE_CARD.pattern})+{_CARD_ENDS}"
)
_PLAIN_CARD = re.compile(r"(?<!\w)[0-9]{12,19}(?!\w|\.[0-9])")
_CARD_BEFORE = re.compile(
    r"(?:card|visa|master ?card|amex|american express|discover|diners|maestro|jcb|debit|credit|karte|carte|tarjeta|pan)"
    rf"{GAP}{{0,24}}\Z",
    re.IGNORECASE,
)
PLAIN_LENGTHS = frozenset({15, 16})  # any other unbroken number needs a word before it: 13 digits are an EAN more often


def find_cards(text: str, runs: Sequence[Run]) -> Iterator[Match]:
    """Every payment card number: groups as they are printed on cards, or unbroken."""
    for start, end in runs:
        if end - start < 12:
            continue
        for pattern in _GROUPED_CARDS:
            for found in pattern.finditer(text, start, min(len(text), end + 6)):
                if is_card(re.sub(r"\D", "", found[0])) and not is_issued_number(text, found.start()):
                    yield Match(found.start(), found.end(), "card")
        yield from _cards_in_a_row(text, start, end)
        for found in _PLAIN_CARD.finditer(text, start, min(len(text), end + 2)):
            if is_card(found[0]) and _is_plain_card(text, found.start(), len(found[0])):
                yield Match(found.start(), found.end(), "card")


def _cards_in_a_row(text: str, start: int, end: int) -> Iterator[Match]:
    for row in _CARDS_IN_A_ROW.finditer(text, start, min(len(text), end + 6)):
        cards = list(_ONE_CARD.finditer(text, *row.span()))
        if all(_is_grouped_card(card[0]) for card in cards) and not is_issued_number(text, row.start()):
            yield from (Match(card.start(), card.end(), "card") for card in cards)


def _is_grouped_card(written: str) -> bool:
    return len(set(re.sub(r"[0-9]", "", written))) == 1 and is_card(re.sub(r"[^0-9]", "", written))


def is_card(digits: str) -> bool:
    """Whether digits have an issuer, its length and Luhn's check digit."""
    return luhn(digits) and any(
        first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in ISSUERS
    )


def luhn(digits: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1, annex B): every second digit from the right doubled, the sum a multiple of 10."""
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(int(digit) * 2 - 9 * (digit > "4") for digit in digits[-2::-2])) % 10 == 0


def _is_plain_card(text: str, start: int, length: int) -> bool:
    if _CARD_BEFORE.search(before(text, start)):
        return True
    clean = start == 0 or text[start - 1] not in "/#&?%_.-=+,"  # a piece of a URL or of a longer number
    return length in PLAIN_LENGTHS and clean and not is_issued_number(text, start)


# -- bank accounts --------------------------------------------------------------------------------------------------

# Country -> characters of its IBAN (SWIFT IBAN Registry, release 99).
_IBAN_REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29"
    " ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20"
    " LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29"
    " PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    " YE30"
)
IBAN_LENGTHS = {code[:2]: int(code[2:]) for code in _IBAN_REGISTRY.split()}
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})[0-9]{2}")
_IBAN_LEAD = 16  # characters of an IBAN, at most, before seven digits close together (MT84 MALT 0110 …)
_IBAN_REST = {
    length: re.compile(rf"(?:{_SPACE_OR_HYPHEN}?[A-Z0-9]){{{length - 4}}}(?![A-Za-z0-9])")
    for length in set(IBAN_LENGTHS.values())
}


def find_ibans(text: str, runs: Sequence[Run]) -> Iterator[Match]:
    """Every IBAN of a text, in groups or not."""
    for start, _ in runs:
        for found in _IBAN_START.finditer(text, max(0, start - _IBAN_LEAD), start + 2):
            length = IBAN_LENGTHS.get(found[1])
            rest = _IBAN_REST[length].match(text, found.end()) if length else None
            if rest is not None and is_iban(re.sub(r"[^A-Z0-9]", "", found[0] + rest[0])):
                yield Match(found.start(), rest.end(), "iban")


def is_iban(written: str) -> bool:
    """Whether an IBAN without separators has its country's length and leaves 1 modulo 97 (ISO 7064 MOD 97-10)."""
    if len(written) != IBAN_LENGTHS.get(written[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in written[4:] + written[:4])) % 97 == 1


# -- US social security numbers -------------------------------------------------------------------------------------

_AREA, _GROUP, _SERIAL = "(?!000|666|9)[0-9]{3}", "(?!00)[0-9]{2}", "(?!0000)[0-9]{4}"
_HYPHENED = f"[0-9]{{3}}[{HYPHENS}][0-9]{{2}}[{HYPHENS}][0-9]{{4}}"
# Beside another number only where that is written like one of these, too.
_SSN = re.compile(
    rf"(?<![\w.+/#-])(?:(?<![0-9][{SPACES}])|(?<={_HYPHENED}[{SPACES}]))"
    rf"{_AREA}(?:([{HYPHENS}{SPACES}]){_GROUP}\1|{_GROUP}){_SERIAL}"
    rf"(?!\w|[{HYPHENS}./]\w|[{SPACES}](?!{_HYPHENED}(?!\w|[{HYPHENS}]))[0-9])"
)
_SSN_BEFORE = re.compile(
    r"(?:\bssn|\bss ?#|social[- ]security|\bsoc\.? ?sec|\btax(?:payer)?(?:[- ]?(?:id|no|number|identification)))"
    rf"{GAP}{{0,24}}\Z",
    re.IGNORECASE,
)


def find_ssns(text: str, runs: Sequence[Run]) -> Iterator[Match]:
    """Every US social security number: with hyphens, or after words that say what it is."""
    for start, end in runs:
        if end - start < 9:
            continue
        issued: int | None = (
            None  # end of the last number that something else issued: what stands beside it is another of them
        )
        for found in _SSN.finditer(text, start, min(len(text), end + 2)):
            hyphens = found[1] is not None and found[1] not in SPACES
            if _SSN_BEFORE.search(before(text, found.start())):
                yield Match(found.start(), found.end(), "ssn")
            elif found.start() - 1 == issued or is_issued_number(text, found.start()):
                issued = found.end()
            elif hyphens and text[found.start() - 1 : found.start()] != "=":  # ?key=…: part of an address
                yield Match(found.start(), found.end(), "ssn")
