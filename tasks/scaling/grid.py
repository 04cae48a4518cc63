"""From a grid of budgets and sizes to the pretraining runs that it takes, before the first of them starts.

Each run is the base `PretrainParams` with a shape and a number of steps of its own. Its tokens are the budget divided
by the FLOPs of a token at its shape and length of rows, rounded to whole steps; its schedule ends with its last step,
since the loss of a run that is stopped half-way says nothing about one that was meant to be short (Hoffmann et al.
2022, section 3.1). What the data or the schedule cannot carry is left out, and said with its reason.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from infra.errors import BadConfig
from model.config import LSTMConfig, ModelConfig, OptimConfig
from model.presets import lstm_for_params
from tasks.course import Shown, shown
from tasks.pretrain import PretrainParams, held_out_tokens, shape_of
from tasks.scaling.parabola import MIN_VALUES
from tasks.scaling.settings import NEAR, OWN_MIXTURE, GridParams, Point
from tasks.scaling.shapes import Family, family_of, shape_near
from tasks.shape import Shape
from tasks.tokens.files import Tokens

Kind = Literal["architecture", "width_depth", "rate", "mixture", "objective"]


@dataclass(frozen=True)
class Tag:
    """What a run is an answer to: variants of one `kind` at one point are held against each other."""

    kind: Kind
    flops: float
    params: float
    variant: str


@dataclass(frozen=True)
class PlannedRun:
    """One run. `params` are its stage's parameters, `size` its parameters of matrix products, `flops` what it takes."""

    params: PretrainParams
    budget: float
    size: int
    tokens: int
    flops: float
    epochs: float
    in_grid: bool
    tags: tuple[Tag, ...] = ()
    refusal: str = ""  # why the stage would not make it; empty: it would
    validation_flops: float = 0.0  # of reading the held-out rows once; no part of the budget

    @property
    def identity(self) -> str:
        """What makes it this run and no other."""
        return self.params.model_dump_json()

    @property
    def work(self) -> float:
        """FLOPs that it keeps the machine busy with."""
        return self.flops + self.validation_flops

    @property
    def name(self) -> str:
        """As a person tells runs apart: `4e+12 FLOP, 512,000 parameters, lstm`."""
        more = "".join(f", {tag.variant}" for tag in self.tags)
        return f"{self.budget:.3g} FLOP, {self.size:,} parameters{more}"


@dataclass(frozen=True)
class Plan:
    """The runs in the order they are made, the cheap ones first, and a line for each that is left out."""

    runs: tuple[PlannedRun, ...]
    left_out: tuple[str, ...]

    @property
    def flops(self) -> float:
        """Of all runs."""
        return sum(run.flops for run in self.runs)


def plan_runs(grid: GridParams, base: PretrainParams, vocab_size: int, tokens: Tokens) -> Plan:
    """All runs of a study.

    Raises:
        BadConfig: a size too small for the vocabulary, a budget with fewer than three sizes left, a base that is none.
        BadInput: a mixture names domains that are not there.
    """
    if problem := base_problem(base):
        raise BadConfig(problem)
    planned: dict[str, PlannedRun] = {}
    left_out: list[str] = []
    sizes_left: dict[float, set[int]] = {budget: set() for budget in grid.budgets}
    for run in _all_runs(grid, base, vocab_size, tokens):
        reason = _reason_against(run, grid)
        if reason:
            left_out.append(f"{run.name}: {reason}; left out")
            continue
        if run.in_grid:
            sizes_left[run.budget].add(run.size)
        known = planned.get(run.identity)
        if known is not None:  # the same run answers two questions
            tags = known.tags + tuple(tag for tag in run.tags if tag not in known.tags)
            run = replace(run, in_grid=known.in_grid or run.in_grid, tags=tags)
        planned[run.identity] = run
    for budget, sizes in sizes_left.items():
        if len(sizes) < MIN_VALUES:
            told = "; ".join(line for line in left_out if line.startswith(f"{budget:.3g} FLOP")) or "equal shapes"
            raise BadConfig(
                f"scaling: budget {budget:.3g} FLOP has {len(sizes)} sizes left and needs {MIN_VALUES} ({told})"
            )
    variants = Counter((tag.kind, tag.flops, tag.params) for run in planned.values() for tag in run.tags)
    lonely = {point for point, n in variants.items() if n < 2}
    for kind, flops, params in sorted(lonely):
        left_out.append(f"{kind} at {flops:.3g} FLOP, {params:.3g} parameters: one run, and nothing to compare it with")
    kept = [
        replace(run, tags=tuple(tag for tag in run.tags if (tag.kind, tag.flops, tag.params) not in lonely))
        for run in planned.values()
    ]
    runs = sorted(
        (run for run in kept if run.in_grid or run.tags), key=lambda run: (not run.in_grid, run.budget, run.size)
    )
    return Plan(tuple(runs), tuple(left_out))


