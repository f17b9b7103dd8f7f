"""`physai bench classification`: how often the rules name the failure that was brought about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from physai_ros.cli.failure_cases import CaseRunner

_TRIES = 12  # draws for one case that comes about


def classification(
    episodes: Annotated[int, typer.Option(min=7, help="Episodes in all, as many of each kind.")] = 500,
    unseen: Annotated[bool, typer.Option(help="On arms that no threshold was set on, else on the one it was.")] = True,
    results: Annotated[Path | None, typer.Option(help="Go on from this file of rows, and add to it.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of scenarios, cases and arms.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Confusion matrix over episodes whose failure is known, from what a real driver supplies.

    Objects are dropped, collisions forced, grasps made unstable, paths blocked, stops pressed, and time runs out in
    ways that look like something else; the rules see no contact of the simulator.
    """
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.failure_cases import MODES, CaseRunner
    from physai_ros.cli.results import write_json

    rows = [json.loads(line) for line in results.read_text().splitlines()] if results and results.exists() else []
    done = {row["episode"] for row in rows}
    runner = CaseRunner()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("episodes", total=episodes)
        for number in range(episodes):
            mode = MODES[number % len(MODES)]
            name = f"{'unseen' if unseen else 'tuned'}-{seed:03d}-{number:05d}"
            if name not in done:
                row = run_case(runner, mode, name, [seed, number], unseen=unseen)
                rows.append(row)
                if results is not None:
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            progress.advance(bar)
    figures = figures_of(rows)
    _print(rows, figures)
    if json_file is not None:
        write_json(json_file, "bench classification", seed, figures, rows=rows)


def run_case(runner: CaseRunner, mode: str, name: str, seed: list[int], *, unseen: bool) -> dict[str, Any]:
    """One row: the mode brought about, the mode named, by which rule, with which evidence.

    Raises:
        RuntimeError: a case of this mode did not come about in a dozen draws.
    """
    import numpy as np

    from physai_ros.cli.failure_cases import TUNED_ON, draw_case, unseen_physics
    from physai_ros.feedback.failure_modes import classify_failure

    for attempt in range(_TRIES):
        generator = np.random.default_rng([*seed, attempt, int(unseen)])
        scenario = runner.scenario(generator)
        physics = unseen_physics(generator) if unseen else TUNED_ON
        case = draw_case(mode, scenario, generator)
        episode = runner.run(case, scenario, physics, int(generator.integers(1 << 31)), name)
        if episode is not None:
            verdict = classify_failure(episode, runner.task.force_budget)
            return {
                "episode": name,
                "mode": mode,
                "case": case.name,
                "named": verdict.mode,
                "rule": verdict.rule,
                "confidence": round(verdict.confidence, 3),
                "attempts": attempt + 1,
                "evidence": {key: round(float(value), 4) for key, value in verdict.evidence.items()},
            }
    raise RuntimeError(f"no case of {mode} came about in {_TRIES} draws; see physai_ros/cli/failure_cases.py")


def figures_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Share of episodes named correctly, with the lower end of its 95 % interval, in all and by mode."""
    from physai_ros.feedback.collector import Share

    whole = Share.of(sum(row["mode"] == row["named"] for row in rows), len(rows), "exact")
    figures: dict[str, float] = {"episodes": len(rows), "correct": whole.rate, "correct_lower": whole.lower}
    for mode in sorted({row["mode"] for row in rows}):
        part = [row for row in rows if row["mode"] == mode]
        share = Share.of(sum(row["named"] == mode for row in part), len(part), "exact")
        figures |= {f"correct_{mode}": share.rate, f"correct_{mode}_lower": share.lower}
    return figures


def _print(rows: list[dict[str, Any]], figures: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    modes = sorted({row["mode"] for row in rows})
    named = [*modes, *sorted({row["named"] for row in rows} - set(modes))]
    table = Table("brought about \\ named", *named, "correct", box=None)
    for mode in modes:
        counts = [sum(row["mode"] == mode and row["named"] == other for row in rows) for other in named]
        table.add_row(mode, *(str(count or "") for count in counts), f"{figures[f'correct_{mode}']:.1%}")
    console = Console()
    console.print(table)
    console.print(f"{figures['correct']:.1%} of {len(rows)} correct (95 %: at least {figures['correct_lower']:.1%})")
