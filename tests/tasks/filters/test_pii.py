import pyarrow as pa

from tasks.filters.pii import SIGNALS, signals


def test_each_kind_is_counted_under_its_own_name():
    text = (
        "Ann (ann@example.org, bob@example.org), phone +1 202-456-1111, from 72.15.99.187 and 2606:4700:4700::1111,\n"
        "pays with 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00; SSN 123-45-6789."
    )
    found = signals(text)
    assert found == {
        "n_emails": 2,
        "n_phones": 1,
        "n_ipv4": 1,
        "n_ipv6": 1,
        "n_cards": 1,
        "n_ibans": 1,
        "n_ssns": 1,
    }


def test_the_columns_are_those_that_are_declared():
    assert [field.name for field in SIGNALS] == list(signals(""))
    assert {field.type for field in SIGNALS} == {pa.int32()}
    assert not any(signals("").values())
