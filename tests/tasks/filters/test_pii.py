import pytest

from tasks.filters.pii import count_emails, count_public_ips


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("Write to ann.lee+news@mail.example.org, or bob@example.com.", 2),
        ("mailto:ann@example.org", 1),
        ("@handle and user@localhost and a @ b.com", 0),
        ("git@github", 0),
    ],
)
def test_email_addresses(text, n):
    assert count_emails(text) == n


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("The resolvers are 8.8.8.8 and 1.1.1.1.", 2),
        ("Private 192.168.0.1, loopback 127.0.0.1, documentation 203.0.113.7", 0),
        ("version 1.2.3.4.5 or v8.8.8.8", 0),
        ("300.8.8.8 and 8.8.8", 0),
    ],
)
def test_public_addresses(text, n):
    assert count_public_ips(text) == n


def test_a_long_run_of_symbols_is_read_once():
    assert count_emails("!" * 1_000_000 + "@x") == 0
    assert count_emails("a@" * 100_000) == 0
