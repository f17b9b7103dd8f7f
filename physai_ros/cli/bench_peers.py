"""`physai bench peers`: learning from own episodes beside a known implementation of reinforcement learning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

Row = dict[str, Any]


def peers(
    python: Annotated[Path, typer.Option(help="Interpreter of an environment of requirements/peers.txt.")],
    task: Annotated[str, typer.Option(help="Of MetaWorld.")] = "peg-insert-side-v3",
    seeds: Annotated[int, typer.Option(min=1, help="From --seed on.")] = 5,
    demonstrations: Annotated[int, typer.Option(min=1, help="Of MetaWorld's scripted policy, for both.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Ours: at most so many, of own episodes.")] = 20,
    episodes: Annotated[int, typer.Option(min=1, help="Ours: of a round.")] = 20,
    updates: Annotated[int, typer.Option(min=1, help="Ours: after a round, and as many before.")] = 2000,
    exploration: Annotated[float, typer.Option(min=0.0, help="Ours: in own episodes, of the largest action.")] = 0.1,
    arms: Annotated[str, typer.Option(help="Samplers of ours, and SAC, by commas; the first is compared to.")] = (
        "uniform,SAC"
    ),
    most_steps: Annotated[int, typer.Option(min=1, help="The peer's: at most so many environment steps.")] = 40_000,
    judge_every: Annotated[int, typer.Option(min=1, help="The peer's: steps between judgements.")] = 5_000,
    held_out: Annotated[int, typer.Option(min=1, help="Rollouts that judge a policy.")] = 100,
    results: Annotated[Path | None, typer.Option(help="Rows are kept here; run again, it goes on.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Environment steps and CPU seconds to 90 % success, beside Stable-Baselines3's SAC.

    A sparse reward and the same demonstrations for both, which SAC has in its replay buffer from the start. Neither's
    settings were chosen on the task. Steps and seconds begin after the demonstrations; judging costs neither.
    """
    from contextlib import closing
    from dataclasses import asdict

    from rich.console import Console

    from physai_ros.cli.peer_study import SAC, PeerPlan, run_ours, run_sac
    from physai_ros.cli.results import made_by, write_json
    from physai_ros.cli.sampler_study import RowFile
    from physai_ros.cli.training_problems import MetaworldProblem

    console, file, rows = Console(), RowFile(results, made_by()), []
    names = list(dict.fromkeys(name for name in arms.split(",") if name))
    with closing(MetaworldProblem(task, python)) as problem:
        for number in range(seed, seed + seeds):
            for arm in names:
                plan = PeerPlan(
                    task,
                    number,
                    demonstrations,
                    held_out=held_out,
                    rounds=rounds,
                    episodes=episodes,
                    updates=updates,
                    exploration=exploration,
                    sampler="" if arm == SAC else arm,
                    most_steps=most_steps,
                    judge_every=judge_every,
                )
                row = file.find(plan=asdict(plan), arm=arm)
                if row is None:

                    def tell(point: Row, who: str = f"seed {number}, {arm}") -> None:
                        done = f"{point['own_steps']:,} steps, {point['cpu_seconds']:.0f} CPU seconds"
                        won = f"{point['success']:.0%} of {point['rollouts']}"
                        console.print(f"[dim]{task}, {who}: {won} after {done}[/dim]")

                    curve = run_sac(plan, problem, python, tell) if arm == SAC else run_ours(plan, problem, tell)
                    row = {"arm": arm, "curve": curve, "plan": asdict(plan)} | file.made_by
                    file.add(row)
                rows.append(row)
    console.print(_table(rows))
    if json_file is not None:
        write_json(json_file, "bench peers", seed, figures(rows), rows=rows)


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """How many runs of each arm came to the level, and what the others took beside the first arm, paired by seed.

    A run that did not come to the level counts with all that it took: where that was the other's, the ratio is at
    least this.
    """
    from physai_ros.evaluation.learning_curves import paired_ratio

    found: dict[str, float] = {}
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    of = {arm: {row["plan"]["seed"]: row for row in rows if row["arm"] == arm} for arm in arms}
    for arm, mine in of.items():
        name = arm.lower()
        found[f"{name}_reached"] = float(sum(_cost(row, "own_steps")[1] for row in mine.values()))
        found[f"{name}_success"] = sum(row["curve"][-1]["success"] for row in mine.values()) / len(mine)
        for what in ("own_steps", "cpu_seconds"):
            if arm == arms[0]:
                continue
            pairs = [
                [max(_cost(one[seed], what)[0], 1.0) for one in (mine, of[arms[0]])]
                for seed in mine
                if seed in of[arms[0]]
            ]
            ratio = paired_ratio({name: [theirs / first for theirs, first in pairs]})
            found |= {
                f"{name}_{what}_ratio": ratio.ratio,
                f"{name}_{what}_lower": ratio.lower,
                f"{name}_{what}_upper": ratio.upper,
            }
    return found


def _cost(row: Row, what: str) -> tuple[float, bool]:
    """What the first policy at the level took, or all that was taken, and whether there was one."""
    for point in row["curve"]:
        if point["success"] >= row["plan"]["level"]:
            return float(point[what]), True
    return float(row["curve"][-1][what]), False


def _table(rows: Sequence[Row]) -> Table:
    from rich.table import Table

    title = "own steps and CPU seconds to the level; 'no': that was all, and it did not come there"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("seed", "arm", "first", "last", "steps", "CPU s", "level"):
        table.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
    for row in rows:
        (steps, reached), (seconds, _) = _cost(row, "own_steps"), _cost(row, "cpu_seconds")
        table.add_row(
            str(row["plan"]["seed"]),
            row["arm"],
            f"{row['curve'][0]['success']:.0%}",
            f"{row['curve'][-1]['success']:.0%}",
            f"{steps:,.0f}",
            f"{seconds:.0f}",
            "yes" if reached else "no",
        )
    return table
