"""Quantities read as people write them."""

from infra.quantities import byte_size, duration


def test_durations():
    written = ["0.0 s", "0.4 s", "47 s", "3 min 20 s", "5 h 12 min"]
    assert [duration(seconds) for seconds in (-1, 0.44, 47.2, 200, 18_720)] == written
    assert duration(59.7) == "1 min 00 s"


def test_sizes():
    assert [byte_size(n) for n in (0, 12, 1_500, 2_500_000_000_000)] == ["0 B", "12 B", "1.5 kB", "2.5 TB"]
