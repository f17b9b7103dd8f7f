"""From set-points to what an arm takes: positions, velocities, or the twist of its tool."""

from __future__ import annotations

import numpy as np

from physai_ros.drivers.driver import CommandKind
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec

FEEDBACK = 5.0
"""Share of the distance to the set-point that a velocity command makes good for in a second [1/s]."""


class SetPointConversion:
    """Turns joint set-points, one a control cycle, into command vectors of one kind.

    Positions pass as they are. A velocity is that of the set-point plus `FEEDBACK` times what the measurement lacks of
    the set-point before, held to the arm's velocity limits. A twist is that velocity through the tool's Jacobian at the
    measured posture: what an arm of seven joints does beside it, within its null space, is its controller's choice.
    """

    def __init__(self, spec: RobotSpec, kind: CommandKind) -> None:
        self.kind = kind
        self._spec = spec
        self._kinematics = Kinematics(spec) if kind is CommandKind.TOOL_TWIST else None
        self._before: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the set-point before: the next one is where the command starts, at rest."""
        self._before = None

    def vector(self, set_point: np.ndarray, measured: np.ndarray, *, moving: bool) -> np.ndarray:
        """Command that leads from the set-point before to `set_point`, given `measured`; both (n_joints,) [rad].

        Args:
            set_point: of this cycle.
            measured: positions.
            moving: whether the set-point is being led; where it is not, a velocity is exactly zero.
        """
        before = set_point if self._before is None else self._before
        self._before = np.array(set_point)
        if self.kind is CommandKind.JOINT_POSITIONS:
            return self._before.copy()
        velocities = np.zeros_like(self._before)
        if moving:
            limit = self._spec.velocity_limits
            led = (set_point - before) / self._spec.control_period + FEEDBACK * (before - measured)
            velocities = np.clip(led, -limit, limit)
        if self._kinematics is None:
            return velocities
        return self._kinematics.jacobian(measured) @ velocities
