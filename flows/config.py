"""What each flow can be told: the parameters of its stages, the runtime, the options of a run.

These models are the form that Prefect shows for a deployment, and what a profile, a `--config` file and `--set` fill,
in that order. Unknown keys are refused everywhere.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.road import RunOptions
from infra.params import Params, Runtime
from model.job import NO_HEADS, kv_heads_of
from tasks.chat_data.stage import ChatDataParams
from tasks.classifier.stage import DomainModelParams, QualityModelParams
from tasks.crawl import CrawlParams
from tasks.curation_report.stage import CurationReportParams
from tasks.dedup.stage import DedupParams
from tasks.dpo import DpoParams
from tasks.evaluate.stage import EvaluateParams
from tasks.extract.stage import ExtractParams
from tasks.filter import FilterParams
from tasks.measure import MeasureParams
from tasks.mix.stage import MixParams
from tasks.pii.stage import PiiParams
from tasks.pretrain import PretrainParams, shape_of
from tasks.report.stage import ReportParams
from tasks.sample_crawl.stage import SampleCrawlParams
from tasks.scaling.grid import base_problem
from tasks.scaling.settings import GridParams
from tasks.scaling.stage import ScalingFitParams
from tasks.score import ScoreParams
from tasks.select import SelectParams
from tasks.sft import SftParams
from tasks.signatures import SignatureParams
from tasks.tokenizer import TokenizerParams
from tasks.tokens.stage import TokensParams
from tasks.training import layout_of


class CrawlSection(CrawlParams):
    """Where the pages come from; with neither `paths` nor `id`, the built-in sample crawl."""

    sample: SampleCrawlParams = Field(default_factory=SampleCrawlParams, description="The built-in sample crawl.")


class LookupSection(Params):
    """Lists and models of your own. Each becomes an artifact, so that what was made with it says so."""

    url_lists: str | None = Field(
        None, description="A folder of URL lists: <category>/domains and <category>/urls (UT1), or <category>.txt."
    )
    url_categories: tuple[str, ...] = Field(
        (), description="The categories to throw away; empty: all (collections also list wanted sites)."
    )
    word_lists: str | None = Field(
        None, description="A folder of word lists, one word or phrase a line, each file a list."
    )
    language_model: str | None = Field(
        None, description="A fastText language model (.bin or .ftz) in place of the built-in lid.176."
    )


class QualitySection(Params):
    """A classifier of good text: an existing one, or one to train. Without either, documents have no quality."""

    model: str | None = Field(None, description="An existing quality model, as quality-model@TAG.")
    positives: tuple[str, ...] = Field(
        (), description="What good text is: files (JSONL or Parquet with a text column) or references to documents."
    )
    negatives: tuple[str, ...] = Field(
        (), description="What it is told from, likewise; empty: this crawl's documents after the filter."
    )
    training: QualityModelParams = Field(default_factory=QualityModelParams, description="How it is trained.")


class DomainSection(Params):
    """A classifier of domains: an existing one, or one to train. Without either, every document is `general`."""

    model: str | None = Field(None, description="An existing domain model, as domain-model@TAG.")
    train: bool = Field(False, description="Train one on this crawl's documents, seeded by rules on URLs and text.")
    labelled: tuple[str, ...] = Field((), description="Labelled files to train on as well (or alone).")
    training: DomainModelParams = Field(default_factory=DomainModelParams, description="How it is trained.")


class FlowConfig(BaseModel):
    """What all flows share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Runtime = Field(default_factory=Runtime, description="How the work is done; never part of a version.")
    run: RunOptions = Field(default_factory=RunOptions, description="Options of this one run.")


def _refuse(section: str, problem: str) -> None:
    """Raise where a section and the runtime do not go together: before the first stage, not before its own."""
    if problem:
        raise ValueError(f"runtime and {section}: {problem}")


class CurateConfig(FlowConfig):
    """From a crawl to training documents."""

    crawl: CrawlSection = Field(default_factory=CrawlSection, description="Where the pages come from.")
    lookup: LookupSection = Field(default_factory=LookupSection, description="Lists and models of your own.")
    extract: ExtractParams = Field(default_factory=ExtractParams, description="WARC records to text.")
    measure: MeasureParams = Field(default_factory=MeasureParams, description="Signals of each document.")
    filter: FilterParams = Field(default_factory=FilterParams, description="Rules over signals.")
    quality: QualitySection = Field(default_factory=QualitySection, description="A classifier of good text.")
    domain: DomainSection = Field(default_factory=DomainSection, description="A classifier of domains.")
    classifiers: tuple[str, ...] = Field(
        (), description="Further classifiers by reference (classifier@TAG); rules of `select` may use their scores."
    )
    score: ScoreParams = Field(default_factory=ScoreParams, description="What classifiers say of each document.")
    select: SelectParams = Field(default_factory=SelectParams, description="Rules over scores.")
    signatures: SignatureParams = Field(default_factory=SignatureParams, description="MinHash signatures.")
    dedup: DedupParams = Field(default_factory=DedupParams, description="Which of several copies is kept.")
    pii: PiiParams = Field(default_factory=PiiParams, description="Personal data.")
    mix: MixParams = Field(default_factory=MixParams, description="Final text, split and recipe.")
    curation_report: CurationReportParams = Field(
        default_factory=CurationReportParams, description="The page that shows what became of the crawl."
    )


