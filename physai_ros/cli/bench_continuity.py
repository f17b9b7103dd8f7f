"""`physai bench continuity`: what an inference that takes its time costs a task, by what is done about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from physai_ros.policy.registry import Policy

CHUNK_STEPS = 8  # policy steps, 0.8 s: more than the longest delay twice


def continuity(
    episodes: Annotated[int, typer.Option(min=1, help="Held-out scenarios, the same for every case.")] = 50,
    delays: Annotated[str, typer.Option(help="Injected inference delays [ms], with commas.")] = "0,50,100,200,300",
    demonstrations: Annotated[int, typer.Option(min=1, help="That the policy imitates.")] = 40,
    updates: Annotated[int, typer.Option(min=1, help="Updates of its training.")] = 2000,
    task: Annotated[str, typer.Option(help="Task by name.")] = "pick_place",
    seed: Annotated[int, typer.Option(min=0, help="Of demonstrations, weights and scenarios.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Success of one policy against an injected inference delay, for each way to go from one chunk to the next.

    In lock-step, on held-out scenarios, with 95 % intervals (Wilson). The policy predicts 8 steps at once; one decision
    is made at a time, so that a long delay also means fewer decisions. The ways are those of `policy.chunks`.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.statistics import wilson
    from physai_ros.policy.chunks import CONTINUITY

    chosen = _delays(delays)
    console = Console()
    with console.status("training a policy that predicts chunks"):
        policy = chunk_policy(task, demonstrations, updates, seed)
    rows: list[dict[str, Any]] = []
    for delay in chosen:
        for way in CONTINUITY:
            with console.status(f"{way} at {delay:g} ms"):
                row = measure(policy, task, way, delay / 1e3, episodes, seed)
            interval = wilson(row["successes"], episodes)
            row["lower"], row["upper"] = interval.lower, interval.upper
            rows.append(row)
    table = Table(title=f"continuity, {task}, {episodes} scenarios", title_justify="left", box=None)
    for name in ("delay [ms]", *CONTINUITY):
        table.add_column(name, justify="right")
    for delay in chosen:
        own = {row["continuity"]: row for row in rows if row["delay_ms"] == delay}
        cells = (f"{r['success']:.0%} ({r['lower']:.0%} to {r['upper']:.0%})" for r in (own[way] for way in CONTINUITY))
        table.add_row(f"{delay:g}", *cells)
    console.print(table)
    if json_file is not None:
        figures = {f"success_{row['continuity']}_{row['delay_ms']:g}ms": row["success"] for row in rows}
        write_json(json_file, "bench continuity", seed, figures, rows=rows)


def chunk_policy(task_name: str, demonstrations: int, updates: int, seed: int) -> Policy:
    """A policy that imitates noisy demonstrations and predicts `CHUNK_STEPS` steps."""
    import tempfile

    from physai_ros.evaluation.driving import DemonstrationNoise
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.dataset import TransitionBuilder
    from physai_ros.training.publishing import publish_policy
    from physai_ros.transfer.first_policy import demonstrate, warm_start

    task = load_task(task_name)
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    episodes = list(demonstrate(rollout, demonstrations, seed, DemonstrationNoise()))
    config = TrainerConfig(seed=seed, warm_start_updates=updates, chunk_steps=CHUNK_STEPS, sampler="uniform")
    builder = TransitionBuilder(rollout.arm.kinematics, task, chunk_steps=CHUNK_STEPS)
    trainer = warm_start(episodes, task, builder, config, lambda _done, _total: None)
    rollout.close()
    with tempfile.TemporaryDirectory(prefix="physai-") as folder:
        registry = PolicyRegistry(folder)
        return registry.load(publish_policy(trainer, task, registry).version)


def measure(policy: Policy, task_name: str, way: str, delay: float, episodes: int, seed: int) -> dict[str, Any]:
    """The row of one way under one delay [s]."""
    import numpy as np

    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
    from physai_ros.policy.predictor import Late
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task

    task = load_task(task_name)
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, policy=policy, predictor=Late(delay), continuity=way)
    successes, durations, jerks, underruns, steps = 0, [], [], 0, 0
    for scenario_seed in scenario_seeds("held_out", seed, episodes):
        episode = rollout.run(scenario_of(task, scenario_seed), scenario_seed)
        successes += episode.outcome.success
        durations.append(episode.duration)
        underruns += rollout.runtime.underruns
        steps += len(episode) // 10
        jumps = np.diff(episode.series["action_ee_delta"][::10, :3], axis=0)
        jerks.append(float(np.linalg.norm(jumps, axis=1).mean()) if len(jumps) else 0.0)
    rollout.close()
    return {
        "continuity": way,
        "delay_ms": round(1e3 * delay, 6),
        "episodes": episodes,
        "successes": successes,
        "success": successes / episodes,
        "duration": float(np.mean(durations)),
        "change_between_steps_mm": 1e3 * float(np.mean(jerks)),
        "underrun_share": underruns / max(steps, 1),
    }


def _delays(text: str) -> list[float]:
    try:
        chosen = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        chosen = []
    if not chosen or not all(0.0 <= delay <= 1000.0 for delay in chosen):
        raise ValueError(f"--delays {text}: expected milliseconds from 0 to 1000, with commas, such as 0,100,300")
    return chosen
