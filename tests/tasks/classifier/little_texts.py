"""Texts of two kinds that a small classifier tells apart, and rows for `raw_documents`."""

import random

GOOD = [
    "theorem",
    "river",
    "evidence",
    "harbour",
    "because",
    "argument",
    "island",
    "letters",
    "medicine",
    "winter",
    "captain",
    "village",
]
BAD = ["cheap", "casino", "click", "bonus", "shoes", "sale", "winner", "deal", "coupon", "viagra", "free", "subscribe"]
COMMON = ["the", "of", "a", "and", "to", "is", "in", "that", "for", "with", "on", "it", "as", "was", "at", "by"]


def little_texts(words: list[str], n: int, seed: int) -> list[str]:
    """n texts of 40 words, half of them common ones."""
    draw = random.Random(seed)
    return [
        "\n".join(" ".join(draw.choice(words if draw.random() < 0.5 else COMMON) for _ in range(10)) for _ in range(4))
        for _ in range(n)
    ]


def rows(kind: str, texts: list[str]) -> list[tuple[str, str | None, str]]:
    """(doc_id, url, text) of texts, each on a site of its own."""
    return [(f"{kind}{k}", f"http://{kind}{k}.example/p", text) for k, text in enumerate(texts)]
