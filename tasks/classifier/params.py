"""What the classifier stages can be told."""

import math

from pydantic import Field, field_validator

from infra.params import Params
from tasks.classifier.examples import Balance, Holdout
from tasks.classifier.seeds import DomainSeeds

EPOCHS, MOST_EPOCHS, LEAST_UPDATES = 5, 50, 50_000


class FastTextParams(Params):
    """What both kinds of classifier share. The names are fastText's where it has the parameter."""

    lr: float = Field(0.1, gt=0, description="Learning rate (fastText's default; DCLM).")
    dim: int = Field(100, ge=10, description="Dimensions of an embedding (fastText's default; DCLM).")
    epoch: int | None = Field(
        None,
        ge=1,
        description="Passes over the texts. Empty: 5 (fastText's default; DCLM), or up to 50 where the texts are so few"
        " that 5 passes would leave the model near where it began (fewer than 50,000 updates).",
    )
    min_count: int = Field(1, ge=1, description="Words rarer than this have no embedding (fastText's default).")
    word_ngrams: int = Field(2, ge=1, description="Longest run of words with an embedding of its own (DCLM: 2).")
    minn: int = Field(0, ge=0, description="Shortest run of characters with an embedding; 0: none (DCLM).")
    maxn: int = Field(0, ge=0, description="Longest run of characters with an embedding; 0: none (DCLM).")
    bucket: int = Field(
        200_000,
        ge=1000,
        description="Hash buckets for n-grams. fastText's default and DCLM's is 2,000,000, which at 100 dimensions is"
        " 800 MB of model in every worker; 200,000 is 80 MB.",
    )
    quantise: bool = Field(False, description="Write model.ftz, a tenth of the size and a little less exact.")
    heldout: float = Field(0.1, gt=0, lt=0.9, description="Share of the pages (or sites) that are held out.")
    holdout_by: Holdout = Field(
        "page",
        description="What is held out whole: a page, or a site (then the figures say how it does on sites that it has"
        " never seen; needs many sites).",
    )
    max_parts: int | None = Field(
        None, ge=1, description="Parts of each artifact that are read, evenly spread; empty reads all."
    )
    text_column: str = Field("text", description="Column of the files that holds the text.")
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of the sample, the sides and the training.")


class QualityModelParams(FastTextParams):
    """A classifier of two classes."""

    per_class: int = Field(100_000, ge=1, description="Texts of each class at most (DCLM: 100,000 in its 200k model).")
    min_examples: int = Field(20, ge=1, description="Fewer texts of a class to learn from are an error.")
    balance: Balance = Field(
        "cut", description="cut: as many texts of each class (DCLM); repeat: the smaller one repeated; none."
    )


class ClassifierParams(QualityModelParams):
    """A classifier of two classes with a name."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="What its score is called in rules: toxicity, adult, spam."
    )

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in ("domain", "domain_score"):
            raise ValueError(f"the name {name} belongs to domain-model")
        return name


class DomainModelParams(FastTextParams):
    """A classifier of domains."""

    lr: float = Field(
        0.5, gt=0, description="Learning rate (at fastText's 0.1, a few hundred texts a domain are learnt too little)."
    )
    per_class: int = Field(20_000, ge=1, description="Texts of each domain at most.")
    per_site: int | None = Field(
        50, ge=1, description="Texts of one site in a domain at most, so that it is not the site that is learnt."
    )
    min_examples: int = Field(
        20, ge=1, description="Domains with fewer texts to learn from are left out, and it is said."
    )
    balance: Balance = Field("repeat", description="repeat: small domains are repeated up to max_repeats times.")
    max_repeats: int = Field(10, ge=1, description="How often a text may be repeated to balance the domains.")
    seeds: dict[str, DomainSeeds] | None = Field(
        None, description="Rules that seed each domain, in place of the built-in ones (tasks/classifier/seeds.yaml)."
    )
    label_column: str = Field("domain", description="Column of the labelled files that holds the domain.")
    language: str = Field(
        "en",
        description="Documents known to be in another language are not learnt from; `score` calls them multilingual.",
    )


def epochs_for(texts: int) -> int:
    """Passes over so many texts when nothing else is asked for.

    2,000 texts in 5 epochs reached a held-out AUC of 0.93 with every probability near 0.7; in 25 epochs, 0.99.
    """
    return max(EPOCHS, min(MOST_EPOCHS, math.ceil(LEAST_UPDATES / max(texts, 1))))
