"""Every stage by name, and the modules they live in. Importing them is cheap: heavy things load late."""

import importlib

from infra.errors import BadInput
from infra.stage import REGISTRY, Stage

# In the order of the road. A stage of another name is not part of Sluice.
MODULES = {
    "sample-crawl": "tasks.sample_crawl.stage",
    "url-lists": "tasks.url_lists.stage",
    "word-lists": "tasks.word_lists",
    "language-model": "tasks.language_model",
    "extract": "tasks.extract.stage",
    "measure": "tasks.measure",
    "filter": "tasks.filter",
    "quality-model": "tasks.classifier.stage",
    "domain-model": "tasks.classifier.stage",
    "classifier": "tasks.classifier.stage",
    "score": "tasks.score",
    "select": "tasks.select",
    "signatures": "tasks.signatures",
    "dedup": "tasks.dedup.stage",
    "pii": "tasks.pii.stage",
    "mix": "tasks.mix.stage",
    "curation-report": "tasks.curation_report.stage",
    "tokenizer": "tasks.tokenizer",
    "tokens": "tasks.tokens.stage",
    "pretrain": "tasks.pretrain",
    "imported-model": "tasks.imported_model",
    "scaling-fit": "tasks.scaling.stage",
    "chat-data": "tasks.chat_data.stage",
    "sft": "tasks.sft",
    "dpo": "tasks.dpo",
    "evaluate": "tasks.evaluate.stage",
    "report": "tasks.report.stage",
}

_CURATE = (
    "sample-crawl",
    "url-lists",
    "word-lists",
    "language-model",
    "extract",
    "measure",
    "filter",
    "quality-model",
    "domain-model",
    "score",
    "select",
    "signatures",
    "dedup",
    "pii",
    "mix",
    "curation-report",
)
_PRETRAIN = ("tokenizer", "tokens", "pretrain")
_POSTTRAIN = ("chat-data", "sft", "dpo")
_EVALUATE = ("evaluate", "report")
ORDERS = {
    "curate": _CURATE,
    "pretrain": _PRETRAIN,
    "scaling": (*_PRETRAIN, "evaluate", "scaling-fit"),
    "posttrain": _POSTTRAIN,
    "evaluate": _EVALUATE,
    "pipeline": _CURATE + _PRETRAIN + _POSTTRAIN + _EVALUATE,
}


def load_stages() -> dict[str, Stage]:
    """All stages by name, in the order of the road."""
    return {name: load_stage(name) for name in MODULES}


def load_stage(name: str) -> Stage:
    """One stage.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in MODULES:
        raise BadInput(f"no stage is called {name!r}; the stages: {', '.join(MODULES)}")
    importlib.import_module(MODULES[name])
    return REGISTRY[name]
