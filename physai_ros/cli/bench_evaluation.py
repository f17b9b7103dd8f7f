"""`physai bench evaluation`: whether intervals cover, tests keep their level, and what looking early saves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.cli.rollout_speed import Row


def evaluation(
    runs: Annotated[int, typer.Option(min=100, max=1_000_000, help="Simulated evaluations a row.")] = 10_000,
    registry: Annotated[
        Path | None,
        typer.Option(help="Registry whose active policy is run by one process and by several, beside MuJoCo."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=2, help="Of that policy, each time.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated evaluations and of the scenarios.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Try the statistics on evaluations whose truth is known; with --registry also the speed of real episodes."""
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation import error_study

    console, began = Console(), time.monotonic()
    console = Console(width=max(console.width, 130))  # a row is one line also where the output is no screen
    with console.status(f"{runs} simulated evaluations a row"):
        rows = error_study.study(runs, seed)
    figures = error_study.figures(rows) | {"study_seconds": time.monotonic() - began}
    table = Table("", "method", "case", "trials", "rate", "95 %", "pairs used", box=None)
    for row in rows:
        table.add_row(
            row["kind"],
            row["method"],
            row["case"],
            str(row["trials"]),
            f"{row['rate']:.3f}",
            f"{row['rate_lower']:.3f} to {row['rate_upper']:.3f}",
            f"{row['pairs_used']:.1f}" if "pairs_used" in row else "",
        )
    console.print(table)
    if registry is not None:
        speeds, rounds = _speed(registry, episodes, seed)
        figures, rows = figures | speeds, [*rows, *rounds]
    shown = Table("figure", "value", box=None)
    for name, value in figures.items():
        shown.add_row(name, f"{value:.4g}")
    console.print(shown)
    if json_file is not None:
        write_json(json_file, "bench evaluation", seed, figures, rows=rows)


def _speed(registry: Path, episodes: int, seed: int) -> tuple[dict[str, float], list[Row]]:
    from physai_ros.cli.rollout_speed import rollout_speed
    from physai_ros.evaluation.cluster import trial_crew
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.evaluation.trials import TrialSettings
    from physai_ros.policy.registry import PolicyRegistry

    versions = PolicyRegistry(registry)
    version = resolve_version(versions, "current")
    settings = TrialSettings(versions.manifest(version).task, str(registry))
    with trial_crew(None) as crew:
        return rollout_speed(settings, version, episodes, seed, crew)
