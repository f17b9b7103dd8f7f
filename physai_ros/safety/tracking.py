"""Following a reference that may step: exactly where that is possible, else close behind it and never past it."""

from __future__ import annotations

import numpy as np

from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.set_point import SetPoint

_COASTING = 2  # cycles that a late reference is carried on


class ReferenceTracker:
    """Turns references into targets that an acceleration-limited set-point can follow without swinging about them.

    A reference whose motion the joints can follow is met exactly, cycle by cycle. One that steps is followed at the
    largest speed from which discrete braking still ends on it (time-optimal control of a double integrator in discrete
    time: Gao, "On discrete time optimal control: a closed-form solution", 2004), with one ratio for all joints, so that
    the tool stays on the line between set-point and reference. A steady reference of speed v is then followed v / 2a
    seconds late, where a is the acceleration limit of the joint that needs it most, and the arm stops where it stops.
    Catching up instead would run past every stop by v^2 / 2a: four centimetres at the speeds of a learned policy.
    """

    def __init__(self, limits: SafetyLimits, control_period: float) -> None:
        self._period = control_period
        self._unit = limits.acceleration * control_period**2  # [rad] what one cycle of braking takes off a step
        self._longest = limits.velocity * control_period * 1.5
        self.reset()

    def reset(self) -> None:
        """Forget the references before."""
        self._reference: np.ndarray | None = None
        self._followed: np.ndarray | None = None
        self._step: np.ndarray | float = 0.0
        self._cycle = self._repeats = 0

    def target(self, reference: np.ndarray, cycle: int, set_point: SetPoint) -> np.ndarray:
        """Next target (n_joints,) [rad] towards `reference`, which was made for control cycle `cycle`.

        A reference that is repeated because the next one is late is carried on for two cycles, then stands.
        """
        reference = self._carry_on(reference, cycle)
        followed, self._followed = self._followed, reference
        lag = reference - set_point.positions
        if (
            followed is not None
            and (np.abs(followed - set_point.positions) <= self._unit).all()
            and (np.abs(lag - set_point.velocities * self._period) <= self._unit * (1 + 1e-9)).all()
        ):
            return reference
        distance = np.abs(lag)
        cycles = np.ceil(0.5 * (np.sqrt(1.0 + 8.0 * distance / self._unit) - 1.0) - 1e-9)
        cycles = np.maximum(cycles, 1.0)
        braking = distance / cycles + self._unit * (cycles - 1.0) / 2.0
        # A joint that is there already sets no pace; nor does the rounding of one that is.
        ratio = float(np.min(braking / np.maximum(distance, 1e-9), where=distance > 1e-9, initial=1.0))
        return reference if ratio >= 1.0 else set_point.positions + ratio * lag

    def _carry_on(self, reference: np.ndarray, cycle: int) -> np.ndarray:
        last = self._reference
        if last is None:
            self._step, self._repeats = 0.0, 0
        elif cycle == self._cycle and np.array_equal(reference, last):
            self._repeats = min(self._repeats + 1, _COASTING)
        else:
            elapsed, self._repeats = max(cycle - self._cycle, 1), 0
            step = (reference - last) / elapsed
            # A reference that jumps has no motion worth carrying on.
            self._step = 0.0 if elapsed > 10 or (np.abs(step) > self._longest).any() else step
        self._reference, self._cycle = reference, cycle
        return reference + self._repeats * self._step if self._repeats else reference
