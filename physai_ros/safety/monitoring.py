"""What is wrong with a driver state: names, numbers, order, force, tracking, mode and fault."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from physai_ros.robot.state import DriverFault, DriverMode, DriverState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.rules import BLOW, NEAR_FORCE, NEAR_TRACKING, PUSHED

_GRIPPER_CYCLES = 50  # after a change of the gripper's command in which it closes or opens
_FOLLOWED = 0.5  # [s] for which the arm may still be on its way to a set-point


def fault_condition(fault: DriverFault) -> str:
    """Name of the condition that tells of this fault, as `driver_reflex`."""
    return f"driver_{DriverFault(fault).name.lower()}"


class Observation(NamedTuple):
    """Conditions seen in one driver state, and its `positions` and `commanded` (n_joints,) [rad] in our joint order.

    Both arrays are None where the state cannot be used.
    """

    conditions: set[str]
    positions: np.ndarray | None
    commanded: np.ndarray | None


class StateMonitor:
    """Watches driver states, one after the other, a control period [s] apart."""

    def __init__(self, limits: SafetyLimits, control_period: float) -> None:
        self._limits = limits
        self._names = limits.joint_names
        self._followed = max(1, round(_FOLLOWED / control_period))
        self.ceiling = limits.force_budget
        self.reset()

    def reset(self) -> None:
        """Forget the states before."""
        self.force = 0.0
        self.tracking_error = 0.0
        self.phase = "reach"
        self._gripper = 1.0
        self.forget_gripper()
        self._sequence = -1
        self._stamp = -np.inf
        self._was_active = False
        self._sought: deque[np.ndarray] = deque(maxlen=self._followed)

    @property
    def force_budget(self) -> float:
        """Force [N] on the tool that is permitted in the present phase."""
        return min(self.ceiling, self._limits.force_budgets.get(self.phase, np.inf))

    def driver_may_start(self) -> None:
        """Take a driver that is not active for one that has not started yet, not for one that stopped."""
        self._was_active = False

    def forget_gripper(self) -> None:
        """Take the gripper for one that has long been as it is."""
        self._gripper_moved = -_GRIPPER_CYCLES

    def observe(self, state: DriverState) -> Observation:
        """Conditions and joint positions of one driver state."""
        conditions: set[str] = set()
        if state.fault != DriverFault.NONE:
            conditions |= {"driver_fault", fault_condition(state.fault)}
        positions, commanded = self._joints(state)
        if positions is None:
            conditions |= {"state_invalid", "state_invalid_sustained"}
            return Observation(conditions, None, None)
        if state.sequence < self._sequence:
            # What was overtaken on its way does not come here, so lower numbers are those of a driver that restarted.
            conditions.add("driver_restarted")
            self._was_active = False
        elif state.stamp < self._stamp:
            conditions.add("clock_jump")
        self._sequence, self._stamp = state.sequence, state.stamp
        if state.mode == DriverMode.ACTIVE:
            self._was_active = True
        elif self._was_active:
            conditions.add("driver_stopped")
        else:
            conditions.add("driver_not_active")
        self._follow_phase(state)
        self._watch_force(state, conditions)
        self._watch_tracking(positions, commanded, conditions)
        return Observation(conditions, positions, commanded)

    def _joints(self, state: DriverState) -> tuple[np.ndarray | None, np.ndarray | None]:
        names = state.joint_names
        try:
            joints = np.array([state.joint_positions, state.joint_velocities, state.commanded_positions], dtype=float)
        except (TypeError, ValueError):
            return None, None
        if joints.shape != (3, len(self._names)) or not math.isfinite(sum(joints.ravel().tolist())):
            return None, None
        if names != self._names:
            if set(names) != set(self._names) or len(names) != len(self._names):
                return None, None
            joints = joints[:, [names.index(name) for name in self._names]]
        return joints[0], joints[2]

    def _follow_phase(self, state: DriverState) -> None:
        """Which phase of the task forces are judged by, from the gripper's command alone: nobody else need be asked."""
        gripper = state.gripper_command
        if (gripper > 0.0) != (self._gripper > 0.0):
            self._gripper_moved = state.sequence
        self._gripper = gripper
        if state.sequence - self._gripper_moved < _GRIPPER_CYCLES:
            self.phase = "grasp"
        else:
            self.phase = "reach" if gripper > 0.0 else "carry"

    def _watch_force(self, state: DriverState, conditions: set[str]) -> None:
        if not state.wrench_valid:
            self.force = 0.0
            return
        force = np.asarray(state.wrench, dtype=float)[:3]
        self.force = math.hypot(*force)
        if not math.isfinite(self.force):
            self.force = 0.0
            conditions |= {"state_invalid", "state_invalid_sustained"}
            return
        budget = self.force_budget
        if self.force > budget:
            conditions |= {"contact_force", "contact_force_near"}
            if self.force > BLOW * budget:
                conditions.add("contact_blow")
        elif self.force > NEAR_FORCE * budget:
            conditions.add("contact_force_near")

    def _watch_tracking(self, positions: np.ndarray, commanded: np.ndarray, conditions: set[str]) -> None:
        self.tracking_error = max(np.abs(positions - commanded).tolist())
        if self.tracking_error > self._limits.tracking_error:
            conditions |= {"tracking_error", "tracking_error_sustained"}
        elif self.tracking_error > NEAR_TRACKING * self._limits.tracking_error:
            conditions.add("tracking_error_near")
        self._sought.append(commanded)
        tolerated = PUSHED * self._limits.tracking_error
        if self.tracking_error > tolerated and self._beyond(positions) > tolerated:
            conditions.add("pushed_aside")

    def _beyond(self, positions: np.ndarray) -> float:
        """How far [rad] a joint is from where its set-point has been of late.

        However slowly and late a servo that does not overshoot follows, it is between set-points of before: its answer
        is a mean of them. So this tells a push from a lag without knowing the arm, also where no force is felt.
        """
        sought = np.array(self._sought)
        return float(np.maximum(positions - sought.max(axis=0), sought.min(axis=0) - positions).max())
