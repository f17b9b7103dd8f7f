"""`physai evaluate`: success of a policy, a paired verdict on two, or how many episodes that takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physai_ros.cli.physics import Physics, Shift, physics_values
from physai_ros.cli.places import Cluster, Workers

if TYPE_CHECKING:
    from physai_ros.evaluation.protocol import Evaluation, EvaluationRequest
    from physai_ros.evaluation.trials import TrialResult, TrialSettings


def evaluate(
    policy: Annotated[str, typer.Option(help="Version in the registry, or 'current'.")] = "current",
    against: Annotated[str, typer.Option(help="Version to compare with on the same scenarios, or 'current'.")] = "",
    task: Annotated[str, typer.Option(help="Task by name, module:Class or file.")] = "pick_place",
    episodes: Annotated[int, typer.Option(min=1, max=100_000, help="Scenarios; each policy gets all of them.")] = 100,
    backend: Annotated[
        str, typer.Option(help="sim (processes of its own), graph (the live one), robot (a person sets up).")
    ] = "sim",
    registry: Annotated[Path, typer.Option(help="Folder of the policy versions.")] = Path("registry"),
    scenario_set: Annotated[
        str, typer.Option(help="nominal, randomized, stress, regression, held_out or promotion.")
    ] = "nominal",
    margin: Annotated[float, typer.Option(min=0.0, max=0.99, help="Loss that is still not_worse; 0: not asked.")] = 0.0,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Look after every pair, stop with the verdict; --episodes at most.")
    ] = False,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    shift: Shift = None,
    physics: Physics = None,
    workers: Workers = None,
    cluster: Cluster = "",
    journal: Annotated[
        Path | None, typer.Option(help="File that keeps every finished episode; given again, it goes on from there.")
    ] = None,
    namespace: Annotated[
        str, typer.Option(help="ROS namespace of the graph, for backends graph and robot.")
    ] = "physai",
    store: Annotated[Path | None, typer.Option(help="The graph's episode store, for feedback that was missed.")] = None,
    patience: Annotated[float, typer.Option(min=1.0, help="Time to set up a scene, backend robot [s].")] = 300.0,
    plan: Annotated[
        float | None, typer.Option(help="Run nothing: tell how many episodes it takes to see this gain, such as 0.1.")
    ] = None,
    success: Annotated[float, typer.Option(help="With --plan: success rate of the present policy.")] = 0.7,
    power: Annotated[float, typer.Option(min=0.5, max=0.99, help="With --plan: chance to see the gain.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the scenarios.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Evaluate a policy, alone or against another, on scenarios that it was not trained on."""
    from physai_ros.cli.results import write_json
    from physai_ros.evaluation import protocol
    from physai_ros.evaluation.service import BACKENDS
    from physai_ros.evaluation.trials import TrialSettings
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.tasks.catalog import load_task

    if plan is not None:
        from physai_ros.cli.evaluation_plan import show_plan

        show_plan(plan, success, power, seed, json_file)
        return
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend '{backend}'; known are: {', '.join(BACKENDS)}")
    if scenario_set not in protocol.EVALUATION_SETS:
        raise ValueError(
            f"scenario set '{scenario_set}' is not for evaluations; choose {', '.join(protocol.EVALUATION_SETS)}"
        )
    if stop_early and not against:
        raise ValueError("--stop-early is for comparisons: name a version to compare with by --against")
    load_task(task)
    versions = PolicyRegistry(registry)
    policy = protocol.resolve_version(versions, policy)
    against = protocol.resolve_version(versions, against) if against else ""
    values = physics_values(shift, physics)
    if backend != "sim" and cluster:
        raise ValueError(f"a cluster simulates; backend '{backend}' has one arm: leave --cluster out")
    if backend != "sim" and (values or scenario_set in ("randomized", "stress")):
        raise ValueError(
            "--shift, --physics and the sets randomized and stress are for backend sim; the live graph has the physics "
            "that it runs with"
        )
    request = protocol.EvaluationRequest(
        policy, task, against, scenario_set, episodes, backend, seed, margin, stop_early=stop_early
    )
    settings = TrialSettings(task, str(registry), robot, values)
    done = _run(request, settings, workers, cluster, journal, namespace, str(store or ""), patience)
    show(done)
    if json_file is not None:
        write_json(json_file, "evaluate", seed, done.figures(), done.verdict or None, done.rows())
        write_details(json_file, done)


