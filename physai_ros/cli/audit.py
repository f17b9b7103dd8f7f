"""`physai audit`: verify the safety monitor's log, and print what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_ENVELOPE = ("n", "time", "event", "previous", "hash")


def audit(
    file: Annotated[Path, typer.Argument(help="The log, e.g. runs/NAME/safety_audit.jsonl.")],
    head: Annotated[str, typer.Option(help="A hash that was kept: the log must reach that far.")] = "",
    event: Annotated[str, typer.Option(help="Print events of this name alone.", show_default="all")] = "",
    last: Annotated[int, typer.Option(min=0, help="Print so many events; 0: none.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="For uniformity with other commands; nothing is drawn.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures and events to this file.")] = None,
) -> None:
    """Verify the chain of a safety log and print its last events; a broken chain is one line and exit code 1."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.safety.audit import read_audit, verify_audit

    verdict = verify_audit(file, head)
    records = [record for record in read_audit(file) if event in ("", record["event"])]
    console = Console()
    if last and records:
        table = Table("n", "time (UTC)", "event", "what", box=None)
        for record in records[-last:]:
            what = ", ".join(f"{name} {_text(value)}" for name, value in record.items() if name not in _ENVELOPE)
            table.add_row(str(record["n"]), record["time"].partition("+")[0], record["event"], what)
        console.print(table)
    lost = f", {verdict.dropped} more were dropped" if verdict.dropped else ""
    console.print(f"whole: {verdict.records} records{lost}; last hash {verdict.head}", soft_wrap=True)
    if json_file is not None:
        counts = Counter(f"{record['event']}_events" for record in records)
        figures = {"records": verdict.records, "dropped": verdict.dropped, **counts}
        write_json(json_file, "audit", seed, figures, verdict="whole", rows=records)


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
