"""`physai bench evaluation`: whether intervals cover, tests keep their level, and what looking early saves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def evaluation(
    runs: Annotated[int, typer.Option(min=100, max=1_000_000, help="Simulated evaluations a row.")] = 10_000,
    registry: Annotated[
        Path | None, typer.Option(help="Registry whose active policy is run by one process and by several.")
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
        figures |= _speed(registry, episodes, seed)
    shown = Table("figure", "value", box=None)
    for name, value in figures.items():
        shown.add_row(name, f"{value:.4g}")
    console.print(shown)
    if json_file is not None:
        write_json(json_file, "bench evaluation", seed, figures, rows=rows)


def _speed(registry: Path, episodes: int, seed: int) -> dict[str, float]:
    """Episodes a second of one process that runs them in turn, and of one process a core; processes run already."""
    import os

    from physai_ros.evaluation.parallel import TrialCrew, run_trials
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.evaluation.scenario_sets import scenario_seeds
    from physai_ros.evaluation.trials import Trial, TrialSettings
    from physai_ros.policy.registry import PolicyRegistry

    versions = PolicyRegistry(registry)
    version = resolve_version(versions, "current")
    settings = TrialSettings(versions.manifest(version).task, str(registry))
    trials = [Trial(i, s, version) for i, s in enumerate(scenario_seeds("nominal", seed, episodes))]
    workers = len(os.sched_getaffinity(0))
    run_trials(trials[:1], settings)  # what is imported and read once is not the loop's
    began = time.monotonic()
    in_turn = run_trials(trials, settings)
    sequential = time.monotonic() - began
    with TrialCrew(workers) as crew:
        crew.run(trials[:workers], settings)
        began = time.monotonic()
        beside = crew.run(trials, settings)
        parallel = time.monotonic() - began
    same = [a.outcome() == b.outcome() for a, b in zip(in_turn, beside, strict=True)]
    return {
        "workers": float(workers),
        "episodes_per_second_sequential": episodes / sequential,
        "episodes_per_second": episodes / parallel,
        "identical_results": sum(same) / len(same),
    }
