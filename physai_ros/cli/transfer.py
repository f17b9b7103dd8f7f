"""`physai transfer`: the sim-to-real loop against a twin whose physics the method does not see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physai_ros.cli.places import Cluster, Workers

if TYPE_CHECKING:
    from rich.console import Console

    from physai_ros.transfer.fitted_physics import FittedPhysics
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
    demonstrations: Annotated[int, typer.Option(min=5, help="Simulated, to train each policy on.")] = 100,
    updates: Annotated[int, typer.Option(min=100, help="Gradient steps of each policy.")] = 3000,
    held_out: Annotated[int, typer.Option(min=5, max=10_000, help="Scenarios that policies are judged by.")] = 60,
    recordings: Annotated[
        Path | None,
        typer.Option(help="Store of an arm's episodes: fit physics to them, tell how well, and run nothing."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to keep the policies in.", show_default="none: they are not kept")
    ] = None,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    workers: Workers = None,
    cluster: Cluster = "",
    seed: Annotated[int, typer.Option(min=0, help="Of scenarios, randomization and training.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Train in simulation, listen to an arm for a few episodes, and cross over to it.

    The twin stands for an arm whose physics nobody knows: the method has its recordings and how its episodes ended. All
    real episodes are autonomous runs of the policy, without an operator; the policy is trained in simulation alone.
    """
    import tempfile

    from rich.console import Console

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.cluster import trial_crew
    from physai_ros.transfer.sim_to_real import Sim2RealConfig
    from physai_ros.transfer.transfer_run import TransferPlan, TransferRun

    console = Console()
    if recordings is not None:
        _fit(console, task, recordings, robot, seed, json_file)
        return
    config = Sim2RealConfig(demonstrations=demonstrations, updates=updates)
    plan = TransferPlan(task, twin_seed, method, real_episodes, seed, held_out, robot, config)
    with tempfile.TemporaryDirectory(prefix="physai_transfer_") as folder, trial_crew(workers, cluster) as crew:
        run = TransferRun(out or Path(folder), crew, lambda text: console.print(f"[dim]{text}[/dim]"))
        row, result = run.run(plan)
    _show(console, row, result)
    if json_file is not None:
        names = ("success_sim", "success_zero_shot", "success_final", "success_final_lower", "success_final_upper")
        figures = {name: row[name] for name in (*names, "gap_recovered", "real_episodes", "wall_seconds")}
        write_json(json_file, "transfer", seed, figures, rows=[row])


def _show(console: Console, row: Row, result: Sim2RealResult) -> None:
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
        _show_fit(console, result.fits[-1])


def _show_fit(console: Console, fit: FittedPhysics) -> None:
    told = [name for name in fit.names if name not in fit.unidentified]
    said = ", ".join(f"{name} {fit.values[name]:.3g} ± {fit.spread[name]:.2g}" for name in told)
    console.print(f"identified: {said or 'nothing'}")
    console.print(f"not identified by these recordings: {', '.join(fit.unidentified) or 'nothing'}")


def _fit(console: Console, task: str, recordings: Path, robot: str, seed: int, json_file: Path | None) -> None:
    """Fit physics to a store of recordings, and show and write what came of it."""
    from physai_ros.cli.results import write_json
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task
    from physai_ros.transfer.recorded_arm import fit_to_recordings

    episodes = list(EpisodeStore(recordings, create=False).episodes())
    with console.status(f"fitting physics to recordings in {recordings}"):
        found = fit_to_recordings(RobotSpec.load(robot), load_task(task), episodes)
    fit = found.fit
    _show_fit(console, fit)
    console.print(
        f"difference from {found.held_out} recordings that the fit did not see, in tolerances: nominal simulator "
        f"{found.held_out_nominal:.2f}, fitted {found.held_out_fitted:.2f}"
    )
    if json_file is not None:
        figures = {
            "recordings": found.recordings,
            "held_out": found.held_out,
            "gap_nominal": found.held_out_nominal,
            "gap_fitted": found.held_out_fitted,
        }
        rows = [
            {"parameter": name, "value": fit.values[name], "spread": fit.spread[name], "interval": fit.interval(name)}
            | {"identified": name not in fit.unidentified}
            for name in fit.names
        ]
        rows += [{"parameter": name, "value": value, "measured": True} for name, value in fit.noise.items()]
        write_json(json_file, "transfer", seed, figures, rows=rows)
