"""What every verb needs to know of the command line: which store, JSON or text."""

from typing import Annotated

import typer

from infra.settings import store_url
from infra.store import Store, open_store

StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="SLUICE_STORE", help="The artifact store.", show_default="./store"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def the_store(given: str | None) -> Store:
    """The store that --store, SLUICE_STORE or the default names."""
    return open_store(store_url(given))
