"""A synthetic copy task: documents of words in which names have numbers and come back with them.

    … tir kab147 sul gon212 mof kab147 dep …

A name is always followed by its number. A name has ten numbers that it may have, its own, and each document deals it
one of them: which one it is, where the name has come before, can be had from the context only. Names are drawn by
Zipf's law, in an order that each document deals anew: the first come back after a few words, the last at the other end
of the document. Filler words between them are alike in form.

(That the number alone tells whose it is makes this a task for one attention layer, which learns it from 10^5 tokens. If
names share their numbers, it takes two layers that work together, and these networks more than 10^6 tokens.)
"""

import itertools
from collections.abc import Collection, Sequence
from functools import cache

import numpy as np

from tasks.encoding import Encoder
from tasks.evaluate.needle import Needle, Trial, make_trial
from tests.benchmarks.phases.corpora import Document

N_NAMES, N_FILLERS = 16, 16
NUMBERS_A_NAME = 10  # those of name k: 10 (10 + k) to 10 (10 + k) + 9
FIRST_NUMBER = 100
SEED_OF_WORDS = 7
NAME_SHARE = 0.5  # of items; the others are filler words
WRONG_ANSWERS = 3


@cache
def words() -> tuple[list[str], list[str]]:
    """(names, filler words): syllables of three letters, all different, always the same."""
    syllables = ["".join(letters) for letters in itertools.product("bdfgklmnprst", "aeiou", "bdfgklmnprst")]
    chosen = np.random.default_rng(SEED_OF_WORDS).permutation(len(syllables))[: N_NAMES + N_FILLERS]
    found = [syllables[number] for number in chosen]
    return found[:N_NAMES], found[N_NAMES:]


def numbers_of(name: str) -> range:
    """The numbers that a name may have."""
    first = FIRST_NUMBER + NUMBERS_A_NAME * words()[0].index(name)
    return range(first, first + NUMBERS_A_NAME)


def copy_text(generator: np.random.Generator, n_items: int, without: Collection[str] = ()) -> list[str]:
    """The items of a document, each with the blank before it, in which some names do not occur."""
    names, fillers = words()
    dealt = generator.permutation([name for name in names if name not in without]).tolist()
    numbers = {name: int(generator.choice(numbers_of(name))) for name in dealt}
    chance = 1.0 / np.arange(1, len(dealt) + 1)
    named = generator.choice(dealt, n_items, p=chance / chance.sum()).tolist()
    filled = generator.choice(fillers, n_items).tolist()
    is_name = (generator.random(n_items) < NAME_SHARE).tolist()
    return [
        f" {name}{numbers[name]}" if yes else f" {word}" for name, word, yes in zip(named, filled, is_name, strict=True)
    ]


def copy_documents(n_documents: int, n_items: int, seed: int) -> list[Document]:
    """Documents to learn from."""
    generator = np.random.default_rng(seed)
    return [Document(f"copy{number:06d}", "".join(copy_text(generator, n_items))) for number in range(n_documents)]


def copy_trials(
    encoder: Encoder, lengths: Sequence[int], depths: Sequence[float], trials: int, seed: int
) -> list[Trial]:
    """So many trials of each length and depth: one name stated in a document without it, and asked for at its end.

    The wrong answers to rank with are other numbers that the name might have had.
    """
    generator = np.random.default_rng(seed)
    found = []
    for length, depth, _ in itertools.product(lengths, depths, range(trials)):
        name = str(generator.choice(words()[0]))
        pieces = encoder.encode_batch(copy_text(generator, length, without=[name]))
        number, *others = generator.choice(numbers_of(name), 1 + WRONG_ANSWERS, replace=False).tolist()
        needle = Needle(tuple(encoder.encode(f" {name}")), tuple(encoder.encode(str(number))))
        wrong = [encoder.encode(str(other)) for other in others]
        found.append(make_trial(pieces, needle, wrong, length, depth, encoder.end_of_text))
    return found
