"""`physai bench mastery`: from a few demonstrations by a policy's own episodes, in simulation, how far it comes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physai_ros.cli.places import Cluster, Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

Row = dict[str, Any]


def mastery(
    tasks: Annotated[str, typer.Option(help="Names, by commas.")] = "pick_place",
    seeds: Annotated[int, typer.Option(min=1, help="Of each task: from --seed on, one run each.")] = 3,
    demonstrations: Annotated[int, typer.Option(min=1, help="Noisy ones of the task's expert.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Own episodes, and a policy that learned from all before.")] = 3,
    episodes: Annotated[int, typer.Option(min=1, help="Own ones of each round.")] = 60,
    updates: Annotated[
        int, typer.Option(min=1, help="Gradient steps of each policy; of critics, after each round.")
    ] = 2000,
    objective: Annotated[
        str,
        typer.Option(help="rl: own successes are imitated; actor_critic: critics are heeded; bc: the operator alone."),
    ] = "rl",
    sampler: Annotated[str, typer.Option(help="ast, uniform, random, prioritized or infobatch.")] = "ast",
    observation_noise: Annotated[
        float | None,
        typer.Option(min=0.0, help="In training, in standard deviations.", show_default="the objective's"),
    ] = None,
    practice: Annotated[
        int, typer.Option(min=0, help="Demonstrations after each round, simulated with the physics of own recordings.")
    ] = 0,
    operator: Annotated[bool, typer.Option(help="The scripted operator steps in in own episodes.")] = False,
    shifted: Annotated[bool, typer.Option(help="On the shifted arm of the seed; demonstrations stay nominal.")] = False,
    held_out: Annotated[int, typer.Option(min=1, help="Scenarios that judge the first and last policy.")] = 100,
    workers: Workers = None,
    cluster: Cluster = "",
    results: Annotated[Path | None, typer.Option(help="Rows are kept here; run again, it goes on.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw success over own episodes to this PNG.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Success before and after rounds of own episodes, and how long an episode takes.

    Faster than real time, with the safety monitor in the loop. Rewards are the task's test alone.
    """
    import tempfile

    import torch
    from rich.console import Console

    from physai_ros.cli.results import made_by, write_json
    from physai_ros.cli.sampler_study import RowFile
    from physai_ros.evaluation.cluster import trial_crew
    from physai_ros.transfer.mastery import MasteryPlan, MasteryRun

    torch.set_num_threads(1)
    console, file = Console(), RowFile(results, made_by())
    rows: list[Row] = []
    with trial_crew(workers, cluster) as crew:
        for task in (name for name in tasks.split(",") if name):
            for each in range(seed, seed + seeds):
                plan = MasteryPlan(
                    task,
                    each,
                    demonstrations,
                    rounds,
                    episodes,
                    updates,
                    objective,
                    sampler,
                    observation_noise,
                    practice,
                    operator=operator,
                    shifted=shifted,
                    held_out=held_out,
                )
                row = next((row for row in file.rows if MasteryPlan(**row["plan"]) == plan), None)
                if row is None:
                    with tempfile.TemporaryDirectory(prefix="physai_mastery_") as folder:
                        tell = lambda text: console.print(f"[dim]{text}[/dim]")  # noqa: E731
                        row = MasteryRun(plan, Path(folder), crew, tell).run() | {"plan": asdict(plan)} | file.made_by
                    file.add(row)
                rows.append(row)
    console.print(_table(rows))
    if picture is not None:
        from physai_ros.cli.mastery_picture import draw_mastery

        draw_mastery(rows, picture)
    if json_file is not None:
        write_json(json_file, "bench mastery", seed, figures(rows), rows=rows)


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Of each task, over its seeds: success before and after with 95 % bounds, seconds, and the largest force."""
    from physai_ros.evaluation.statistics import clopper_pearson

    found: dict[str, float] = {}
    for name in dict.fromkeys(row["task"] for row in rows):
        task, mine = _short(name), [row for row in rows if row["task"] == name]
        for when, judged in (("before", [r["before"] for r in mine]), ("after", [r["after"] for r in mine])):
            won, tried = (sum(each[key] for each in judged) for key in ("successes", "held_out"))
            lower, upper = clopper_pearson(won, tried)
            found |= {f"{task}_{when}": won / tried, f"{task}_{when}_lower": lower, f"{task}_{when}_upper": upper}
        last = [row["after"] for row in mine]
        found[f"{task}_demonstrated_seconds"] = sum(row["demonstrated_seconds"] for row in mine) / len(mine)
        found[f"{task}_seconds"] = sum(each["seconds"] for each in last) / len(mine)
        found[f"{task}_peak_force"] = max(each["peak_force"] for each in last)
        found[f"{task}_interventions"] = sum(each["interventions"] for row in mine for each in row["rounds"])
        found[f"{task}_wall_seconds"] = max(row["wall_seconds"] for row in mine)
    return found


def _table(rows: Sequence[Row]) -> Table:
    from rich.table import Table

    title = "from demonstrations by rounds of own episodes: how many succeeded, in how many the operator helped"
    table = Table(title=title, title_justify="left", box=None, collapse_padding=True, pad_edge=False)
    columns = ("task", "seed", "before", "own", "helped", "after", "95 %", "s", "shown", "force", "min")
    for name in columns:
        table.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
    for row in rows:
        last = row["after"]
        table.add_row(
            _short(row["task"]),
            str(row["seed"]),
            _of(row["before"]),
            _by_round([each["successes"] for each in row["rounds"]]),
            _by_round([each["helped"] for each in row["rounds"]]),
            _of(last),
            f"{100 * last['lower']:.0f}-{100 * last['upper']:.0f}",
            f"{last['seconds']:.1f}",
            f"{row['demonstrated_seconds']:.1f}",
            f"{last['peak_force']:.0f} N",
            f"{row['wall_seconds'] / 60.0:.0f}",
        )
    return table


def _short(task: str) -> str:
    """The name of a task without where it is found."""
    return task.rpartition(":")[2]


def _by_round(counts: Sequence[int]) -> str:
    """One number a round; of many rounds the first and the last two."""
    told = [str(count) for count in counts]
    return "/".join(told if len(told) <= 4 else [*told[:2], "..", *told[-2:]])


def _of(judged: Row) -> str:
    return f"{judged['successes'] / judged['held_out']:.0%}"
