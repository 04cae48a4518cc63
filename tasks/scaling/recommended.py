"""From the laws to a configuration that `sluice run pretrain --config FILE` takes, and that reuses what the grid used.

Everything that shapes the run is written out, also what is a default, so that no profile under the file changes it.
"""

from dataclasses import dataclass

import yaml

from infra.store import Artifact
from model.presets import WIDTH_A_LAYER
from tasks.pretrain import PretrainParams, shape_of
from tasks.scaling.grid import counted_params, fitted_to, paid_for
from tasks.scaling.prediction import Laws
from tasks.scaling.shapes import shape_near

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
    laws: Laws, flops: float, base: PretrainParams, steps: int, vocab_size: int, aspect: float = WIDTH_A_LAYER
) -> Recommendation | None:
    """The best size for the budget and the steps that the budget pays for; None without a law.

    Args:
        base: parameters of a run of the grid: what is not size or length is as there.
        steps: that run's steps; the share of its warm-up is kept.

    Raises:
        BadConfig: the best size is smaller than any network with this vocabulary.
    """
    best = laws.best_params(flops)
    if best is None:
        return None
    sized = base.model_copy(update={"shape": shape_near(best.value, vocab_size, aspect)})
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
        (given,) = [file for files in tokenizer.manifest.inputs.values() for file in files]
        sections["tokenizer_file"] = given.name
        head += f"# The tokenizer was given as the file {given.name}: say below where it lies, unless it lies here.\n"
    return head + yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)
