"""`physai demo`: on-robot learning from the first demonstration to the report."""

from __future__ import annotations

import math
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.evaluation.run_record import RunRecord
    from physai_ros.transfer.demo_run import DemoPlan, DemoRun


_EPISODES = {"bc": 72, "rl": 288, "actor_critic": 288}
_MINUTES = {"bc": 12.0, "rl": 30.0, "actor_critic": 30.0}


def demo(
    task: Annotated[str, typer.Option(help="Task by name, module:Class or file.")] = "pick_place",
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Longest time for the episodes on the arm.", show_default="12; rl: 30")
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="bc: imitate demonstrations and corrections; rl: own successes too; actor_critic: heed critics."
        ),
    ] = "bc",
    interventions: Annotated[str, typer.Option(help="on or off: whether the operator steps in.")] = "on",
    practice: Annotated[
        str | None,
        typer.Option(
            help="on or off: whether physics are fitted to the arm's episodes, and the expert demonstrates there.",
            show_default="off; rl: on",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="ast, uniform, random, prioritized or infobatch.")] = "ast",
    curriculum: Annotated[
        str, typer.Option(help="uniform, failure or significance: how start states are chosen.")
    ] = "uniform",
    episodes: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Episodes on the arm.", show_default="72; rl: 288")
    ] = None,
    demonstrations: Annotated[int, typer.Option(min=1, max=10_000, help="To start from.")] = 10,
    held_out: Annotated[int, typer.Option(min=2, max=10_000, help="Held-out scenarios of each evaluation.")] = 100,
    parity: Annotated[int, typer.Option(min=0, max=1000, help="Of these, run through the graph as well.")] = 10,
    controls: Annotated[bool, typer.Option(help="Run the control arms.")] = True,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph.")] = "physai",
    run: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/demo-TIME")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**20 - 1, help="Of everything random.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Let the simulated arm learn while it works, and report what came of it."""
    from rich.console import Console

    from physai_ros.curriculum.selector import METHODS
    from physai_ros.deployment.run_folder import new_run_folder
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.config import OBJECTIVES
    from physai_ros.training.samplers import SAMPLERS
    from physai_ros.transfer.demo_run import DemoPlan

    if objective not in OBJECTIVES:
        raise ValueError(f"there is no objective '{objective}'; there are {', '.join(OBJECTIVES)}")
    load_task(task)
    if interventions not in ("on", "off"):
        raise ValueError(f"--interventions is '{interventions}'; expected on or off")
    if practice not in (None, "on", "off"):
        raise ValueError(f"--practice is '{practice}'; expected on or off")
    if sampler not in SAMPLERS:
        raise ValueError(f"there is no sampler '{sampler}'; there are {', '.join(SAMPLERS)}")
    if curriculum not in METHODS:
        raise ValueError(f"there is no curriculum '{curriculum}'; there are {', '.join(METHODS)}")
    folder = run or new_run_folder("demo")
    if (folder / "run.json").exists() or (folder / "registry").exists():
        raise ValueError(f"{folder} holds a run already; give another --run")
    plan = DemoPlan(
        task=task,
        folder=folder,
        seed=seed,
        episodes=episodes or _EPISODES[objective],
        demonstrations=demonstrations,
        held_out=held_out,
        parity=min(parity, held_out),
        sampler=sampler,
        curriculum=curriculum,
        operator=interventions == "on",
        controls=controls,
        objective=objective,
        practice=(practice or ("on" if objective == "rl" else "off")) == "on",
    )
    _Demo(plan, namespace, minutes or _MINUTES[objective], Console()).run(json_file)


class _Demo:
    """The steps of the demonstration, each with its own progress on the screen."""

    def __init__(self, plan: DemoPlan, namespace: str, minutes: float, console: Console) -> None:
        self._plan = plan
        self._namespace = namespace
        self._minutes = minutes
        self._console = console
        self._began = time.monotonic()

    def run(self, json_file: Path | None) -> None:
        """Everything, from the first demonstration to the report."""
        from physai_ros.cli.demo_graph import DemoGraph
        from physai_ros.cli.results import machine, write_json
        from physai_ros.evaluation.report import write_report
        from physai_ros.transfer.demo_run import DemoRun

        plan, say = self._plan, self._console.print
        say(f"[bold]physai demo[/]: {plan.task}, seed {plan.seed}, folder {plan.folder}")
        with closing(DemoRun(plan)) as work:
            with self._bars() as work.bars:
                work.first_policy()
                work.evaluate("before", "before", work.first_version)
            say(f"before: {work.rate('before')} of {plan.held_out} held-out scenarios on the shifted arm")
            measured = DemoGraph(work, self._namespace, self._console).run(self._minutes)
            with self._bars() as work.bars:
                work.evaluate("after", "after", work.final_version)
                if plan.controls:
                    work.finish_controls()
        say(f"after: {work.rate('after')} by version {work.final_version}")
        wall = time.monotonic() - self._began
        figures = work.figures() | measured | {"setup_seconds": _setup_seconds(), "wall_seconds": wall}
        record = work.record(figures, machine())
        self._add_pictures(work, record)
        record.write(plan.folder)
        report = write_report(plan.folder)
        self._show(figures)
        say(f"[bold]report:[/] {report}")
        if json_file is not None:
            write_json(json_file, "demo", plan.seed, figures, work.verdict, work.rows())

    def _add_pictures(self, work: DemoRun, record: RunRecord) -> None:
        from physai_ros.cli.demo_pictures import selection, strips
        from physai_ros.training.checkpoint import load_checkpoint, replay_folder
        from physai_ros.training.mapped_columns import ReplayFolder

        versions = work.first_version, work.final_version
        rollout = work.rollout(shifted=True)
        record.strips, note = strips(rollout, work.registry, versions, work.film_seed(), self._plan.folder)
        rollout.close()
        record.notes += [note] if note else []
        checkpoint = self._plan.folder / "trainer.safetensors"
        replay = ReplayFolder(replay_folder(checkpoint))
        record.selection = selection(load_checkpoint(checkpoint, replay=replay))
        replay.close()

    def _bars(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._console)

    def _show(self, figures: dict[str, float]) -> None:
        from rich.table import Table

        table = Table(title="figures", title_justify="left")
        table.add_column("figure")
        table.add_column("value", justify="right")
        for name, value in figures.items():
            table.add_row(name, "—" if math.isnan(value) else f"{value:.4g}")
        self._console.print(table)


def _setup_seconds() -> float:
    """How long `make setup` took to make this environment [s]; NaN where it was made otherwise."""
    try:
        return float((Path(sys.prefix) / "physai_ros_setup_seconds").read_text())
    except (OSError, ValueError):
        return math.nan
