"""Jerk-limited stops, and the proof that one stays inside the limits."""

from __future__ import annotations

import math

import numpy as np
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

from physai_ros.robot.command import StopTrajectory
from physai_ros.robot.kinematics import Kinematics
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.set_point import SetPoint


def hold_trajectory(positions: np.ndarray, control_period: float) -> StopTrajectory:
    """Stop of a set-point that is at rest already: one sample."""
    return StopTrajectory(control_period, positions[np.newaxis].copy())


class StopPlanner:
    """Plans stops by ruckig (Berscheid and Kroeger, "Jerk-limited real-time trajectory generation", 2021).

    Every joint brakes as hard as it may on its own: a joint that waited for the slowest one would use up more of its
    range than `SafetyFilter` left for it.
    """

    def __init__(self, limits: SafetyLimits, control_period: float) -> None:
        count = len(limits.joint_names)
        self._period = control_period
        self._otg = Ruckig(count)
        self._input = InputParameter(count)
        self._trajectory = Trajectory(count)
        self._input.control_interface = ControlInterface.Velocity
        self._input.synchronization = Synchronization.No
        self._input.max_acceleration = limits.acceleration.tolist()
        self._input.max_jerk = limits.jerk.tolist()
        self._input.target_velocity = [0.0] * count
        self._input.target_acceleration = [0.0] * count

    def plan(self, start: SetPoint) -> StopTrajectory | None:
        """Quickest stop from `start`, sampled each control period; None where ruckig finds none."""
        if not start.velocities.any():
            return hold_trajectory(start.positions, self._period)
        self._input.current_position = start.positions
        self._input.current_velocity = start.velocities
        self._input.current_acceleration = start.accelerations
        if self._otg.calculate(self._input, self._trajectory) not in (Result.Working, Result.Finished):
            return None
        duration = self._trajectory.duration
        samples = max(math.ceil(duration / self._period - 1e-9), 1)
        at_time = self._trajectory.at_time
        positions = np.array([at_time((i + 1) * self._period)[0] for i in range(samples - 1)] + [at_time(duration)[0]])
        return StopTrajectory(self._period, positions)


class StopVerifier:
    """Checks the whole path of a stop against position, workspace and link height.

    Kinematics is evaluated only where the arm could reach a bound at all: no point of the chain moves further than the
    sum over joints of (angle turned times length of chain beyond the joint), from the last posture that was evaluated.
    """

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics, *, tolerance: float = 2e-3) -> None:
        self._limits = limits
        self._kinematics = kinematics
        self._tolerance = tolerance
        links = kinematics.link_positions(kinematics.spec.home_positions)
        # Distances between origins that follow each other do not depend on the posture: one joint turns each.
        lengths = np.linalg.norm(np.diff(links, axis=0), axis=1)
        self.reach = np.cumsum(lengths[::-1])[::-1].copy()
        # An origin that the joints do not lift (joints on a fixed or vertical first axis) is the mounting, not motion.
        self._fixed = int(np.argmax(np.cumsum(lengths) > 1e-9)) + 1
        self._anchor = np.full(len(limits.joint_names), np.inf)
        self._clearance = -np.inf

    def problem(self, stop: StopTrajectory, start: SetPoint) -> str:
        """Name of the limit (`position`, `workspace`, `link_height`) that the stop breaks; empty when it breaks none.

        Where the arm stands outside a limit already, the stop must not lead further out.
        """
        limits, path = self._limits, stop.positions
        lower = np.minimum(limits.position_lower, start.positions) - 1e-6
        upper = np.maximum(limits.position_upper, start.positions) + 1e-6
        if not ((path >= lower).all() and (path <= upper).all()):
            return "position"
        return self._geometry(path, start)

    def clearance(self, positions: np.ndarray) -> float:
        """Least distance [m] to workspace and lowest link height at `positions`; a lower bound where that is far."""
        moved = float(np.abs(positions - self._anchor) @ self.reach)
        if math.isfinite(moved) and self._clearance - moved > 0.2:
            return self._clearance - moved
        self._clearance = self._exact(positions)
        self._anchor = positions.copy()
        return self._clearance

    def _exact(self, positions: np.ndarray) -> float:
        links = self._kinematics.link_positions(positions)
        limits, tool = self._limits, links[-1]
        return float(
            min(
                (tool - limits.workspace_lower).min(),
                (limits.workspace_upper - tool).min(),
                links[self._fixed : -1, 2].min(initial=np.inf) - limits.lowest_link_height,
            )
        )

    def _geometry(self, path: np.ndarray, start: SetPoint) -> str:
        clearance = self.clearance(start.positions)
        if clearance - float((np.abs(path - start.positions) @ self.reach).max()) > 0:
            return ""
        # Not the tolerance below where it stands already, or every cycle would go a little further out.
        least = min(clearance - 1e-6, -self._tolerance)
        for index in sorted({len(path) // 4, len(path) // 2, 3 * len(path) // 4, len(path) - 1}):
            if self._exact(path[index]) < least:
                return self._named(path[index])
        return ""

    def _named(self, positions: np.ndarray) -> str:
        tool = self._kinematics.tool_pose(positions).position
        inside = (tool >= self._limits.workspace_lower).all() and (tool <= self._limits.workspace_upper).all()
        return "link_height" if inside else "workspace"
