"""`pipeline`: the whole road in one run, from a crawl to a chat model and its report."""

from typing import Any

from prefect import flow

from flows import curate, evaluate, posttrain, pretrain
from flows.config import PipelineConfig
from flows.road import result_row, walking


@flow(name="pipeline")
def pipeline(config: PipelineConfig) -> list[dict[str, Any]]:
    """Turn a crawl into a chat model: curate, pretrain, post-train, evaluate, report."""
    with walking("pipeline", config.runtime, config.run) as road:
        pretrain.tokenizer_file(road, config)  # so that one that is missing is told before the crawl is read
        documents = curate.curate_road(road, config)
        base = pretrain.pretrain_road(road, config, documents)
        chat = posttrain.posttrain_road(road, config, documents, base.model)
        evaluate.evaluate_road(road, config, base.tokens, chat.data, [base.model, chat.sft, chat.dpo])
    return [result_row(result) for result in road.context.results]
