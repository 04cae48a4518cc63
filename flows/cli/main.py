"""`sluice`: the command line. An error is one line on stderr and a non-zero exit status; --debug adds the traceback."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from typer.exceptions import TyperException

from flows.cli import machine_verbs, model_verbs, page_verbs, plan_verb, run_verbs, store_verbs
from infra.errors import SluiceError
from infra.settings import quiet_environment

app = typer.Typer(
    name="sluice",
    help="From Common Crawl to a chat model: every stage versioned, every page traceable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

VERBS: dict[str, Callable[..., None]] = {
    "run": run_verbs.run,
    "stage": run_verbs.stage,
    "ls": store_verbs.ls,
    "show": store_verbs.show,
    "diff": store_verbs.diff_verb,
    "lineage": store_verbs.lineage,
    "verify": store_verbs.verify_verb,
    "tag": store_verbs.tag,
    "path": store_verbs.path,
    "gc": store_verbs.gc,
    "explain": page_verbs.explain,
    "trace": page_verbs.trace,
    "plan": plan_verb.plan_verb,
    "chat": model_verbs.chat,
    "export": model_verbs.export,
    "import": model_verbs.import_model,
    "serve": machine_verbs.serve,
    "doctor": machine_verbs.doctor,
}
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)

DEBUG = "--debug"
# Exit statuses: the user can mend it, the command is wrong, we must mend it, Ctrl-C.
FAILED, MISUSED, DEFECT, INTERRUPTED = 1, 2, 70, 130


@app.callback()
def options(debug: Annotated[bool, typer.Option(DEBUG, help="Show tracebacks.")] = False) -> None:
    """Options of every verb."""


def main() -> None:
    """Entry point of the console script."""
    quiet_environment()
    debug = DEBUG in sys.argv
    if debug:
        sys.argv.remove(DEBUG)
    try:
        sys.exit(app(standalone_mode=False))
    except SluiceError as error:
        if debug:
            raise
        _fail(str(error), FAILED)
    except TyperException as error:
        _explain_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; the same command continues", INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        lines = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {lines[0] if lines else ''}"
        _fail(f"a defect in Sluice: {what} (run again with --debug for more)", DEFECT)


def _explain_usage(error: TyperException) -> None:
    """One line for a mistaken command; the help, where nothing was asked for."""
    told = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    if context is None or len(told.strip().splitlines()) != 1:  # the help: printed already, or many lines
        print(told, end="", file=sys.stderr)
        sys.exit(MISUSED)
    _fail(f"{told} ({context.command_path} --help lists what it takes)", MISUSED)


def _fail(message: str, status: int) -> None:
    print(f"sluice: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
