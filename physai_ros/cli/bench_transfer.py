"""`physai bench transfer`: how much of the gap each method recovers, over twins and tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physai_ros.cli.places import Cluster, Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from physai_ros.evaluation.parallel import TrialCrew
    from physai_ros.transfer.transfer_run import Row, TransferRun

_MILESTONES = (10, 25, 50)


def transfer(
    full: Annotated[bool, typer.Option("--full", help="Ten twins, two tasks, all methods: takes hours.")] = False,
    tasks: Annotated[str, typer.Option(help="Names, by commas; empty: reach, or with --full pick_place too.")] = "",
    methods: Annotated[
        str, typer.Option(help="By commas; empty: none, fixed, adaptive, or with --full the others too.")
    ] = "",
    twins: Annotated[int, typer.Option(min=0, help="How many; 0: 2, or 10 with --full.")] = 0,
    twin_seed: Annotated[int, typer.Option(min=0, help="The first twin.")] = 0,
    real_episodes: Annotated[int, typer.Option(min=0, help="On each twin, at most; 0: 25, or 50 with --full.")] = 0,
    held_out: Annotated[int, typer.Option(min=0, help="Scenarios that judge; 0: 30, or 100 with --full.")] = 0,
    demonstrations: Annotated[int, typer.Option(min=5, help="Simulated, to train each policy on.")] = 100,
    updates: Annotated[int, typer.Option(min=100, help="Gradient steps of each policy.")] = 3000,
    workers: Workers = None,
    cluster: Cluster = "",
    results: Annotated[Path | None, typer.Option(help="Rows are kept here; run again, it goes on.")] = None,
    speed_episodes: Annotated[
        int, typer.Option(min=0, help="Each time, by one worker, by all, and by MuJoCo alone; 0: not measured.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of scenarios, randomization and training.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """The gap without randomization, and the share of it that each method recovers after 10, 25 and 50 real episodes.

    A fit's held-out gap and what it identified stand in the rows. Then the speed of simulated episodes is measured.
    """
    import tempfile

    from rich.console import Console

    from physai_ros.cli.results import write_json
    from physai_ros.cli.rollout_speed import told
    from physai_ros.cli.sampler_study import RowFile
    from physai_ros.evaluation.cluster import trial_crew
    from physai_ros.transfer.adaptation import METHODS
    from physai_ros.transfer.sim_to_real import Sim2RealConfig
    from physai_ros.transfer.transfer_claims import gap_figures, recovery_figures
    from physai_ros.transfer.transfer_run import TransferPlan, TransferRun

    console, file = Console(), RowFile(results)
    names = [name for name in methods.split(",") if name] or (list(METHODS) if full else ["none", "fixed", "adaptive"])
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown method '{unknown[0]}'; known are: {', '.join(METHODS)}")
    chosen = [name for name in tasks.split(",") if name] or (["reach", "pick_place"] if full else ["reach"])
    seeds = range(twin_seed, twin_seed + (twins or (10 if full else 2)))
    budget, judged = real_episodes or (50 if full else 25), held_out or (100 if full else 30)
    config = Sim2RealConfig(demonstrations=demonstrations, updates=updates)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="physai_transfer_") as folder, trial_crew(workers, cluster) as crew:
        run = TransferRun(Path(folder), crew, lambda text: console.print(f"[dim]{text}[/dim]"))
        # Twins outermost: wherever it is ended, methods and tasks can be compared.
        for twin in seeds:
            for task in chosen:
                for method in names:
                    plan = TransferPlan(task, twin, method, budget, seed, judged, config=config)
                    key = {"task": task, "twin_seed": twin, "method": method, "seed": seed}
                    key |= {"budget": budget, "held_out": judged, "recipe": [demonstrations, updates]}
                    row = file.find(**key)
                    if row is None:
                        console.print(f"{task}, twin {twin}, {method}")
                        row, _ = run.run(plan)
                        row["recipe"] = [demonstrations, updates]
                        file.add(row)
                    rows.append(row)
        speeds, rounds = _speed(run, chosen[0], speed_episodes, seed, crew) if speed_episodes else ({}, [])
    figures = gap_figures(rows)
    for method in (name for name in names if name != "none"):
        for episodes in _MILESTONES:
            figures |= recovery_figures(rows, method, episodes)
    console.print(_table(rows, names, figures))
    if speeds:
        console.print(told(speeds))
    if not full:
        console.print("[dim]A smoke run: too few twins and rollouts to say anything of the methods.[/dim]")
    if json_file is not None:
        wanted = ("recovered_fixed_25", "recovered_adaptive_25", "recovered_adaptive_50")
        unmeasured = dict.fromkeys(wanted, float("nan"))
        write_json(json_file, "bench transfer", seed, unmeasured | figures | speeds, rows=[*rows, *rounds])


def _speed(
    run: TransferRun, task: str, episodes: int, seed: int, crew: TrialCrew
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Of a policy that was trained here, or of the expert where all rows were there already."""
    from physai_ros.cli.rollout_speed import rollout_speed
    from physai_ros.evaluation.trials import TrialSettings

    registry = run.registry
    mine = [version for version in registry.versions() if registry.manifest(version).task == task]
    settings = TrialSettings(task, str(registry.folder))
    return rollout_speed(settings, mine[0] if mine else "", episodes, seed, crew)


def _table(rows: Sequence[Row], methods: Sequence[str], figures: dict[str, float]) -> Table:
    from rich.table import Table

    table = Table(title=f"sim to real: the gap without randomization is {_share(figures['gap_without'])}")
    columns = ("method", "runs", "at the end", *(f"recovered after {episodes}" for episodes in _MILESTONES), "minutes")
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right")
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        success = sum(row["success_final"] for row in mine) / len(mine)
        minutes = sum(row["wall_seconds"] for row in mine) / len(mine) / 60.0
        found = [figures.get(f"recovered_{method}_{episodes}", float("nan")) for episodes in _MILESTONES]
        table.add_row(method, str(len(mine)), _share(success), *map(_share, found), f"{minutes:.1f}")
    return table


def _share(value: float) -> str:
    return "—" if value != value else f"{value:.0%}"
