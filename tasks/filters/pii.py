"""Signals of personal data: how much of each kind a text holds, as tasks/pii finds it. Nothing is masked here."""

import pyarrow as pa

from tasks.pii.find import find
from tasks.pii.match import KINDS, Kind

_NAMES: dict[Kind, str] = {
    "email": "n_emails",
    "phone": "n_phones",
    "ipv4": "n_ipv4",
    "ipv6": "n_ipv6",
    "card": "n_cards",
    "iban": "n_ibans",
    "ssn": "n_ssns",
}
SIGNALS: tuple[pa.Field, ...] = tuple(pa.field(_NAMES[kind], pa.int32()) for kind in KINDS)


def signals(text: str) -> dict[str, int]:
    """Pieces of personal data by kind, under the names of `SIGNALS`."""
    found = dict.fromkeys(_NAMES.values(), 0)
    for match in find(text):
        found[_NAMES[match.kind]] += 1
    return found
