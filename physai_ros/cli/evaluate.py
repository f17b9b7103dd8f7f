"""`physai evaluate`: success of a policy with its interval, or a paired verdict on two."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from physai_ros.cli.physics import Physics, Shift, physics_values


def evaluate(
    policy: Annotated[str, typer.Option(help="Version in the registry, or 'current'.")] = "current",
    against: Annotated[str, typer.Option(help="Version to compare with on the same scenarios, or 'current'.")] = "",
    task: Annotated[str, typer.Option(help="Task by name, module:Class or file.")] = "pick_place",
    episodes: Annotated[int, typer.Option(min=1, max=100_000, help="Scenarios; each policy gets all of them.")] = 100,
    backend: Annotated[str, typer.Option(help="sim (processes of its own), graph (the live one), robot.")] = "sim",
    registry: Annotated[Path, typer.Option(help="Folder of the policy versions.")] = Path("registry"),
    scenario_set: Annotated[str, typer.Option(help="nominal, held_out or promotion.")] = "nominal",
    margin: Annotated[float, typer.Option(min=0.0, max=0.99, help="Loss that is still not_worse; 0: not asked.")] = 0.0,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    shift: Shift = None,
    physics: Physics = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0: this one.", show_default="one a core")
    ] = None,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph, for backend graph.")] = "physai",
    store: Annotated[Path | None, typer.Option(help="The graph's episode store, for feedback that was missed.")] = None,
    seed: Annotated[int, typer.Option(help="Of the scenarios.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Evaluate a policy, alone or against another, on scenarios that it was not trained on."""
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation import protocol
    from physai_ros.evaluation.trials import TrialResult, TrialSettings
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.tasks.catalog import load_task

    if backend == "robot":
        raise ValueError(
            "backend 'robot' cannot be used: somebody must restore the scene between two episodes, which this version "
            "cannot ask for; choose sim or graph"
        )
    if backend not in ("sim", "graph"):
        raise ValueError(f"unknown backend '{backend}'; known are: sim, graph, robot")
    load_task(task)
    versions = PolicyRegistry(registry)
    policy = protocol.resolve_version(versions, policy)
    against = protocol.resolve_version(versions, against) if against else ""
    values = physics_values(shift, physics)
    if backend == "graph" and values:
        raise ValueError("--shift and --physics are for backend sim; the live graph has the physics that it runs with")
    request = protocol.EvaluationRequest(policy, task, against, scenario_set, episodes, backend, seed, margin)
    settings = TrialSettings(task, str(registry), robot, values)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("episodes", total=episodes * (2 if against else 1))

        def on_result(_result: TrialResult) -> None:
            progress.advance(bar)

        if backend == "graph":
            from physai_ros.ros.graph_session import graph_trials

            with graph_trials(namespace, str(store or "")) as graph:
                chosen = load_task(task)
                done = protocol.evaluate(
                    request, settings, run=lambda trials: graph.run(trials, chosen, on_result=on_result)
                )
        else:
            count = len(os.sched_getaffinity(0)) if workers is None else workers
            done = protocol.evaluate(request, settings, workers=count, on_result=on_result)
    _show(done)
    if json_file is not None:
        write_json(json_file, "evaluate", seed, done.figures(), done.verdict or None, done.rows())


def _show(done: object) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from physai_ros.evaluation.statistics import clopper_pearson

    table = Table("policy", "success", "of", "rate", "95 %", "fails by", box=None)
    for results in filter(None, (done.results, done.baseline)):
        won = sum(result.success for result in results)
        lower, upper = clopper_pearson(won, len(results))
        modes = Counter(result.failure_mode for result in results if not result.success)
        why = ", ".join(f"{mode} {count}" for mode, count in modes.most_common(4))
        interval = f"{lower:.0%} to {upper:.0%}"
        table.add_row(results[0].policy, str(won), str(len(results)), f"{won / len(results):.0%}", interval, why or "-")
    console = Console()
    console.print(table)
    comparison = done.comparison
    if comparison is not None:
        console.print(
            f"{comparison.verdict}: gain {100 * comparison.gain:+.0f} points, 95 % {100 * comparison.gain_lower:+.0f} "
            f"to {100 * comparison.gain_upper:+.0f}; won {comparison.counts.candidate_only}, lost "
            f"{comparison.counts.current_only}; p = {comparison.p_value:.2g}, e = {comparison.e_value:.2g}"
        )
