"""The verb `plan`: what a training run will take."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from flows.cli.output import print_json, print_table
from flows.cli.state import JsonOption
from infra.errors import BadConfig
from infra.quantities import byte_size
from infra.stage import parse_params
from tasks.plan.memory import TrainingMemory
from tasks.plan.plan import Plan, PlanParams, plan
from tasks.plan.published import PUBLISHED
from tasks.report.funnel import counted


def plan_verb(
    params: Annotated[float | None, typer.Option(help="Parameters, as 70e9.")] = None,
    tokens: Annotated[float | None, typer.Option(help="Training tokens, as 1.4e12; default: params x ratio.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Tokens a parameter (20: Chinchilla).")] = None,
    gpu: Annotated[str | None, typer.Option(help="Accelerator: h100, a100, h200, b200, mi300x …")] = None,
    gpus: Annotated[int | None, typer.Option(help="How many.")] = None,
    mfu: Annotated[float | None, typer.Option(help="Model FLOPs utilisation, 0 to 1.")] = None,
    achieved: Annotated[float | None, typer.Option(help="FLOP/s that one GPU achieves, instead of --mfu.")] = None,
    count: Annotated[str | None, typer.Option(help="FLOPs that hours are of: 6nd, or exact with attention.")] = None,
    layers: Annotated[int | None, typer.Option(help="Layers; default: usual for the size.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden size; default: usual for the size.")] = None,
    heads: Annotated[int | None, typer.Option(help="Query heads.")] = None,
    kv_heads: Annotated[int | None, typer.Option(help="Key-value heads (the cache); default: --heads.")] = None,
    kv_width: Annotated[int | None, typer.Option(help="Key-value heads x head size, instead of heads.")] = None,
    preset: Annotated[str | None, typer.Option(help="Parameters and shape by name: 125m, 1b, 8b …")] = None,
    vocab: Annotated[int | None, typer.Option(help="Vocabulary.")] = None,
    seq_len: Annotated[int | None, typer.Option(help="Tokens of a sequence.")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Sequences a forward pass on one GPU.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or muon.")] = None,
    checkpointing: Annotated[bool | None, typer.Option(help="Recompute activations in the backward pass.")] = None,
    checkpoints: Annotated[int | None, typer.Option(help="Checkpoints that are kept.")] = None,
    price: Annotated[float | None, typer.Option(help="US dollars a GPU hour.")] = None,
    people: Annotated[float | None, typer.Option(help="People at work while it runs.")] = None,
    salary: Annotated[float | None, typer.Option(help="US dollars a year that one of them costs.")] = None,
    pue: Annotated[float | None, typer.Option(help="Power of the site over that of its machines, from 1.")] = None,
    host_share: Annotated[
        float | None, typer.Option(help="Power of host, network and storage over that of the GPUs.")
    ] = None,
    carbon: Annotated[float | None, typer.Option(help="kg CO2e a kWh.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show published runs beside their arithmetic.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Plan a training run: FLOPs, GPU hours, memory by ZeRO stage, storage, cost, energy, carbon."""
    if published:
        _print_published(as_json)
        return
    if params is None and preset is None:
        raise BadConfig("say how large the model is, as in --params 70e9 or --preset 8b, or ask for --published runs")
    given = {name: value for name, value in locals().items() if name in PlanParams.model_fields and value is not None}
    made = plan(parse_params(PlanParams, given, "plan"))  # type: ignore[arg-type]  # it is what parse_params returns
    if as_json:
        print_json(made.as_dict())
        return
    _print(made)


def _print(made: Plan) -> None:
    def line(name: str, value: str) -> None:
        typer.echo(f"{name:<22}{value}")

    line("model", f"{_si(made.params)} parameters, {made.layers} layers, width {made.hidden:,}")
    line("data", f"{_si(made.tokens)} tokens ({made.tokens / made.params:.1f} a parameter)")
    line("training FLOP", f"{made.flops:.3g} (6ND); {made.exact_flops:.3g} with attention")
    line("GPU hours", f"{made.gpu_hours:,.0f} on {made.gpu} at {made.flops_per_gpu / 1e12:,.0f} TFLOP/s each")
    line("time", f"{_time(made.days)} on {counted(made.gpus, 'GPU')}")
    checkpoint, paper = byte_size(round(made.checkpoint)), byte_size(round(made.checkpoint_published))
    kept = byte_size(round(made.checkpoint_storage))
    line("checkpoint", f"{checkpoint} as pretrain writes it, kept ones {kept}; mixed precision {paper}")
    line(
        "inference",
        f"{byte_size(round(made.inference_weights))} of weights,"
        f" {byte_size(round(made.inference_cache))} of cache a sequence",
    )
    people = f" + ${made.people_cost:,.0f} for people" if made.people_cost else ""
    line("cost", f"${made.gpu_cost:,.0f} for GPUs{people}")
    line("energy", f"{made.kwh:,.0f} kWh, {made.tonnes_co2e:,.1f} t CO2e")
    size = byte_size(round(made.gpu_bytes))
    typer.echo(f"\nmemory a GPU, of {size}, as pretrain trains (fp32 weights and gradients, bf16 products):")
    _print_memory(made.training, made.gpu_bytes)
    typer.echo(
        "\nin the mixed precision of the ZeRO paper (bf16 weights and gradients, fp32 master weights, whole logits):"
    )
    _print_memory(made.training_published, made.gpu_bytes)
    for warning in made.warnings:
        typer.echo(f"\nwarning: {warning}")


def _print_memory(stages: Sequence[TrainingMemory], available: float) -> None:
    parts = ("weights", "gradients", "optimizer", "buffers", "activations", "logits", "total")
    rows: list[list[Any]] = [
        [
            f"ZeRO {one.stage}",
            *(byte_size(round(getattr(one, part))) for part in parts),
            "fits" if one.total <= available else "too much",
        ]
        for one in stages
    ]
    print_table(rows, ["", *parts, ""])


def _print_published(as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {**vars(run), "planned_flops": run.planned_flops, "achieved": run.achieved, "days": run.days}
                for run in PUBLISHED
            ]
        )
        return
    rows = [
        [
            run.name,
            _si(run.params),
            _si(run.tokens),
            f"{run.planned_flops:.2e}",
            f"{run.flops:.2e}" if run.flops else "",
            f"{run.gpu_hours:,.0f}" if run.gpu_hours else "",
            f"{run.devices:,}" if run.devices else "",
            f"{run.days:.0f}" if run.days else "",
            f"{run.achieved / 1e12:.0f}" if run.achieved else "",
            run.device,
            run.source,
        ]
        for run in PUBLISHED
    ]
    header = ["run", "params", "tokens", "6ND", "published", "GPU hours", "GPUs", "days", "TFLOP/s", "on", "source"]
    print_table(rows, header)


def _si(value: float) -> str:
    """70e9 -> 70B, 1.4e12 -> 1.4T."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.4g}{unit}"
    return f"{value:.4g}"


def _time(days: float) -> str:
    return f"{days:,.1f} days" if days >= 2 else f"{days * 24:,.1f} hours"