def base_problem(base: PretrainParams) -> str:
    """Why these cannot be what the runs of a study have in common; empty: they can."""
    foreign = {
        "phases": bool(base.phases),
        "batch_ramp": bool(base.batch_ramp),
        "objective": base.objective != "causal",
        "shape.architecture": base.shape.architecture != "transformer",
    }
    told = ", ".join(f"pretrain.{name}" for name, is_given in foreign.items() if is_given)
    if not told:
        return ""
    return (
        "scaling: its runs have one phase, one batch size, the causal objective and transformers (for others see"
        f" scaling.compare); leave out {told}"
    )


def planned_run(
    grid: GridParams,
    base: PretrainParams,
    shape: Shape,
    budget: float,
    vocab_size: int,
    tokens: Tokens,
    in_grid: bool = False,
    tags: tuple[Tag, ...] = (),
) -> PlannedRun:
    """One run: as many steps as the budget pays for at this shape."""
    params = base.model_copy(update={"shape": shape})
    network = shape_of(params, vocab_size)
    steps, n_tokens, flops = paid_for(budget, params, network)
    params = fitted_to(params, steps, grid.warmup).model_copy(update={"validation_rows": grid.validation_rows})
    course = shown(params, tokens, steps)
    try:
        course.check()
        refusal = ""
    except BadConfig as error:
        refusal = str(error)
    size, epochs = counted_params(network), most_epochs(course)
    # Forward alone, a third of what a token takes in training.
    measuring = network.flops_per_token(params.seq_len) / 3 * tokens_measured(params, tokens)
    return PlannedRun(params, budget, size, n_tokens, flops, epochs, in_grid, tags, refusal, measuring)


def tokens_measured(params: PretrainParams, tokens: Tokens) -> int:
    """Held-out tokens that a validation reads."""
    every = held_out_tokens(tokens)
    return every if params.validation_rows is None else min(every, params.validation_rows * params.seq_len)


def most_epochs(course: Shown) -> float:
    """How often a run shows the text that it shows most often: with a mixture, that of its scarcest domain."""
    return max(
        passes
        for number, reading in enumerate(course.streams)
        for passes in reading.passes(0, course.course.samples_of(number)).values()
    )


def paid_for(budget: float, params: PretrainParams, network: ModelConfig | LSTMConfig) -> tuple[int, int, float]:
    """(steps, tokens, FLOPs) that come nearest to a budget, in whole steps and at least one."""
    a_token = network.flops_per_token(params.seq_len)
    per_step = params.batch_size * params.seq_len
    steps = max(1, round(budget / (a_token * per_step)))
    return steps, steps * per_step, a_token * steps * per_step


def fitted_to(params: PretrainParams, steps: int, warmup: float) -> PretrainParams:
    """The same run over `steps`: schedule, warm-up and the one validation follow its length."""
    optim = params.optim.model_copy(update={"warmup_steps": round(warmup * steps)})
    changed = {"steps": steps, "tokens": None, "optim": optim, "validate_every": steps}
    return params.model_copy(update=changed)


def counted_params(network: ModelConfig | LSTMConfig) -> int:
    """The size that the laws are in: parameters of the matrix products, the output head among them."""
    return network.n_matmul_params


def _all_runs(grid: GridParams, base: PretrainParams, vocab_size: int, tokens: Tokens) -> Iterator[PlannedRun]:
    smallest, family = min(grid.budgets), _family(grid, base, vocab_size)
    for budget in sorted(grid.budgets):
        growth = (budget / smallest) ** grid.growth
        sizes = [size * growth for size in sorted(grid.sizes)]
        shapes = grid.shapes or [shape_near(size, vocab_size, grid.aspect, family) for size in sizes]
        for shape in dict.fromkeys(shapes):
            for seed in range(base.seed, base.seed + grid.seeds):
                seeded = base.model_copy(update={"seed": seed})
                yield planned_run(grid, seeded, shape, budget, vocab_size, tokens, in_grid=True)
    for tag, changed, shape in _compared(grid, base, vocab_size, family):
        yield planned_run(grid, changed, shape, tag.flops, vocab_size, tokens, tags=(tag,))


