"""`pretrain`: from training documents to a base model: tokenizer -> tokens -> pretrain."""

from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.config import PretrainConfig, PretrainSections
from flows.places import files_of
from flows.road import Road, result_row, walking
from infra.errors import BadInput
from infra.stage import Source
from infra.store import Artifact
from tasks.pretrain import check_start
from tasks.pretrain import pretrain as pretrain_stage
from tasks.tokenizer import train_tokenizer, vocabulary_of
from tasks.tokens.stage import tokens as tokens_stage
from tasks.training import Model


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
        if start.stage not in Model.accepts:
            raise BadInput(f"start_from: {start.ref} is no model; give one of {', '.join(Model.accepts)}")
        model = Model(start.store, start.manifest)
        check_start(config.pretrain, model)
        tokenizer = vocabulary_of(model)
        tokens = road(tokens_stage, documents=documents, tokenizer=tokenizer, params=config.tokens)
    return Base(tokens, road(pretrain_stage, tokens=tokens, tokenizer=tokenizer, model=start, params=config.pretrain))


def tokens_road(road: Road, config: PretrainSections, documents: Artifact) -> tuple[Artifact, Artifact]:
    """From the mix to (tokenizer, tokens)."""
    tokenizer = road(train_tokenizer, documents=documents, file=tokenizer_file(road, config), params=config.tokenizer)
    return tokenizer, road(tokens_stage, documents=documents, tokenizer=tokenizer, params=config.tokens)


def tokenizer_file(road: Road, config: PretrainSections) -> Source | None:
    """The tokenizer.json to take, if one is named.

    Raises:
        BadInput: it is missing.
    """
    given = config.tokenizer_file
    return files_of([given], road.context.store.digest_cache()) if given is not None else None


@flow(name="pretrain")
def pretrain(config: PretrainConfig) -> list[dict[str, Any]]:
    """Train a tokenizer, write token files and train a base model on them."""
    with walking("pretrain", config.runtime, config.run) as road:
        start = road.open(config.start_from) if config.start_from is not None else None
        pretrain_road(road, config, road.open(config.documents), start)
    return [result_row(result) for result in road.context.results]
