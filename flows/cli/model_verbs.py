"""Verbs that use a model: chat, export and import."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import run_verbs
from flows.cli.output import print_json
from flows.cli.state import JsonOption, StoreOption, the_store

ModelRef = Annotated[str, typer.Argument(help="A model: dpo@latest, sft@latest, pretrain@latest …")]


def chat(
    ref: ModelRef = "dpo@latest",
    once: Annotated[str | None, typer.Option(help="Ask this one question, print the answer and end.")] = None,
    store: StoreOption = None,
) -> None:
    """Talk with a model."""
    from tasks.chat_session import ChatSession

    session = ChatSession.open(the_store(store).open(ref))
    if once is not None:
        _answer(session, once)
        return
    typer.echo("An empty line ends the conversation.")
    while question := typer.prompt("you", default="", show_default=False):
        _answer(session, question)


def _answer(session: "ChatSession", question: str) -> None:  # type: ignore[name-defined]  # noqa: F821
    for piece in session.reply(question):
        typer.echo(piece, nl=False)
    typer.echo()


def export(
    ref: ModelRef,
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist or be empty.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model as a folder that transformers loads: AutoModelForCausalLM and AutoTokenizer."""
    from tasks.export import export_model

    artifact = the_store(store).open(ref)
    written = export_model(artifact, folder)
    if as_json:
        print_json({"ref": artifact.ref, "path": str(folder.absolute()), "files": written})
    else:
        typer.echo(f"{artifact.ref} -> {folder.absolute()} ({', '.join(written)})")


def import_model(
    folder: Annotated[Path, typer.Argument(help="A folder as save_pretrained writes it, weights in safetensors.")],
    sets: run_verbs.SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a model of transformers into the store: Llama, Qwen2 or Qwen3, the same maths or refused in one line."""
    run_verbs.stage("imported-model", [f"folder={folder}"], sets, store, as_json)
