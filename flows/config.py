"""What each flow can be told: the parameters of its stages, the runtime, the options of a run.

These models are the form that Prefect shows for a deployment, and what a profile, a `--config` file and `--set` fill,
in that order. Unknown keys are refused everywhere.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.road import RunOptions
from infra.errors import BadConfig
from infra.params import Params, Runtime
from tasks.chat_data.stage import ChatDataParams
from tasks.dedup.stage import DedupParams
from tasks.dpo import DpoParams
from tasks.evaluate.stage import EvaluateParams
from tasks.extract.stage import ExtractParams
from tasks.filter import FilterParams
from tasks.measure import MeasureParams
from tasks.mix.stage import MixParams
from tasks.pretrain import PretrainParams
from tasks.report.stage import ReportParams
from tasks.sample_crawl.stage import SampleCrawlParams
from tasks.sft import SftParams
from tasks.signatures import SignatureParams
from tasks.tokenizer import TokenizerParams
from tasks.tokens.stage import TokensParams

PROFILES = Path(__file__).resolve().parents[1] / "infra" / "profiles"


class CrawlParams(Params):
    """Where the pages come from."""

    paths: str | tuple[str, ...] | None = Field(
        None, description="WARC files: a folder, a glob, a file, or a list of these. Empty: the built-in sample crawl."
    )
    sample: SampleCrawlParams = Field(default_factory=SampleCrawlParams, description="The built-in sample crawl.")


class _Config(BaseModel):
    """What all flows share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Runtime = Field(default_factory=Runtime, description="How the work is done; never part of a version.")
    run: RunOptions = Field(default_factory=RunOptions, description="Options of this one run.")


class CurateConfig(_Config):
    """From a crawl to training documents."""

    crawl: CrawlParams = Field(default_factory=CrawlParams, description="Where the pages come from.")
    extract: ExtractParams = Field(default_factory=ExtractParams, description="WARC records to text.")
    measure: MeasureParams = Field(default_factory=MeasureParams, description="Signals of each document.")
    filter: FilterParams = Field(default_factory=FilterParams, description="Rules over signals.")
    signatures: SignatureParams = Field(default_factory=SignatureParams, description="MinHash signatures.")
    dedup: DedupParams = Field(default_factory=DedupParams, description="Which of several copies is kept.")
    mix: MixParams = Field(default_factory=MixParams, description="Final text, split and recipe.")


class _PretrainSections(_Config):
    tokenizer: TokenizerParams = Field(default_factory=TokenizerParams, description="Byte-level BPE.")
    tokens: TokensParams = Field(default_factory=TokensParams, description="Token files for training.")
    pretrain: PretrainParams = Field(default_factory=PretrainParams, description="The base model.")


class PretrainConfig(_PretrainSections):
    """From training documents to a base model."""

    documents: str = Field("mix@latest", description="The documents to train on: a reference to a mix.")


class _PosttrainSections(_Config):
    chat_data: ChatDataParams = Field(default_factory=ChatDataParams, description="Conversations and preferences.")
    sft: SftParams = Field(default_factory=SftParams, description="Supervised fine-tuning.")
    dpo: DpoParams = Field(default_factory=DpoParams, description="Direct preference optimisation.")


class PosttrainConfig(_PosttrainSections):
    """From a base model to a chat model."""

    documents: str = Field("mix@latest", description="The documents to mine conversations from: a mix.")
    base: str = Field("pretrain@latest", description="The base model.")


class _EvaluateSections(_Config):
    evaluate: EvaluateParams = Field(default_factory=EvaluateParams, description="What is measured on the models.")
    report: ReportParams = Field(default_factory=ReportParams, description="The report page.")


class EvaluateConfig(_EvaluateSections):
    """Measure models and write the report."""

    tokens: str = Field("tokens@latest", description="Held-out tokens, and those of the n-gram baselines.")
    chat: str = Field("chat-data@latest", description="Questions from held-out pages.")
    models: tuple[str, ...] = Field(
        ("pretrain@latest", "sft@latest", "dpo@latest"), description="The models to measure, base first."
    )


class PipelineConfig(CurateConfig, _PretrainSections, _PosttrainSections, _EvaluateSections):
    """The whole road: from a crawl to a chat model and its report."""


CONFIGS: dict[str, type[_Config]] = {
    "curate": CurateConfig,
    "pretrain": PretrainConfig,
    "posttrain": PosttrainConfig,
    "evaluate": EvaluateConfig,
    "pipeline": PipelineConfig,
}
C = TypeVar("C", bound=_Config)


def profile_names() -> list[str]:
    """Profiles that come with Sluice."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def resolve(
    flow: str, profile: str = "demo", file: Path | None = None, sets: Sequence[str] = (), run: RunOptions | None = None
) -> _Config:
    """The configuration of a flow: profile, then file, then `a.b=value` settings.

    A profile or file may hold sections of other flows, which this one leaves out; `sets` may not.

    Raises:
        BadConfig: an unknown flow, profile, section or key, or an unusable value, in one line.
    """
    if flow not in CONFIGS:
        raise BadConfig(f"no flow is called {flow!r}; the flows: {', '.join(CONFIGS)}")
    path = PROFILES / f"{profile}.yaml"
    if not path.is_file():
        raise BadConfig(f"no profile is called {profile!r}; the profiles: {', '.join(profile_names())}")
    values = _for_flow(flow, _read_yaml(path), str(path))
    if file is not None:
        values = _merged(values, _for_flow(flow, _read_yaml(file), str(file)))
    for setting in sets:
        values = _merged(values, _parse_set(setting))
    if run is not None:
        values["run"] = run.model_dump(exclude_unset=True)
    return validated(CONFIGS[flow], values)


def validated(config: type[C], values: Mapping[str, Any]) -> C:
    """Validate a flow's configuration, turning pydantic's report into one line.

    Raises:
        BadConfig: where the first mistake is, what it is, and the nearest known key.
    """
    try:
        return config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = _known_keys(config, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise BadConfig(f"config: unknown key {place}; {hint}") from error
        raise BadConfig(f"config: {place}: {first['msg']} (got {first.get('input')!r})") from error


def _for_flow(flow: str, values: dict[str, Any], where: str) -> dict[str, Any]:
    """The sections that this flow has; a section that no flow has is an error."""
    known = {name for config in CONFIGS.values() for name in config.model_fields}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise BadConfig(f"{where}: unknown section {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return {name: value for name, value in values.items() if name in CONFIGS[flow].model_fields}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfig(f"--config {path}: not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadConfig(f"--config {path}: sections expected at the top, found {type(values).__name__}")
    return values


def _parse_set(setting: str) -> dict[str, Any]:
    """`a.b=value` -> {"a": {"b": value}}; the value is read as YAML."""
    place, equals, text = setting.partition("=")
    if not equals or not all(place.split(".")):
        raise BadConfig(f"--set {setting}: write section.key=value, as in --set pretrain.steps=100")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadConfig(f"--set {setting}: the value is not YAML: {' '.join(str(error).split())}") from error
    for name in reversed(place.split(".")):
        value = {name: value}
    return value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in over.items():
        old = result.get(name)
        result[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _known_keys(config: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Field names of the model at a place in a configuration."""
    model: Any = config
    for name in place:
        field = getattr(model, "model_fields", {}).get(str(name))
        if field is None:
            return []
        model = field.annotation
    return list(getattr(model, "model_fields", {}))
