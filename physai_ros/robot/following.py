"""Following a joint reference that may step, as fast as the joints can accelerate and never past it."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.set_point import SetPoint


class ReferenceFollower:
    """Targets towards a reference, which an acceleration-limited set-point reaches without swinging about it.

    A reference whose motion the joints can follow is met exactly, cycle by cycle. One that steps is followed at the
    largest speed from which discrete braking still ends on it (time-optimal control of a double integrator in discrete
    time: Gao, "On discrete time optimal control: a closed-form solution", 2004), with one ratio for all joints, so that
    the tool stays on the line between set-point and reference. A steady reference of speed v is then followed v / 2a
    seconds late, where a is the acceleration limit of the joint that needs it most, and the arm stops where it stops.
    Catching up instead would run past every stop by v^2 / 2a: four centimetres at the speeds of a learned policy.
    """

    def __init__(self, acceleration: np.ndarray, control_period: float) -> None:
        """Limits (n_joints,) [rad/s^2] and period [s]."""
        self._period = control_period
        self._unit = acceleration * control_period**2  # [rad] what one cycle of braking takes off a step
        self._tolerated = self._unit * (1 + 1e-9)
        self.reset()

    def reset(self) -> None:
        """Forget the reference before."""
        self._before: np.ndarray | None = None
        self._within_reach = False

    def target(self, reference: np.ndarray, set_point: SetPoint) -> np.ndarray:
        """Next target (n_joints,) [rad] towards `reference`; it is `reference` itself where that can be met."""
        lag = reference - set_point.positions
        before, self._before = self._before, reference
        was_within_reach = self._within_reach
        self._within_reach = all((np.abs(lag - set_point.velocities * self._period) <= self._tolerated).tolist())
        if self._within_reach and before is not None:
            # It was met and goes on; or only limits kept it from being met, and it moves along with the set-point. One
            # that stands also comes within reach while it is approached at speed, but must not be met at that speed.
            if all((np.abs(before - set_point.positions) <= self._unit).tolist()):
                return reference
            if was_within_reach and (reference - before) @ lag >= 0.5 * (lag @ lag):
                return reference
        distance = np.abs(lag)
        cycles = np.ceil(0.5 * (np.sqrt(1.0 + 8.0 * distance / self._unit) - 1.0) - 1e-9)
        cycles = np.maximum(cycles, 1.0)
        braking = distance / cycles + self._unit * (cycles - 1.0) / 2.0
        # A joint that is there already sets no pace; nor does the rounding of one that is.
        ratio = float(np.min(braking / np.maximum(distance, 1e-9), where=distance > 1e-9, initial=1.0))
        return reference if ratio >= 1.0 else set_point.positions + ratio * lag
