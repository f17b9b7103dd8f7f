"""`physai collect`: demonstrations from the task's scripted expert."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from physai_ros.cli.physics import Physics, Shift, physics_values


def collect(
    out: Annotated[Path, typer.Option(help="Folder of the episode store; made if need be.")],
    task: Annotated[str, typer.Option(help="Task by name, module:Class or file.")] = "pick_place",
    episodes: Annotated[int, typer.Option(min=1, max=100_000, help="Demonstrations to collect.")] = 40,
    expert: Annotated[
        str, typer.Option(help="clean, or noisy: what is done is disturbed, what was meant is kept.")
    ] = "noisy",
    noise: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="Spread of the disturbance, as share of the largest step.")
    ] = 0.25,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    shift: Shift = None,
    physics: Physics = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0: this one.", show_default="one a core")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the scenarios, of the stream warm_start.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Collect demonstrations of a task; failed ones are kept and say so."""
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.parallel import run_trials
    from physai_ros.evaluation.scenario_sets import scenario_seeds
    from physai_ros.evaluation.trials import Trial, TrialSettings
    from physai_ros.experience.episode import Purpose
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.tasks.catalog import load_task

    if expert not in ("clean", "noisy"):
        raise ValueError(f"unknown expert '{expert}'; known are: clean, noisy")
    name = load_task(task).name
    store = EpisodeStore(out)
    kept = set(store.ids())
    spread = noise if expert == "noisy" else 0.0
    trials = []
    for index, scenario_seed in enumerate(scenario_seeds("warm_start", seed, episodes)):
        episode_id = f"demonstration-{name}-{seed:04d}-{index:05d}"
        # What is there already stays, so that a run that was cut off goes on where it stopped.
        if episode_id not in kept:
            trials.append(Trial(index, scenario_seed, "", int(Purpose.DEMONSTRATE), episode_id, "", spread))
    settings = TrialSettings(task, robot=robot, physics=physics_values(shift, physics), store=str(out))
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("demonstrations", total=episodes, completed=episodes - len(trials))
        results = run_trials(trials, settings, workers=count, on_result=lambda _result: progress.advance(bar))
    won = sum(result.success for result in results)
    seconds = sum(result.duration for result in results)
    there = f"; {episodes - len(trials)} were there already" if len(trials) < episodes else ""
    typer.echo(f"{out}: {len(results)} demonstrations of {name}, {won} succeeded, {seconds:.0f} s of motion{there}")
    if json_file is not None:
        figures = {
            "episodes": len(results),
            "success": won / len(results) if results else float("nan"),
            "motion_seconds": seconds,
            "cpu_seconds": sum(result.cpu_seconds for result in results),
        }
        write_json(json_file, "collect", seed, figures, rows=[result.outcome() for result in results])
