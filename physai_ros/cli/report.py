"""`physai report RUN`: one HTML page and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, with its run.json.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the page and its pictures.", show_default="RUN")] = None,
    result: Annotated[
        list[Path] | None,
        typer.Option(help="Also show this file, which `--json` of a command wrote; may be given again and again."),
    ] = None,
) -> None:
    """Draw report.html and PNG pictures from a run; the page needs no network."""
    from physai_ros.evaluation.report import write_report

    typer.echo(write_report(run, out, result or []))
