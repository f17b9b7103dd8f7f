"""The `physai` command: one file a sub-command in this folder, registered here.

A command's file imports nothing heavier than typer at its top, and what it works with inside its function, so that
`physai --help` is quick.
"""

import os
import sys
from typing import Annotated, Any

import typer

from physai_ros import __version__
from physai_ros.cli.audit import audit
from physai_ros.cli.bench import bench
from physai_ros.cli.collect import collect
from physai_ros.cli.data import data
from physai_ros.cli.demo import demo
from physai_ros.cli.detector import detector
from physai_ros.cli.evaluate import evaluate
from physai_ros.cli.exchange import export_command, import_command
from physai_ros.cli.faults import faults
from physai_ros.cli.label import label
from physai_ros.cli.policies import policies
from physai_ros.cli.report import report
from physai_ros.cli.teleop import teleop
from physai_ros.cli.train import train
from physai_ros.cli.transfer import transfer
from physai_ros.cli.up import up
from physai_ros.cli.view import view
from physai_ros.cli.world import world
from physai_ros.deployment.environment import prepare_process

EXPECTED = (LookupError, OSError, RuntimeError, ValueError)
"""Errors whose message says what to do; anything else is a fault of ours and shows where it arose."""


class Application(typer.Typer):
    """A typer application that fails with one clear line."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 typer's own signature
        """Run the command line; exit with 1 and one line on standard error if it fails."""
        prepare_process()
        try:
            return super().__call__(*args, **kwargs)
        except EXPECTED as error:
            if os.environ.get("PHYSAI_TRACEBACK"):
                raise
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            print(f"physai: {' '.join(str(text).split())}", file=sys.stderr)
            sys.exit(1)


app = Application(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="On-robot learning for manipulator arms. A failure is one line; PHYSAI_TRACEBACK=1 shows where it arose.",
)


@app.callback(invoke_without_command=True)
def physai(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Answer what concerns no single command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command()(demo)
app.command()(up)
app.command()(world)
app.command()(view)
app.command()(collect)
app.command()(evaluate)
app.command()(report)
app.command()(faults)
app.command()(audit)
app.add_typer(bench, name="bench")
app.add_typer(data, name="data")
app.command()(label)
app.add_typer(detector, name="detector")
app.command()(teleop)
app.add_typer(import_command, name="import")
app.add_typer(export_command, name="export")
app.add_typer(policies, name="policies")
app.command()(train)
app.command()(transfer)


if __name__ == "__main__":
    app()
