"""`posttrain`: from a base model to a chat model: chat-data -> sft -> dpo."""

from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.config import PosttrainConfig, PosttrainSections
from flows.road import Road, result_row, walking
from infra.store import Artifact
from tasks.chat_data.stage import chat_data
from tasks.dpo import dpo as dpo_stage
from tasks.sft import sft as sft_stage


@dataclass(frozen=True)
class Chat:
    """Conversations, and the models that learned from them."""

    data: Artifact
    sft: Artifact
    dpo: Artifact


def posttrain_road(road: Road, config: PosttrainSections, documents: Artifact, base: Artifact) -> Chat:
    """Walk the road from the base model to the chat model."""
    data = road(chat_data, documents=documents, params=config.chat_data)
    sft = road(sft_stage, model=base, chat=data, params=config.sft)
    return Chat(data, sft, road(dpo_stage, model=sft, chat=data, params=config.dpo))


@flow(name="posttrain")
def posttrain(config: PosttrainConfig) -> list[dict[str, Any]]:
    """Mine conversations from documents, fine-tune a base model on them and align it with preferences."""
    with walking("posttrain", config.runtime, config.run) as road:
        posttrain_road(road, config, road.open(config.documents), road.open(config.base))
    return [result_row(result) for result in road.context.results]
