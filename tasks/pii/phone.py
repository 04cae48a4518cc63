"""Telephone numbers: what is surely one by its form, and what the word before it says is one.

    by form     +CC and 00CC with a number of the country's length (calling_codes.py); North America with brackets,
                hyphens or dots (NPA-NXX-XXXX, both parts from 200); the United Kingdom's, France's, Switzerland's and
                Germany's national forms with their leading 0
    by context  7 to 14 digits in groups after "phone", "Tel.", "fax", "WhatsApp", "call us at" and their like in a
                dozen languages, unless they are a date or dotted numbers

Unbroken digits are never taken without a word. False positives cost text, so a doubtful number stays.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tasks.pii.calling_codes import NATIONAL_DIGITS, calling_code
from tasks.pii.match import HYPHENS, SPACES, Match, Run, before, is_issued_number

MIN_DIGITS = 7
MIN_INTERNATIONAL_DIGITS, MAX_INTERNATIONAL_DIGITS = 8, 15  # E.164 6.1 allows 15 at most
MAX_NATIONAL_DIGITS = 14  # a leading 0 and what E.164 leaves a country with a calling code of two digits
MAX_GROUPS = 8

_GROUP = re.compile(r"[0-9]+")
_SEPARATOR = re.compile(rf"[{SPACES}{HYPHENS}.()/]{{1,3}}")
_HYPHEN, _SPACE = f"[{HYPHENS}]", f"[{SPACES}]"
_EITHER = f"[{HYPHENS}{SPACES}]"

# North American Numbering Plan: area code and exchange begin with 2 to 9, an area code is not N11.
_NANP = re.compile(
    rf"(?:1[{HYPHENS}. ])?(?:\([2-9](?!11)[0-9]{{2}}\)(?:{_SPACE}|{_SPACE}?{_HYPHEN}{_SPACE}?)?"
    rf"|[2-9](?!11)[0-9]{{2}}(?:{_HYPHEN}|[./]))[2-9][0-9]{{2}}[{HYPHENS}.{SPACES}][0-9]{{4}}"
)
_NATIONAL = re.compile(
    "|".join(
        (
            # United Kingdom (Ofcom's National Telephone Numbering Plan), area code in brackets or not
            rf"\(?02[0-9]\)?{_EITHER}[0-9]{{4}}{_EITHER}[0-9]{{4}}",
            rf"\(?0(?:1[0-9]1|11[0-9]|3[0-9]{{2}}|8[0-9]{{2}})\)?{_EITHER}[0-9]{{3}}{_EITHER}[0-9]{{4}}",
            rf"\(?0(?:1[0-9]{{3}}|7[0-9]{{3}})\)?{_EITHER}[0-9]{{3}}{_EITHER}?[0-9]{{3}}",
            rf"\(01[0-9]{{3}}\){_EITHER}?[0-9]{{5,6}}",
            # France: five pairs
            rf"0[1-9](?P<pair>[{SPACES}{HYPHENS}.])[0-9]{{2}}(?:(?P=pair)[0-9]{{2}}){{3}}",
            # Switzerland
            rf"0[1-9][0-9]{_SPACE}[0-9]{{3}}{_SPACE}[0-9]{{2}}{_SPACE}[0-9]{{2}}",
            # Germany, Austria: the area code set off by a bar or brackets
            rf"0[1-9][0-9]{{1,4}}{_SPACE}?/{_SPACE}?[0-9]{{2,9}}(?:{_EITHER}[0-9]{{1,5}}){{0,3}}",
            rf"\(0[1-9][0-9]{{1,4}}\){_SPACE}?[0-9]{{2,8}}(?:{_EITHER}[0-9]{{1,5}}){{0,3}}",
        )
    )
)
MIN_NATIONAL_DIGITS = 9  # a leading 0, an area and a number

# Words of which one of the last three before a number is one. Of scripts without spaces the word's end is enough.
_STRONG_WORDS = (
    "telephone telephones telefon telefone telefono teléfono téléphone telefonnummer telefoon tel tél tlf tlph tfno"
    " phone phones ph fax telefax mobile mobil móvil movil celular cell cellphone handy whatsapp hotline helpline"
    " switchboard sms toll tollfree landline puh telefonu тел телефон факс моб τηλ τηλέφωνο"
)
_STRONG = frozenset(_STRONG_WORDS.split())
_STRONG_ENDINGS = ("电话", "電話", "传真", "傳真", "手机", "手機", "行動", "携帯", "전화", "팩스", "연락처")
WORDS_BEFORE = 3
_BARRIER = re.compile(r"[0-9@\[\]]")  # as in GAP: nothing reaches across
_WORD = re.compile(r"[^\W\d]+")  # with "_": phone_id is another word than phone
# The word and nothing but a few little words: "call" and "text" are not about telephones alone.
_WEAK = re.compile(
    r"(?<![^\W_])(?:(?:call|dial|text|ring|reach|message)(?: (?:us|me|him|her|them|now|today|our office))?"
    r"(?: (?:at|on|via))?[\s:]|[tfmp]:)\s{0,2}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:1[89]|20)[0-9]{2}(?P<a>[-./ ])[01]?[0-9](?P=a)[0-3]?[0-9](?![0-9])|[0-3]?[0-9](?P<b>[-./ ])[0-3]?[0-9](?P=b)"
    r"(?:1[89]|20)[0-9]{2}(?![0-9])|(?:1[89]|20)[0-9]{2} ?[-\u2013/] ?(?:1[89]|20)[0-9]{2}(?![0-9])"
)
_DOTTED_QUAD = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])")
_PAIR_AFTER = re.compile(r"[ .-][0-9A-Fa-f]{2}(?!\w)")  # more than five pairs: a dump of bytes
_EXTENSION = re.compile(r"(?:x|ext)[. ]?[0-9]", re.IGNORECASE)


class _Groups(NamedTuple):
    """Where the groups of digits of one run begin and end."""

    spans: list[tuple[int, int]]

    def digits(self, text: str, first: int, last: int) -> str:
        return "".join(text[start:end] for start, end in self.spans[first:last])


def find_phones(text: str, runs: Sequence[Run]) -> Iterator[Match]:
    """Every telephone number, left to right, none overlapping another."""
    for start, end in runs:
        date = _DATE.match(text, start)
        if date is not None and date.end() == end:
            continue
        groups = _Groups([found.span() for found in _GROUP.finditer(text, start, end)])
        taken = 0  # end of the last number found
        for index, (first, _) in enumerate(groups.spans):
            if first < taken:
                continue
            found = _phone_at(text, groups, index, taken)
            if found is not None:
                yield Match(*found, "phone")
                taken = found[1]


def _phone_at(text: str, groups: _Groups, index: int, taken: int) -> Run | None:
    """The number whose first group is this one; `taken` is where the number before it ended."""
    first = groups.spans[index][0]
    begin = _opening(text, first)
    if text[begin : begin + 1] == "+" or text[begin : begin + 2] == "(+":
        if begin and (text[begin - 1].isalnum() or text[begin - 1] in "_+-]"):
            return None
        end = _international_end(text, groups, index, 0)
        return (begin, end) if end else None
    if not _may_begin(text, begin, taken):
        return None
    end = 0
    group = text[slice(*groups.spans[index])]
    if index == 0 and group.startswith("00") and len(group) in (3, 4, 5) and group[2] != "0":
        end = _international_end(text, groups, index, 2)
    if not end:
        end = _by_form(text, begin)
        if end and is_issued_number(text, begin):
            return None
    if not end and index == 0:  # between the groups of a run there are no words
        end = _by_context(text, groups, index, begin)
    return (begin, end) if end else None


def _opening(text: str, first: int) -> int:
    """Where a number begins whose first digit is at `first`: its plus or bracket belongs to it."""
    begin = first
    if begin and text[begin - 1] == "+":
        begin -= 1
    if begin and text[begin - 1] == "(" and (text[first : first + 9].find(")") > 0):
        begin -= 1
    return begin


def _may_begin(text: str, begin: int, taken: int) -> bool:
    """Whether what stands before lets a number begin here: no letter, no sign, no piece of a longer number."""
    if begin == 0 or (taken and begin - taken == 1):  # "one/other"
        return True
    previous = text[begin - 1]
    if previous.isalnum() or previous in "_+#=/\\%$€£¥]-~^*" or previous in HYPHENS:
        return False
    return not (previous in ".,:" and begin > 1 and text[begin - 2].isdigit())


def _may_end(text: str, end: int) -> bool:
    following = text[end : end + 1]
    if not following:
        return True
    if following.isalnum() or following == "_":
        return _EXTENSION.match(text, end) is not None
    if following in "%€£$°":
        return False
    return not ((following in ".,:=" or following in HYPHENS) and text[end + 1 : end + 2].isalnum())


def _international_end(text: str, groups: _Groups, index: int, prefix: int) -> int:
    """Where the longest number ends that begins with a calling code, after `prefix` digits ("00"); 0: there is none."""
    code, digits, best = None, "", 0
    last = min(len(groups.spans), index + MAX_GROUPS)
    for here in range(index, last):
        start, end = groups.spans[here]
        if here > index:
            separator = text[groups.spans[here - 1][1] : start]
            if not _SEPARATOR.fullmatch(separator) or (best and len(separator) == 3 and separator[1] not in "()"):
                break  # " / ": another number
            if text[start - 1] == "(" and text[end : end + 1] == ")" and text[start:end] == "0":
                continue  # +49 (0)30: the trunk prefix, not dialled from abroad
        digits += text[start:end] if here > index else text[start + prefix : end]
        if len(digits) > MAX_INTERNATIONAL_DIGITS:
            break
        code = code or calling_code(digits)
        if code is None:
            if len(digits) >= 3:
                break
            continue
        if len(digits) >= MIN_INTERNATIONAL_DIGITS and _is_national(code, digits[len(code) :]) and _may_end(text, end):
            best = end
    return best


def _is_national(code: str, number: str) -> bool:
    least, most = NATIONAL_DIGITS[code]
    if code == "1":
        return len(number) == most and number[0] > "1" and number[3] > "1"
    trunk = number.startswith("0") and least <= len(number) - 1 <= most  # +44 020 …
    return trunk or least <= len(number) <= most


def _by_form(text: str, begin: int) -> int:
    """Where a number of a known national form ends; 0: it is none."""
    found = _NANP.match(text, begin)
    if found is not None and _may_end(text, found.end()):
        return found.end()
    found = _NATIONAL.match(text, begin)
    if found is None or not _may_end(text, found.end()):
        return 0
    digits = re.sub(r"\D", "", found[0])
    if not MIN_NATIONAL_DIGITS <= len(digits) <= MAX_NATIONAL_DIGITS:
        return 0
    if found["pair"] and (_is_ascending(digits) or _PAIR_AFTER.match(text, found.end())):
        return 0
    return found.end()


def _is_ascending(digits: str) -> bool:
    """Five pairs in ascending order: a calendar, columns of a table (one telephone number of 120 is so, too)."""
    pairs = [digits[place : place + 2] for place in range(0, len(digits), 2)]
    return all(pair < after for pair, after in pairwise(pairs))


def _is_announced(text: str, begin: int) -> bool:
    """Whether one of the last words before says that a telephone number follows."""
    words = _WORD.findall(_BARRIER.split(before(text, begin).lower())[-1])[-WORDS_BEFORE:]
    return not _STRONG.isdisjoint(words) or any(not word.isascii() and word.endswith(_STRONG_ENDINGS) for word in words)


def _by_context(text: str, groups: _Groups, index: int, begin: int) -> int:
    """Where the number ends that a word before it announces; 0: no word, or no number."""
    strong = _is_announced(text, begin)
    if not strong and _WEAK.search(before(text, begin)) is None:
        return 0
    if _DATE.match(text, groups.spans[index][0]):
        return 0
    digits, best = 0, 0
    for here in range(index, min(len(groups.spans), index + MAX_GROUPS)):
        start, end = groups.spans[here]
        if here > index:
            separator = text[groups.spans[here - 1][1] : start]
            if not _SEPARATOR.fullmatch(separator) or (best and len(separator) == 3):
                break
        digits += end - start
        if digits > MAX_NATIONAL_DIGITS:
            break
        grouped = here > index
        if digits >= MIN_DIGITS and _may_end(text, end) and (strong or (grouped and digits < 12)):
            best = end
    balanced = text.count("(", begin, best) == text.count(")", begin, best)
    return best if balanced and not _DOTTED_QUAD.search(text, begin, best) else 0
