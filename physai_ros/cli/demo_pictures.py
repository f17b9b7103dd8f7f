"""What the demonstration shows beside curves: frames of a failure and a success, and what the gate selected."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.run_record import FrameStrip, SelectionShare
from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.command import SafeCommand
from physai_ros.robot.state import RobotState
from physai_ros.simulation.camera import RenderingError
from physai_ros.training.trainer import SamplePool, SparseTrainer

FRAMES = 6
_HEIGHT, _WIDTH = 180, 240


def film(rollout: Rollout, registry: PolicyRegistry, version: str, seed: int, folder: Path, name: str) -> FrameStrip:
    """Frames of one episode of a policy, written to `folder` as PNG.

    Raises:
        RenderingError: there is no OpenGL here.
    """
    rollout.runtime.load(registry, version)
    pictures: list[tuple[float, np.ndarray]] = []

    def look(state: RobotState, _command: SafeCommand) -> None:
        if state.sequence % 20 == 0:
            pictures.append((state.stamp, rollout.arm.render("scene", _HEIGHT, _WIDTH)))

    episode = rollout.run(scenario_of(rollout.task, seed), seed, on_cycle=look)
    chosen = np.linspace(0, len(pictures) - 1, min(FRAMES, len(pictures))).round().astype(int)
    files, times = [], []
    for place, index in enumerate(chosen):
        file = f"{name}_{place}.png"
        cv2.imwrite(str(folder / file), cv2.cvtColor(pictures[index][1], cv2.COLOR_RGB2BGR))
        files.append(file)
        times.append(pictures[index][0] - pictures[0][0])
    end = "success" if episode.outcome.success else f"failure: {episode.outcome.failure_mode.replace('_', ' ')}"
    caption = f"policy {version} on held-out scenario {seed & 0xFFFF}: {end} after {episode.duration:.1f} s"
    return FrameStrip(f"{name.capitalize()}", caption, tuple(files), tuple(times))


def strips(
    rollout: Rollout, registry: PolicyRegistry, versions: tuple[str, str], seed: int | None, folder: Path
) -> tuple[list[FrameStrip], str]:
    """Strips of one scenario before and after, and a note where there are none."""
    if seed is None:
        return [], "No held-out scenario failed before and succeeded after; there are no frames to compare."
    try:
        before = film(rollout, registry, versions[0], seed, folder, "before")
        return [before, film(rollout, registry, versions[1], seed, folder, "after")], ""
    except RenderingError as error:
        return [], f"No camera frames: {error}"


def selection(trainer: SparseTrainer) -> list[SelectionShare]:
    """For every kind of sample its share of the replay and of the gradients, from the trainer's ledgers.

    A sample counts for the first kind that fits it.
    """
    all_demonstrations = {"demonstration": np.ones(len(trainer.demonstrations), dtype=bool)}
    pools = ((trainer.demonstrations, all_demonstrations), (trainer.corrections, _kinds(trainer.corrections)))
    samples = sum(len(pool) for pool, _ in pools)
    gradients = sum(float(_visits(pool).sum()) for pool, _ in pools)
    return [
        SelectionShare(kind, float(mask.sum()) / samples, float(_visits(pool)[mask].sum()) / gradients)
        for pool, kinds in pools
        for kind, mask in kinds.items()
        if mask.any() and gradients
    ]


def _visits(pool: SamplePool) -> np.ndarray:
    if not len(pool):
        return np.zeros(0)
    return np.asarray(pool.ledger.visits, dtype=float)


def _kinds(pool: SamplePool) -> dict[str, np.ndarray]:
    if not len(pool):
        return {}
    context = pool.ledger.context(np.arange(len(pool)))
    over_budget = context.force_excess > 0.0
    first = (context.intervention_age < 1.0) & ~over_budget
    failed = np.isfinite(context.failure_time) & ~over_budget & ~first
    return {
        "correction, contact over budget": over_budget,
        "correction, first second": first,
        "correction, episode failed": failed,
        "correction, later": ~over_budget & ~first & ~failed,
    }
