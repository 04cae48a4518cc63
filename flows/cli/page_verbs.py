"""Verbs about single pages: explain (from a page to the models) and trace (from tokens back to the page)."""

from typing import Annotated

import typer

from flows.cli.output import print_json
from flows.cli.state import JsonOption, StoreOption, the_store
from infra.errors import BadInput

TIPS = ("mix", "pii", "dedup", "select", "filter", "extract")  # the furthest of these is what `explain` asks about


def explain(
    page: Annotated[str, typer.Argument(metavar="URL|DOC_ID", help="The page.")],
    tip: Annotated[
        str | None, typer.Option("--in", metavar="REF", help="Whose lineage to ask; by default the latest mix.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what each stage did with a page and why, and how often each model has seen it."""
    from tasks.explain import explain as explain_page

    opened = the_store(store)
    if tip is None:
        tip = next((f"{stage}@latest" for stage in TIPS if opened.versions(stage)), None)
        if tip is None:
            raise BadInput(f"no curated crawl in {opened.root}; `sluice run curate` makes one")
    pages = explain_page(opened, page, opened.open(tip))
    if as_json:
        print_json([found.as_dict() for found in pages])
        return
    for found in pages:
        typer.echo(f"{found.url}")
        typer.echo(f"  doc_id {found.doc_id or '-'}   captured {found.captured_at}   {found.warc}")
        for finding in found.findings:
            typer.echo(f"  {finding.stage:<10} {finding.fate:<8} {finding.text}   [{finding.ref}]")


def trace(
    ref: Annotated[str, typer.Argument(help="A tokens or pretrain artifact.")],
    place: Annotated[
        str,
        typer.Argument(
            metavar="DOMAIN/SPLIT:OFFSET|STEP:ROW",
            help="A token, or a training row: steps from 1 as in metrics.jsonl, rows of the batch and tokens from 0.",
        ),
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go from tokens, or a row of a training step, back to documents and to their WARC records."""
    from tasks.exposure import trace as trace_place

    found = trace_place(the_store(store).open(ref), place)
    if as_json:
        print_json([origin.as_dict() for origin in found])
        return
    for origin in found:
        typer.echo(f"tokens {origin.token_start:,}..{origin.token_end:,} of {origin.file}  ({origin.split})")
        typer.echo(f"  document  {origin.doc_id}   part {origin.part} row {origin.row}")
        typer.echo(f"  url       {origin.url}   captured {origin.captured_at}")
        end = origin.warc_offset + origin.warc_length
        typer.echo(f"  record    {origin.warc_path}  bytes {origin.warc_offset}..{end}")
        typer.echo(f"  text      {origin.text_start!r}")
