"""What the policy sees: one vector a policy step, the same at run time and when learning from recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from physai_ros.robot.kinematics import Kinematics, ToolPose
from physai_ros.robot.rotation import quaternion_wxyz, rotation_matrix, vector_from_rotation, yaw_of
from physai_ros.robot.state import RobotState

TaskFeatures = Callable[[RobotState, np.ndarray], np.ndarray]
"""Returns what one state says of the task: (n,), of fixed length, NaN where unknown.

Relative poses belong there twice, as they are and as tanh over 2 cm: without the fine ones the last centimetre is not
learned from few demonstrations.
"""

LAYOUT = "poses-2"
"""Name of the layout of the vector. A policy trained on another layout is refused."""

_LAG_SCALE = 0.02
_VELOCITY_SCALE = np.array([0.25, 0.25, 0.25, 1.0, 1.0, 1.0])
_FORCE_SCALE = 20.0
_ALL_KNOWN = np.ones(5)
_REFERENCE_HEIGHT = np.array([0.45, 0.0, 0.2])


class _Instant(NamedTuple):
    """What is remembered of one policy step: the commanded pose and the gripper command in force."""

    commanded: ToolPose
    gripper_command: float


class ObservationEncoder:
    """Turns robot states, one a policy step, into observation vectors (size,) float32.

    The vector is a function of the states at the last three policy steps and the goal, nothing else:

    | part | length |
    |---|---|
    | tool position, sine and cosine of its heading | 5 |
    | tool velocity | 6 |
    | gripper: width over its maximum, command | 2 |
    | commanded minus measured pose: translation, rotation vector | 6 |
    | the last two actions: displacement of the commanded pose over `action_scale`, gripper command | 2 (axes + 1) |
    | tanh of the tool force and of the pad forces over 20 N | 3 + 2 |
    | the task's features, of the measured and of the commanded tool pose | 2 n |
    | 1 for each part that is known: pose, gripper, force, pads, task | 5 |

    The last two actions are read off the set-point, so that a demonstration, a correction and what the safety monitor
    made of a proposal look alike; a policy on an arm with delay cannot do without them. What is not finite becomes zero
    and its mask zero: a silent sensor changes numbers, never shapes.
    """

    def __init__(
        self,
        kinematics: Kinematics,
        task_features: TaskFeatures,
        action_axes: Sequence[int] = (0, 1, 2, 5),
        action_scale: Sequence[float] = (0.025, 0.025, 0.025, 0.12),
    ) -> None:
        if len(action_axes) != len(action_scale):
            raise ValueError(f"{len(action_axes)} action axes but {len(action_scale)} scales: give one scale an axis")
        self._kinematics = kinematics
        self._task_features = task_features
        self._axes = np.array(action_axes, dtype=int)
        self._scale = np.array(action_scale, dtype=float)
        self._max_width = kinematics.spec.gripper.max_width
        self.reset()

    def reset(self) -> None:
        """Forget the steps before; the next state is taken to have been at rest."""
        self._history: list[_Instant] = []

    def encode(self, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """Observation (size,) float32 of one policy step, given its first state and the goal (k,)."""
        goal = np.asarray(goal, dtype=float)
        now = _Instant(self._kinematics.tool_pose(state.commanded_positions), state.gripper_command)
        history = [now, *self._history[:2]] if self._history else [now, now, now]
        while len(history) < 3:
            history.append(history[-1])
        self._history = history

        pose = self._pose_part(state, now.commanded)
        gripper = np.array([state.gripper_width / self._max_width, state.gripper_command])
        actions = np.concatenate([self._action(history[0], history[1]), self._action(history[1], history[2])])
        force = _squashed(np.asarray(state.wrench[:3], dtype=float))
        pads = _squashed(_two(state.contact_forces))
        task = np.asarray(self._task_features(state, goal), dtype=float)
        if np.isfinite(now.commanded.rotation).all():
            orientation = quaternion_wxyz(now.commanded.rotation)
        else:
            orientation = np.full(4, np.nan)
        commanded_state = copy(state)
        commanded_state.ee_position = now.commanded.position
        commanded_state.ee_orientation = orientation
        ahead = np.asarray(self._task_features(commanded_state, goal), dtype=float)
        parts = (pose, gripper, force, pads, task)
        vector = np.concatenate([pose, gripper, actions, force, pads, task, ahead, _ALL_KNOWN])
        if not np.isfinite(vector).all():
            vector[-len(parts) :] = [np.isfinite(part).all() for part in parts]
            vector = np.nan_to_num(vector, nan=0.0, posinf=0.0, neginf=0.0)
        return vector.astype(np.float32)

    def _pose_part(self, state: RobotState, commanded: ToolPose) -> np.ndarray:
        orientation = np.asarray(state.ee_orientation, dtype=float)
        yaw = yaw_of(orientation)
        part = np.empty(17)
        part[0:3] = state.ee_position - _REFERENCE_HEIGHT
        part[3] = np.sin(yaw)
        part[4] = np.cos(yaw)
        part[5:11] = np.asarray(state.ee_velocity) / _VELOCITY_SCALE
        part[11:14] = (commanded.position - state.ee_position) / _LAG_SCALE
        if np.isfinite(orientation).all() and np.isfinite(commanded.rotation).all():
            part[14:17] = vector_from_rotation(commanded.rotation @ rotation_matrix(orientation).T) / _LAG_SCALE
        else:
            part[14:17] = np.nan
        return part

    def _action(self, after: _Instant, before: _Instant) -> np.ndarray:
        """Displacement (axes,) of the commanded pose over the action scale, then the gripper command (1,)."""
        action = np.empty(len(self._axes) + 1)
        displacement = displacement_between(before.commanded, after.commanded)
        action[:-1] = displacement[self._axes] / self._scale
        action[-1] = before.gripper_command
        return action


def displacement_between(before: ToolPose, after: ToolPose) -> np.ndarray:
    """Displacement (6,) from one tool pose to another: translation [m] and rotation vector [rad], base frame."""
    displacement = np.full(6, np.nan)
    displacement[:3] = after.position - before.position
    turn = after.rotation @ before.rotation.T
    if np.isfinite(turn).all():
        displacement[3:] = vector_from_rotation(turn)
    return displacement


def _squashed(forces: np.ndarray) -> np.ndarray:
    """Forces [N] as numbers in -1 ... 1; what is not finite is unknown, not large."""
    return np.where(np.isfinite(forces), np.tanh(forces / _FORCE_SCALE), np.nan)


def _two(contact_forces: np.ndarray) -> np.ndarray:
    """Forces (2,) of a parallel gripper's pads; NaN for a pad without a sensor."""
    pads = np.full(2, np.nan)
    measured = np.asarray(contact_forces, dtype=float)[:2]
    pads[: len(measured)] = measured
    return pads