class PretrainSections(FlowConfig):
    tokenizer_file: str | None = Field(
        None, description="A tokenizer.json to take instead of learning one from the documents."
    )
    tokenizer: TokenizerParams = Field(default_factory=TokenizerParams, description="Byte-level BPE.")
    tokens: TokensParams = Field(default_factory=TokensParams, description="Token files for training.")
    pretrain: PretrainParams = Field(default_factory=PretrainParams, description="The base model.")

    def kv_heads(self) -> int | None:
        """Key and value heads of the network to train, as `kv_heads_of` counts them."""
        return kv_heads_of(shape_of(self.pretrain, self.tokenizer.vocab_size))

    @model_validator(mode="after")
    def _pretrain_can_be_divided(self) -> Self:
        params = self.pretrain
        _refuse("pretrain", layout_of("lm", params.optim, self.runtime, params.seq_lens, self.kv_heads()))
        return self


class PretrainConfig(PretrainSections):
    """From training documents to a base model."""

    documents: str = Field("mix@latest", description="The documents to train on: a reference to a mix.")
    start_from: str | None = Field(
        None, description="A model to go on from, with its own tokenizer, as imported-model@latest; empty: a new one."
    )

    def kv_heads(self) -> int | None:
        """None where the model that it goes on from decides."""
        return super().kv_heads() if self.start_from is None else None

    @model_validator(mode="after")
    def _one_tokenizer(self) -> Self:
        if self.start_from is not None and self.tokenizer_file is not None:
            raise ValueError("start_from brings the model's tokenizer: leave tokenizer_file out")
        return self


class ScalingConfig(PretrainSections):
    """From training documents to scaling laws: `pretrain` is what the runs have in common."""

    documents: str = Field("mix@latest", description="The documents to train on: a reference to a mix.")
    scaling: GridParams = Field(
        default_factory=GridParams, description="The grid of budgets and sizes, and what is compared."
    )
    fit: ScalingFitParams = Field(default_factory=ScalingFitParams, description="What is made of the runs.")
    verify: bool = Field(False, description="Train what is recommended and hold the prediction against it.")
    at_once: int = Field(
        1, ge=1, description="Runs trained side by side, each on runtime.world_size ranks; small ones gain by it."
    )
    chat: str | None = Field(
        None, description="A chat-data to evaluate the grid's runs on, for loss to accuracy; empty: not done."
    )
    evaluate: EvaluateParams = Field(default_factory=EvaluateParams, description="What is measured then.")

    def kv_heads(self) -> int | None:
        """None: the grid has shapes of its own."""
        return None

    @model_validator(mode="after")
    def _what_the_runs_have_in_common(self) -> Self:
        if problem := base_problem(self.pretrain):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _what_is_compared_can_be_divided(self) -> Self:
        if self.scaling.compare.architectures.at:
            _refuse("scaling.compare", layout_of("lm", self.pretrain.optim, self.runtime, kv_heads=NO_HEADS))
        return self


class PosttrainSections(FlowConfig):
    chat_data: ChatDataParams = Field(default_factory=ChatDataParams, description="Conversations and preferences.")
    sft: SftParams = Field(default_factory=SftParams, description="Supervised fine-tuning.")
    dpo: DpoParams = Field(default_factory=DpoParams, description="Direct preference optimisation.")

    @model_validator(mode="after")
    def _posttraining_can_be_divided(self) -> Self:
        lengths = [] if self.sft.seq_len is None else [self.sft.seq_len]
        _refuse("sft", layout_of("sft", self.sft.optim, self.runtime, lengths))
        _refuse("dpo", layout_of("dpo", self.dpo.optim, self.runtime))
        return self


class PosttrainConfig(PosttrainSections):
    """From a base model to a chat model."""

    documents: str = Field("mix@latest", description="The documents to mine conversations from: a mix.")
    base: str = Field("pretrain@latest", description="The base model.")


class EvaluateSections(FlowConfig):
    evaluate: EvaluateParams = Field(default_factory=EvaluateParams, description="What is measured on the models.")
    report: ReportParams = Field(default_factory=ReportParams, description="The report page.")


class EvaluateConfig(EvaluateSections):
    """Measure models and write the report."""

    tokens: str = Field("tokens@latest", description="Held-out tokens, and those of the n-gram baselines.")
    chat: str = Field("chat-data@latest", description="Questions from held-out pages.")
    models: tuple[str, ...] = Field(
        ("pretrain@latest", "sft@latest", "dpo@latest"), description="The models to measure, base first."
    )


class PipelineConfig(CurateConfig, PretrainSections, PosttrainSections, EvaluateSections):
    """The whole road: from a crawl to a chat model and its report."""

    @model_validator(mode="after")
    def _questions_have_room(self) -> Self:
        context = max(self.pretrain.max_seq_len or 0, *self.pretrain.seq_lens)
        if self.evaluate.questions and self.evaluate.max_new_tokens >= context:
            raise ValueError(
                f"evaluate.max_new_tokens: {self.evaluate.max_new_tokens} tokens leave no room for a question in the"
                f" {context} that the model will take (pretrain.seq_len, .max_seq_len): lower it"
            )
        return self


CONFIGS: dict[str, type[FlowConfig]] = {
    "curate": CurateConfig,
    "pretrain": PretrainConfig,
    "scaling": ScalingConfig,
    "posttrain": PosttrainConfig,
    "evaluate": EvaluateConfig,
    "pipeline": PipelineConfig,
}
