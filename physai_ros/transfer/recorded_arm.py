"""A simulator fitted to what an arm recorded before, judged on recordings that the fit did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Task
from physai_ros.transfer.command_replay import CommandReplay
from physai_ros.transfer.fit import fit_physics, gap_of
from physai_ros.transfer.fitted_physics import FittedPhysics

_HELD_OUT_EVERY = 4
_MOST_FITTED, _MOST_HELD_OUT = 8, 8


@dataclass(frozen=True)
class RecordedArm:
    """What recordings told: the fit, and the gap on held-out recordings of the nominal and of the fitted simulator.

    Gaps are root mean square differences in tolerances; `held_out` of `recordings` were kept from the fit.
    """

    fit: FittedPhysics
    held_out_nominal: float
    held_out_fitted: float
    recordings: int
    held_out: int


def fit_to_recordings(spec: RobotSpec, task: Task, episodes: Sequence[Episode]) -> RecordedArm:
    """The arm that these recordings tell of; every fourth is held out, and of many an even choice is looked at.

    Raises:
        ValueError: there are fewer than four recordings of the task, or of another arm.
    """
    ours = [episode for episode in episodes if episode.context.task == task.name and len(episode) > 1]
    if len(ours) < _HELD_OUT_EVERY:
        raise ValueError(
            f"{len(ours)} of {len(episodes)} recordings are of the task '{task.name}'; a fit takes at least "
            f"{_HELD_OUT_EVERY}, of which one is held out"
        )
    if any(episode.joint_names != spec.joint_names for episode in ours):
        raise ValueError(f"recordings have joints other than those of {spec.name}; name the robot that recorded them")
    held_out = ours[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]
    fitted = [episode for index, episode in enumerate(ours) if index % _HELD_OUT_EVERY != _HELD_OUT_EVERY - 1]
    replay = CommandReplay(spec, task)
    fit = fit_physics(replay, _evenly(fitted, _MOST_FITTED))
    judged = _evenly(held_out, _MOST_HELD_OUT)
    return RecordedArm(
        fit,
        gap_of(replay, judged, PhysicsParameters()),
        gap_of(replay, judged, fit.physics()),
        len(ours),
        len(judged),
    )


def _evenly(episodes: list[Episode], most: int) -> list[Episode]:
    chosen = np.unique(np.linspace(0, len(episodes) - 1, min(most, len(episodes))).astype(int))
    return [episodes[index] for index in chosen]
