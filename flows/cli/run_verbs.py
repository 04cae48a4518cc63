"""Verbs that make artifacts: run (a flow) and stage (one stage by itself)."""

import importlib
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.output import print_json
from flows.cli.state import JsonOption, StoreOption, the_store

SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Set one value.")]


def run(
    flow: Annotated[str, typer.Argument(help="curate, pretrain, scaling, posttrain, evaluate or pipeline.")],
    profile: Annotated[str, typer.Option(help="demo, laptop, gpu or cluster.")] = "demo",
    config: Annotated[Path | None, typer.Option(help="A YAML file over the profile.")] = None,
    sets: SetOption = None,
    start: Annotated[str | None, typer.Option("--from", help="Only reuse the stages before this one.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    refresh: Annotated[list[str] | None, typer.Option(help="Compute this stage again and compare.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let a refreshed artifact that differs take over.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a flow; what exists already is reused, what a killed run left is continued."""
    from flows.config import CurateConfig
    from flows.resolving import resolve
    from flows.road import RunOptions, check_options
    from tasks.crawl import check_places

    options = RunOptions(
        store=str(the_store(store).root),
        start=start,
        until=until,
        refresh=tuple(refresh or ()),
        replace=replace,
    )
    resolved = resolve(flow, profile, config, sets or (), options)
    check_options(flow, options)
    if isinstance(resolved, CurateConfig):
        check_places(resolved.crawl)  # before a server is started for nothing
    _log_to(sys.stderr if as_json else sys.stdout)
    from infra.prefect_server import prefect_api

    with prefect_api():
        rows = getattr(importlib.import_module(f"flows.{flow}"), flow)(resolved)
    if as_json:
        print_json(rows)
        return
    from flows.pages import PAGES, page_link

    pages = {row["stage"]: row["ref"] for row in rows if row["stage"] in PAGES}
    for name, ref in pages.items():
        typer.echo(f"{name}: {page_link(the_store(store).open(ref))}")


def stage(
    name: Annotated[str, typer.Argument(help="The stage to run.")],
    given: Annotated[
        list[str] | None, typer.Option("--in", metavar="ROLE=REF|FILE", help="Fill a role; repeat for several.")
    ] = None,
    sets: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one stage by itself, on artifacts or on your own files."""
    from flows.by_hand import fill_roles, parse_settings
    from flows.road import LogReporter, result_row
    from flows.stages import load_stage
    from infra.stage import RunContext, parse_params, running
    from infra.store.running import RunStore

    loaded = load_stage(name)
    values, runtime = parse_settings(sets or ())
    params = parse_params(loaded.params_type, values, name)
    opened = RunStore(the_store(store).root)
    _log_to(sys.stderr if as_json else sys.stdout)
    context = RunContext(store=opened, runtime=runtime, reporter=LogReporter())
    with opened, running(context):
        roles = fill_roles(loaded, given or (), opened)
        loaded.run_in(context, params=params, **roles)
    if as_json:
        print_json(result_row(context.results[-1]))


def _log_to(stream: Any) -> None:
    """Sluice's own log as plain lines; Prefect's console log off (its log of a run is in its UI)."""
    import os

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    log = logging.getLogger("sluice")
    log.setLevel(logging.INFO)  # of a stage by hand; a flow sets what its runtime says
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
