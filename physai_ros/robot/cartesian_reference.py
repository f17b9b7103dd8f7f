"""From end-effector displacements, one a policy step, to absolute joint references, one a control cycle."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.kinematics import Kinematics, ToolPose
from physai_ros.robot.rotation import rotation_from_vector, vector_from_rotation

CYCLES_PER_STEP = 10
"""Control cycles in a policy step."""


class CartesianReference:
    """Integrates `ee_delta` on a commanded pose and plays it as joint references.

    The displacement is added to the pose that was *commanded*, not to the one measured, so that delay and tracking
    error do not eat it. The commanded pose is kept within `leash` of the pose that the driver holds as its set-point:
    where the safety monitor holds the arm back, the reference does not run away from it.
    """

    def __init__(self, kinematics: Kinematics, cycles_per_step: int, leash: float = 0.05) -> None:
        self._kinematics = kinematics
        self._cycles = cycles_per_step
        self._leash = leash
        self._left = 0

    def reset(self, commanded_positions: np.ndarray) -> None:
        """Start from a set-point (n_joints,) [rad]."""
        self.positions = np.array(commanded_positions, dtype=float)
        self._start = self._goal = self._kinematics.tool_pose(self.positions)
        self._left = 0

    def begin_step(self, ee_delta: np.ndarray) -> None:
        """Aim at the commanded pose displaced by `ee_delta` (6,): translation [m] and rotation vector [rad], base."""
        goal = self._goal
        self._start = goal
        self._goal = ToolPose(goal.position + ee_delta[:3], rotation_from_vector(ee_delta[3:]) @ goal.rotation)
        self._turn = vector_from_rotation(self._goal.rotation @ self._start.rotation.T)
        self._left = self._cycles

    def advance(self, commanded_positions: np.ndarray) -> np.ndarray:
        """Joint reference (n_joints,) [rad] of the next cycle, given the set-point that is in force."""
        self._rein_in(commanded_positions)
        if self._left:
            self._left -= 1
            share = 1.0 - self._left / self._cycles
            target = ToolPose(
                self._start.position + share * (self._goal.position - self._start.position),
                rotation_from_vector(share * self._turn) @ self._start.rotation,
            )
        else:
            target = self._goal
        self.positions = self._kinematics.step_towards(self.positions, target)
        return self.positions.copy()

    @property
    def commanded_pose(self) -> ToolPose:
        """The pose that the displacements were integrated to."""
        return self._goal

    def _rein_in(self, commanded_positions: np.ndarray) -> None:
        held = self._kinematics.tool_pose(commanded_positions).position
        lead = self._goal.position - held
        distance = float(np.linalg.norm(lead))
        if distance > self._leash:
            correction = (self._leash / distance - 1.0) * lead
            self._goal = ToolPose(self._goal.position + correction, self._goal.rotation)
            self._start = ToolPose(self._start.position + correction, self._start.rotation)
