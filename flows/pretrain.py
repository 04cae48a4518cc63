"""`pretrain`: from training documents to a base model: tokenizer -> tokens -> pretrain."""

from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.config import PretrainConfig, PretrainSections
from flows.places import files_of
from flows.road import Road, result_row, walking
from infra.store import Artifact
from tasks.pretrain import pretrain as pretrain_stage
from tasks.tokenizer import train_tokenizer, vocabulary_of
from tasks.tokens.stage import tokens as tokens_stage


@dataclass(frozen=True)
class Base:
    """A base model and the tokens it learned from."""

    tokens: Artifact
    model: Artifact


def pretrain_road(road: Road, config: PretrainSections, documents: Artifact, start: Artifact | None = None) -> Base:
    """Walk the road from the mix to the base model: a new one, or `start` and what it learns in addition."""
    if start is None:
        tokenizer, tokens = tokens_road(road, config, documents)
    else:
        tokenizer = vocabulary_of(start)
        tokens = road(tokens_stage, documents=documents, tokenizer=tokenizer, params=config.tokens)
    return Base(tokens, road(pretrain_stage, tokens=tokens, tokenizer=tokenizer, model=start, params=config.pretrain))


def tokens_road(road: Road, config: PretrainSections, documents: Artifact) -> tuple[Artifact, Artifact]:
    """From the mix to (tokenizer, tokens)."""
    given = config.tokenizer_file
    file = files_of([given], road.context.store.digest_cache()) if given is not None else None
    tokenizer = road(train_tokenizer, documents=documents, file=file, params=config.tokenizer)
    return tokenizer, road(tokens_stage, documents=documents, tokenizer=tokenizer, params=config.tokens)


@flow(name="pretrain")
def pretrain(config: PretrainConfig) -> list[dict[str, Any]]:
    """Train a tokenizer, write token files and train a base model on them."""
    with walking("pretrain", config.runtime, config.run) as road:
        start = road.open(config.start_from) if config.start_from is not None else None
        pretrain_road(road, config, road.open(config.documents), start)
    return [result_row(result) for result in road.context.results]
