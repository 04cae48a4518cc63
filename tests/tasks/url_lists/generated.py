"""As many domains as one likes, the same each time: for lists as large as the real ones."""

from collections.abc import Iterator
from pathlib import Path

from infra.canonical import file_sha256
from infra.stage import Source
from infra.store.manifest import InputFile

TOP_LABELS = ("com", "net", "org", "info", "ru", "de", "co.uk", "com.br", "xyz", "site")
# An odd multiplier is a bijection of the integers below 2^40: k -> name is one to one, and neighbours look unlike.
_MULTIPLIER = 0x9E3779B97F4A7C15 % (1 << 40) | 1


def domain(k: int) -> str:
    """The k-th domain, k below 2^40; 14 to 20 characters, about UT1's mean of 27 bytes a line with sub-domains."""
    label = f"{k * _MULTIPLIER % (1 << 40):010x}"
    return f"{'blog.' if k % 4 == 0 else ''}{label}.{TOP_LABELS[k % len(TOP_LABELS)]}"


def write_lists(folder: Path, n: int, categories: tuple[str, ...] = ("adult", "gambling", "malware")) -> Path:
    """Domains 0 to n - 1 in UT1's layout, the k-th in category k modulo their number."""
    for number, category in enumerate(categories):
        (folder / category).mkdir(parents=True)
        with (folder / category / "domains").open("w", encoding="ascii", newline="\n") as out:
            out.writelines(f"{domain(k)}\n" for k in range(number, n, len(categories)))
    return folder


def source(folder: Path) -> Source:
    """The files of `write_lists`, without a cache of digests."""
    files = sorted(folder.rglob("domains"))
    return Source.of_inputs(
        InputFile(
            name=f"{file.parent.name}/domains", sha256=file_sha256(file), bytes=file.stat().st_size, path=str(file)
        )
        for file in files
    )


def probes(n: int, count: int) -> Iterator[tuple[int, bool]]:
    """(k, whether domain k is among the first n): `count` that are and as many that are not."""
    step = max(n // count, 1)
    for k in range(count):
        yield k * step % n, True
        yield n + k * 7, False
