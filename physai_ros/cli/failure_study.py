"""`physai bench failures`: what a policy learns from its own failures, by what the trainer makes of them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.experience.episode import Episode

Row = dict[str, Any]

CONTROL = "imitation"
ARMS: dict[str, Row] = {
    CONTROL: {},
    "hindsight final": {"hindsight": "final"},
    "hindsight future": {"hindsight": "future"},
    "advantage": {"advantage": 0.3},
    "hindsight+advantage": {"hindsight": "future", "advantage": 0.3},
    "weighting": {"weighting": True},
}
"""Arm -> what its recipe changes; the control imitates demonstrations and corrections alone."""


@dataclass(frozen=True)
class FailurePlan:
    """What is the same for all arms of a seed.

    Attributes:
        task: that is learned on the shifted arm of the seed, from demonstrations in the nominal simulator.
        episodes: on the arm, of each arm of the study.
        every: episodes between two versions; each version drives the next episodes.
        rollouts: held-out scenarios before and after, the same for all arms of a seed.
        demonstrations: that all arms of a seed start from.
        operator: whether an operator steps in.
        updates: after each episode.
        sampler: of all arms.
    """

    task: str = "reach"
    episodes: int = 40
    every: int = 8
    rollouts: int = 100
    demonstrations: int = 10
    operator: bool = False
    updates: int = 120
    sampler: str = "uniform"


def run_arm(plan: FailurePlan, arm: str, seed: int, rollout: Rollout, demonstrations: list[Episode]) -> Row:
    """Success on held-out scenarios after the episodes of one arm, and what it had to learn from."""
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.dataset import TransitionBuilder
    from physai_ros.training.publishing import publish_policy
    from physai_ros.transfer.first_policy import warm_start
    from physai_ros.transfer.learning_run import LearningPlan, learn_on_arm

    changes = {"updates_per_episode": plan.updates, **ARMS[arm]}
    config = TrainerConfig(sampler=plan.sampler, seed=seed, warm_start_updates=1000, **changes)
    builder = TransitionBuilder(rollout.arm.kinematics, rollout.task, hindsight=config.hindsight)
    trainer = warm_start(demonstrations, rollout.task, builder, config, lambda _done, _total: None)
    with tempfile.TemporaryDirectory() as folder:
        registry = PolicyRegistry(Path(folder))
        registry.activate(publish_policy(trainer, rollout.task, registry).version)
        before = math.nan
        if arm == CONTROL:  # before they act, the arms of a seed differ in nothing
            rollout.runtime.load(registry, registry.current()[0])
            before = _success(plan, rollout, seed)
        learning = LearningPlan(plan.episodes, plan.every, plan.operator, seed=seed)
        result = learn_on_arm(rollout, trainer, registry, learning, lambda _candidate, _current: True)
        after = _success(plan, rollout, seed)
    return {
        "before": before,
        "after": after,
        "own_success": sum(result.own_success),
        "relabelled_steps": len(trainer.hindsight),
        "own_steps": len(trainer.own),
        "interventions": result.interventions,
    }


def _success(plan: FailurePlan, rollout: Rollout, seed: int) -> float:
    from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds

    numbers = scenario_seeds("held_out", seed, plan.rollouts)
    return sum(rollout.run(scenario_of(rollout.task, n), n).outcome.success for n in numbers) / plan.rollouts


def gain(rows: Sequence[Row], arm: str) -> tuple[float, float, float]:
    """Mean gain in final success over the control, paired by seed, and its 95 % interval by Student's t."""
    from scipy import stats

    control = {row["seed"]: row["after"] for row in rows if row["arm"] == CONTROL}
    gains = [row["after"] - control[row["seed"]] for row in rows if row["arm"] == arm and row["seed"] in control]
    mean = sum(gains) / len(gains)
    if len(gains) < 3:
        return mean, math.nan, math.nan
    spread = float(stats.tstd(gains)) / math.sqrt(len(gains)) * float(stats.t.ppf(0.975, len(gains) - 1))
    return mean, mean - spread, mean + spread


def failures(
    task: Annotated[str, typer.Option(help="A task by name.")] = "reach",
    arms: Annotated[str, typer.Option(help="Names, by commas.")] = ",".join(list(ARMS)[:-1]),
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    episodes: Annotated[int, typer.Option(min=1, help="On the shifted arm, of each arm of the study.")] = 40,
    demonstrations: Annotated[int, typer.Option(min=1, help="In the nominal simulator, before.")] = 10,
    rollouts: Annotated[int, typer.Option(min=1, help="Held-out scenarios, before and after.")] = 100,
    updates: Annotated[int, typer.Option(min=1, help="Of the trainer, after each episode.")] = 120,
    operator: Annotated[bool, typer.Option("--operator", help="An operator steps in.")] = False,
    results: Annotated[Path | None, typer.Option(help="Rows are kept here; run again, it goes on.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Success after episodes on the shifted arm that nobody corrects, against plain imitation, paired by seed."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.cli.sampler_study import RowFile
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.simulation.physics import shifted_arm
    from physai_ros.tasks.catalog import load_task
    from physai_ros.transfer.first_policy import NOISE, demonstrate

    names = [name for name in arms.split(",") if name]
    if CONTROL not in names or any(name not in ARMS for name in names):
        raise ValueError(f"arms are {arms!r}; expected {CONTROL} and some of: {', '.join(ARMS)}")
    torch.set_num_threads(1)
    plan = FailurePlan(
        task, episodes, rollouts=rollouts, demonstrations=demonstrations, operator=operator, updates=updates
    )
    file, console, rows = RowFile(results), Console(), []
    for number in range(seed, seed + seeds):
        nominal = shifted = shown = None
        for name in names:
            key = {"arm": name, "seed": number, **vars(plan)}
            row = file.find(**key)
            if row is None:
                if shifted is None:
                    nominal = Rollout(RobotSpec.load("fr3_sim"), load_task(task))
                    shown = list(demonstrate(nominal, demonstrations, number, NOISE))
                    shifted = Rollout(nominal.spec, nominal.task, physics=shifted_arm(number))
                row = key | run_arm(plan, name, number, shifted, shown)
                file.add(row)
            rows.append(row)
    table = Table(title=f"{task}: success on the shifted arm, {seeds} seeds", title_justify="left")
    for heading in ("arm", f"after {episodes} episodes", f"over {CONTROL}", "95 %"):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    figures: dict[str, float] = {}
    for name in names:
        mine = [row for row in rows if row["arm"] == name]
        after = sum(row["after"] for row in mine) / len(mine)
        mean, lower, upper = gain(rows, name)
        label = name.replace(" ", "_").replace("+", "_")
        figures |= {f"success_{label}": after, f"gain_{label}": mean, f"gain_{label}_lower": lower}
        table.add_row(name, f"{after:.0%}", f"{mean:+.1%}", f"{lower:+.1%} to {upper:+.1%}")
    console.print(table)
    before = [row["before"] for row in rows if row["arm"] == CONTROL]
    figures["success_before"] = sum(before) / len(before)
    console.print(f"before: {figures['success_before']:.0%}")
    if json_file is not None:
        write_json(json_file, "bench failures", seed, figures, rows=rows)
