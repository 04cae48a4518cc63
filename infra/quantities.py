"""Quantities as people write them."""


def duration(seconds: float) -> str:
    """A time, to about two digits.

    >>> [duration(s) for s in (0.44, 47.2, 200, 18_720)]
    ['0.4 s', '47 s', '3 min 20 s', '5 h 12 min']
    """
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def byte_size(n: float) -> str:
    """Bytes with a decimal unit.

    >>> [byte_size(n) for n in (12, 1_536, 2_500_000_000_000)]
    ['12 B', '1.5 kB', '2.5 TB']
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"
