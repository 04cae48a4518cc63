"""From the laws to a configuration that `sluice run pretrain --config FILE` takes, and that reuses what the grid used.

Everything that shapes the run is written out, also what is a default, so that no profile under the file changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import yaml

from infra.store import Artifact
from model.config import LSTMConfig, ModelConfig
from tasks.encoding import TOKENIZER_FILE
from tasks.pretrain import PretrainParams, shape_of
from tasks.scaling.grid import counted_params, fitted_to, paid_for
from tasks.scaling.prediction import Laws
from tasks.scaling.shapes import family_of, shape_near

FILE = "recommended.yaml"
VALIDATIONS = 10  # in the recommended run, which is long; those of the grid have one


@dataclass(frozen=True)
class Recommendation:
    """The run that the laws say is best for a budget, with the shape that comes nearest to their size."""

    params: PretrainParams
    flops: float
    size: int
    tokens: int


def recommend(
    laws: Laws,
    flops: float,
    base: PretrainParams,
    steps: int,
    networks: Sequence[ModelConfig | LSTMConfig],
    aspect: float | None = None,
) -> Recommendation | None:
    """The best size for the budget and the steps that the budget pays for; None without a law.

    Args:
        base: parameters of a run of the grid: what is not shape or length is as there.
        steps: that run's steps; the share of its warm-up is kept.
        networks: of the fitted runs. What they share, the shape has as well (`family_of`).
        aspect: width over layers; None: their median.

    Raises:
        BadConfig: the best size is smaller than any network with this vocabulary; the networks are LSTMs.
    """
    best = laws.best_params(flops)
    if best is None:
        return None
    vocab_size, family = networks[0].vocab_size, family_of(networks)
    proportion = aspect or median(network.hidden_size / network.n_layers for network in networks)
    sized = base.model_copy(update={"shape": shape_near(best.value, vocab_size, proportion, family)})
    network = shape_of(sized, vocab_size)
    wanted, n_tokens, taken = paid_for(flops, sized, network)
    params = fitted_to(sized, wanted, base.optim.warmup_steps / steps)
    params = params.model_copy(update={"validate_every": max(1, wanted // VALIDATIONS)})
    return Recommendation(params, taken, counted_params(network), n_tokens)


def recommended_yaml(found: Recommendation, run: Artifact, about: str) -> str:
    """The file.

    Args:
        run: a run of the grid, whose tokenizer, tokens and documents the configuration names.
        about: one line of a comment.
    """
    tokenizer, tokens = run.parent("tokenizer"), run.parent("tokens")
    sections = {
        "start_from": None,
        "documents": tokens.parent("documents").ref,
        "tokenizer": tokenizer.manifest.params,
        "tokens": tokens.manifest.params,
        "pretrain": found.params.model_dump(mode="json"),
    }
    head = f"# {about}\n# sluice run pretrain --config {FILE}\n"
    if tokenizer.manifest.inputs:
        # Without it another tokenizer would be learnt. Its folder is not known: a name that is not found is an error.
        given = [file.name for files in tokenizer.manifest.inputs.values() for file in files]
        name = TOKENIZER_FILE if TOKENIZER_FILE in given else given[0]  # among others, it is that of an imported model
        sections["tokenizer_file"] = name
        head += f"# The tokenizer was given as the file {name}: say below where it lies, unless it lies here.\n"
    return head + yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)