def write_details(json_file: Path, done: Evaluation) -> None:
    """Add to a figures file what it takes to repeat the evaluation, and its results by group."""
    import json

    from physai_ros.durable import replace_file
    from physai_ros.evaluation.service import report_of

    report = report_of(done)
    content = json.loads(json_file.read_text()) | {"subject": report["subject"], "groups": report["groups"]}
    replace_file(json_file, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _run(
    request: EvaluationRequest,
    settings: TrialSettings,
    workers: int | None,
    cluster: str,
    journal: Path | None,
    namespace: str,
    store: str,
    patience: float,
) -> Evaluation:
    """The evaluation, with a bar on the screen."""
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.evaluation import protocol
    from physai_ros.evaluation.cluster import trial_crew
    from physai_ros.tasks.catalog import load_task

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("episodes", total=request.episodes * (2 if request.against else 1))

        def on_result(_result: TrialResult) -> None:
            progress.advance(bar)

        if request.backend == "sim":
            with trial_crew(workers, cluster) as crew:
                return protocol.evaluate(request, settings, crew=crew, on_result=on_result, journal=journal)
        from physai_ros.ros.graph_session import graph_trials
        from physai_ros.ros.graph_trials import Operator

        frames = journal.with_suffix(".frames") if journal is not None else None
        operator = Operator(patience, frames) if request.backend == "robot" else None
        with graph_trials(namespace, store) as graph:
            chosen = load_task(request.task)
            return protocol.evaluate(
                request,
                settings,
                run=lambda trials: graph.run(trials, chosen, on_result=on_result, operator=operator),
                journal=journal,
            )


def show(done: Evaluation) -> None:
    """Print the table and the verdict of an evaluation."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from physai_ros.evaluation.breakdown import hidden_losses
    from physai_ros.evaluation.statistics import clopper_pearson

    console = Console()
    table = Table("policy", "success", "of", "rate", "95 %", "fails by", box=None)
    for results in filter(None, (done.results, done.baseline)):
        won = sum(result.success for result in results)
        lower, upper = clopper_pearson(won, len(results))
        modes = Counter(result.failure_mode for result in results if not result.success)
        why = ", ".join(f"{mode} {count}" for mode, count in modes.most_common(4))
        interval = f"{lower:.0%} to {upper:.0%}"
        table.add_row(results[0].policy, str(won), str(len(results)), f"{won / len(results):.0%}", interval, why or "-")
    console.print(table)
    comparison = done.comparison
    if comparison is not None:
        console.print(
            f"{comparison.verdict}: gain {100 * comparison.gain:+.0f} points, 95 % {100 * comparison.gain_lower:+.0f} "
            f"to {100 * comparison.gain_upper:+.0f}; won {comparison.counts.candidate_only}, lost "
            f"{comparison.counts.current_only}; p = {comparison.p_value:.2g}, e = {comparison.e_value:.2g}"
        )
    if done.groups:
        parts = Table("scenarios", "of", "rate", "against", "gain", "95 %", "", box=None)
        for group in done.groups:
            paired = group.gain == group.gain
            parts.add_row(
                group.name,
                str(group.trials),
                f"{group.success:.0%}",
                f"{group.success_against:.0%}" if paired else "",
                f"{100 * group.gain:+.0f}" if paired else "",
                f"{100 * group.gain_lower:+.0f} to {100 * group.gain_upper:+.0f}"
                if paired
                else f"{group.lower:.0%} to {group.upper:.0%}",
                "loses" if group.hidden_loss else "",
            )
        console.print(parts)
    hidden = hidden_losses(done.groups)
    if hidden:
        console.print(f"it loses somewhere, whatever it gains elsewhere: {hidden}")
