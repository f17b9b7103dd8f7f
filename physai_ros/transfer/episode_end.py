"""How far from the goal a recorded episode ended, had goal and perception been off as some physics say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.robot.kinematics import Kinematics
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Task

_STILL = 5  # cycles at the end over which is averaged
_DISTURBED = 16  # ends with other noise, from which the spread of the distance is told


class EpisodeEnd:
    """The end of one recording. Nothing is simulated: it was recorded, and the physics say where things really were."""

    def __init__(self, task: Task, kinematics: Kinematics, episode: Episode) -> None:
        self._task, self._kinematics = task, kinematics
        self._goal, self._state = episode.context.goal, episode.state(-1)
        self._joints = episode.series["joint_positions"][-_STILL:].mean(axis=0)
        seen = episode.series["object_poses"][-_STILL:].mean(axis=0)
        last = episode.series["object_poses"][-1]
        self._seen = np.concatenate([seen[:, :3], last[:, 3:]], axis=1)
        self._names = episode.object_names
        self._tool = kinematics.tool_pose(self._joints).position

    def distance(self, physics: PhysicsParameters) -> float:
        """Distance to the goal [m] that the task's test would have measured, NaN if it does not."""
        return self._distance(physics, self._joints, self._tool, np.zeros(3))

    def noise(self, sensors: Mapping[str, float]) -> float:
        """Standard deviation [m] of `distance` by the noise of the sensors, by parameter name."""
        generator, share = np.random.default_rng(0), 1.0 / np.sqrt(_STILL)
        encoder, perceived = (share * sensors.get(name, 0.0) for name in ("encoder_noise", "object_noise"))
        found = []
        for _ in range(_DISTURBED):
            joints = self._joints + encoder * generator.standard_normal(len(self._joints))
            tool = self._kinematics.tool_pose(joints).position
            found.append(self._distance(PhysicsParameters(), joints, tool, perceived * generator.standard_normal(3)))
        return float(np.std(found))

    def _distance(self, physics: PhysicsParameters, joints: np.ndarray, tool: np.ndarray, away: np.ndarray) -> float:
        """The distance with the arm at `joints` (n,), its tool at `tool` (3,), and objects `away` (3,) from as seen."""
        offset = away - np.array([physics.calibration_x, physics.calibration_y, physics.calibration_z])
        poses = self._seen.copy()
        poses[:, :3] += offset
        state = self._state
        state.joint_positions, state.ee_position = joints, tool
        state.object_poses = dict(zip(self._names, poses, strict=True))
        outcome = self._task.test().update(state, 0.0, physics.true_goal(self._goal))
        return float(outcome.evidence.get("distance_to_goal", np.nan))
