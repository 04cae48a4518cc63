"""Verbs about the machine: doctor (is everything there?) and serve (Prefect's UI, worker and schedules)."""

import signal
from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.output import print_json
from flows.cli.state import JsonOption, StoreOption, the_store


def doctor(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check Python, Java, compiler, disk, memory, ports and Prefect, and say how to mend what is missing."""
    from infra.doctor import report, run_checks

    checks = run_checks(the_store(store).root)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        typer.echo(report(checks))
    if any(check.status == "problem" for check in checks):
        raise typer.Exit(1)


def serve(
    port: Annotated[int, typer.Option(help="Port of Prefect's UI and API.")] = 4200,
    reports_port: Annotated[int, typer.Option(help="Port of the report pages.")] = 4201,
    store: StoreOption = None,
) -> None:
    """Serve Prefect's UI on this machine with a worker, the deployments and their schedule, until Ctrl-C."""
    from flows.serve import serving

    with serving(the_store(store), port, reports_port) as names:
        typer.echo(f"Prefect's UI:  http://127.0.0.1:{port}")
        typer.echo(f"deployments:   {', '.join(names)}")
        typer.echo("Ctrl-C ends server, worker and running flows' processes; finished work stays in the store.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()
