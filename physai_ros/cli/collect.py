"""`physai collect`: demonstrations from the task's scripted expert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physai_ros.cli.listed import listed
from physai_ros.cli.physics import Physics, Shift, physics_values
from physai_ros.cli.places import Cluster, Workers


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
    curriculum: Annotated[
        str, typer.Option(help="How scenarios are chosen: uniform, failure or significance.")
    ] = "uniform",
    policy: Annotated[
        str, typer.Option(help="Version, or 'current', that tries them first: it is shown more where it fails.")
    ] = "",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Let it try scenarios beforehand, and pass over what it masters.")
    ] = False,
    registry: Annotated[Path, typer.Option(help="Folder of the policy versions.")] = Path("registry"),
    shift: Shift = None,
    physics: Physics = None,
    cameras: Annotated[str, typer.Option(help="Keep what these see each policy step: scene, wrist, or both.")] = "",
    image_size: Annotated[int, typer.Option(help="Height and width of their pictures [pixel].", min=8, max=1080)] = 84,
    workers: Workers = None,
    cluster: Cluster = "",
    seed: Annotated[int, typer.Option(help="Of the scenarios, of the stream warm_start.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Collect demonstrations of a task; failed ones are kept and say so."""
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation import protocol
    from physai_ros.evaluation.cluster import trial_crew
    from physai_ros.evaluation.demonstrations import CollectionPlan, collect_demonstrations
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.tasks.catalog import load_task

    if expert not in ("clean", "noisy"):
        raise ValueError(f"unknown expert '{expert}'; known are: clean, noisy")
    if policy and curriculum == "uniform" and not rehearse:
        raise ValueError("a policy has no say in uniform scenarios: give --rehearse, or --curriculum significance")
    name = load_task(task).name
    plan = CollectionPlan(
        task,
        str(out),
        episodes,
        noise_spread=noise if expert == "noisy" else 0.0,
        seed=seed,
        robot=robot,
        physics=physics_values(shift, physics),
        curriculum=curriculum,
        registry=str(registry) if policy else "",
        policy=protocol.resolve_version(PolicyRegistry(registry), policy) if policy else "",
        rehearse=rehearse,
        cameras=listed(cameras),
        image_size=image_size,
    )
    with Progress(console=Console(stderr=True), transient=True) as progress, trial_crew(workers, cluster) as crew:
        bar = progress.add_task("demonstrations", total=episodes)
        results = collect_demonstrations(plan, lambda _result: progress.advance(bar), crew=crew)
    won = sum(result.success for result in results)
    seconds = sum(result.duration for result in results)
    there = f"; {episodes - len(results)} were there already" if len(results) < episodes else ""
    typer.echo(f"{out}: {len(results)} demonstrations of {name}, {won} succeeded, {seconds:.0f} s of motion{there}")
    if json_file is not None:
        figures = {
            "episodes": len(results),
            "success": won / len(results) if results else float("nan"),
            "motion_seconds": seconds,
            "cpu_seconds": sum(result.cpu_seconds for result in results),
        }
        write_json(json_file, "collect", seed, figures, rows=[result.outcome() for result in results])
