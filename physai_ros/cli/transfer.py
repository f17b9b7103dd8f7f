"""`physai transfer`: the sim-to-real loop against a twin whose physics the method does not see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.transfer.sim_to_real import Sim2RealResult
    from physai_ros.transfer.transfer_run import Row


def transfer(
    task: Annotated[str, typer.Option(help="Task by name, module:Class or file.")] = "pick_place",
    twin_seed: Annotated[int, typer.Option(min=0, help="Twin that plays reality; nothing is tuned from 1000 on.")] = 0,
    real_episodes: Annotated[int, typer.Option(min=0, max=1000, help="On the twin, at most.")] = 50,
    method: Annotated[
        str,
        typer.Option(help="none, fixed (controls), feedback, fit, widen, or adaptive: fit, and widen about it."),
    ] = "adaptive",
    demonstrations: Annotated[int, typer.Option(min=5, help="Simulated, to train each policy on.")] = 40,
    updates: Annotated[int, typer.Option(min=100, help="Gradient steps of each policy.")] = 1000,
    held_out: Annotated[int, typer.Option(min=5, max=10_000, help="Scenarios that policies are judged by.")] = 60,
    out: Annotated[
        Path | None, typer.Option(help="Folder to keep the policies in.", show_default="none: they are not kept")
    ] = None,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that judge; 0: this one.", show_default="one a core")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of scenarios, randomization and training.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Train in simulation, listen to an arm for a few episodes, and cross over to it.

    The twin stands for an arm whose physics nobody knows: the method has its recordings and how its episodes ended. All
    real episodes are autonomous runs of the policy, without an operator; the policy is trained in simulation alone.
    """
    import os
    import tempfile

    from rich.console import Console

    from physai_ros.cli.results import write_json
    from physai_ros.transfer.sim_to_real import Sim2RealConfig
    from physai_ros.transfer.transfer_run import TransferPlan, TransferRun

    console = Console()
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    config = Sim2RealConfig(demonstrations=demonstrations, updates=updates)
    plan = TransferPlan(task, twin_seed, method, real_episodes, seed, held_out, robot, config)
    with tempfile.TemporaryDirectory(prefix="physai_transfer_") as folder:
        run = TransferRun(out or Path(folder), count, lambda text: console.print(f"[dim]{text}[/dim]"))
        row, result = run.run(plan)
    _show(console, row, result)
    if json_file is not None:
        names = ("success_sim", "success_zero_shot", "success_final", "success_final_lower", "success_final_upper")
        figures = {name: row[name] for name in (*names, "gap_recovered", "real_episodes", "wall_seconds")}
        write_json(json_file, "transfer", seed, figures, rows=[row])


def _show(console: object, row: Row, result: Sim2RealResult) -> None:
    from rich.table import Table

    table = Table(title=f"{row['task']} on twin {row['twin_seed']}, method {row['method']}", title_justify="left")
    for name in ("", "success"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("in the nominal simulator", f"{row['success_sim']:.0%}")
    table.add_row("on the twin, zero-shot", f"{row['success_zero_shot']:.0%}")
    for point in row["checkpoints"]:
        table.add_row(f"on the twin, after {point['real_episodes']} real episodes", f"{point['success']:.0%}")
    console.print(table)
    gap = row["gap_recovered"]
    said = "there was no gap" if gap != gap else f"{gap:.0%} of the gap recovered"
    console.print(
        f"{said}; success at the end {row['success_final']:.0%} "
        f"(95 %: {row['success_final_lower']:.0%} to {row['success_final_upper']:.0%})"
    )
    if result.fits:
        fit = result.fits[-1]
        told = ", ".join(
            f"{name} {fit.values[name]:.3g} ± {fit.spread[name]:.2g}"
            for name in fit.names
            if name not in fit.unidentified
        )
        console.print(f"identified: {told or 'nothing'}")
        console.print(f"not identified by these recordings: {', '.join(fit.unidentified) or 'nothing'}")