def _family(grid: GridParams, base: PretrainParams, vocab_size: int) -> Family:
    """What the shapes that are chosen for a size share: what those given do, else what is not size in the base's."""
    shapes = grid.shapes or (base.shape,)
    found = family_of([shape_of(base.model_copy(update={"shape": shape}), vocab_size) for shape in shapes])
    return found if grid.shapes else replace(found, head_size=None, queries_a_kv_head=1)


def _compared(
    grid: GridParams, base: PretrainParams, vocab_size: int, family: Family
) -> Iterator[tuple[Tag, PretrainParams, Shape]]:
    """(tag, parameters, shape) of the runs beside the grid. At each point one variant is the grid's own way."""
    compare = grid.compare

    def tag(kind: Kind, point: Point, variant: str) -> Tag:
        return Tag(kind, point.flops, point.params, variant)

    def own_way(point: Point) -> Shape:
        return shape_near(point.params, vocab_size, grid.aspect, family)

    for point in compare.architectures.at:
        own = own_way(point)
        size = counted_params(own.network(vocab_size, base.seq_len))
        try:
            width, layers = lstm_for_params(size, vocab_size, compare.architectures.lstm_layers)
        except ValueError as error:
            raise BadConfig(f"scaling: {error}") from error
        yield tag("architecture", point, "transformer"), base, own
        lstm = Shape(architecture="lstm", hidden_size=width, n_layers=layers, tie_embeddings=family.tie_embeddings)
        yield tag("architecture", point, "lstm"), base, lstm
    for point in compare.width_depth.at:
        aspects = sorted(compare.width_depth.aspects)
        shapes = (shape_near(point.params, vocab_size, aspect, family) for aspect in aspects)
        for shape in dict.fromkeys(shapes):  # two aspects may come to one shape, since widths go in steps
            yield tag("width_depth", point, f"{shape.hidden_size} x {shape.n_layers}"), base, shape
    for point in compare.rates.at:
        for factor in sorted(compare.rates.factors):
            optim = scaled_rates(base.optim, factor)
            changed = base.model_copy(update={"optim": optim})
            yield tag("rate", point, f"{peak_rate(optim):.4g}"), changed, own_way(point)
    for point in compare.mixtures.at:
        named = {OWN_MIXTURE: base.mixture, **compare.mixtures.mixtures}
        for name, mixture in named.items():
            yield tag("mixture", point, name), base.model_copy(update={"mixture": mixture}), own_way(point)
    for point in compare.objectives.at:
        for name, objective in (("next tokens", "causal"), ("masked tokens", "masked")):
            yield tag("objective", point, name), base.model_copy(update={"objective": objective}), own_way(point)


def scaled_rates(optim: OptimConfig, factor: float) -> OptimConfig:
    """All peak rates times a factor."""
    return optim.model_copy(update={"lr": optim.lr * factor, "muon_lr": optim.muon_lr * factor})


def peak_rate(optim: OptimConfig) -> float:
    """The rate that a run is known by: that of its hidden matrices."""
    return optim.muon_lr if optim.name == "muon" else optim.lr


def _reason_against(run: PlannedRun, grid: GridParams) -> str:
    steps = run.params.steps or 0
    if steps < grid.min_steps:
        return f"{steps} steps, and min_steps is {grid.min_steps}"
    if abs(math.log(run.flops / run.budget)) > math.log(NEAR) / 2:
        return f"whole steps come to {run.flops:.3g} FLOP, too far from the budget to be of it"
    if run.epochs > grid.max_epochs:
        return f"shows its text {run.epochs:.1f} times, and max_epochs is {grid.max_epochs:g}"
    return run.refusal


@dataclass
class Pace:
    """How far a study is, by the work of its runs. Reused ones take no time and tell nothing about the rate."""

    plan: Plan
    done: int = 0
    seconds: float = 0.0
    work_made: float = 0.0

    def finished(self, run: PlannedRun, seconds: float, reused: bool) -> None:
        """Count a run."""
        self.done += 1
        if not reused:
            self.seconds += seconds
            self.work_made += run.work

    def seconds_left(self, to_make: Sequence[PlannedRun]) -> float | None:
        """For the runs that are still to be made; None before the first."""
        if not self.work_made:
            return None
        return sum(run.work for run in to_make) * self.seconds / self.work_made

    @property
    def share(self) -> float:
        """Of all FLOPs, that of the runs that are there."""
        made, wanted = (math.fsum(run.work for run in runs) for runs in (self.plan.runs[: self.done], self.plan.runs))
        return made / wanted
