"""Following a reference that may step: close behind it, never past where it rests."""

from __future__ import annotations

import numpy as np

from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.set_point import SetPoint


class ReferenceTracker:
    """Turns references into targets that an acceleration-limited set-point can follow without swinging about them.

    The reference's own velocity is fed forward, so that one which moves within the limits is met exactly, without lag.
    What is left of a step is made up at the largest relative speed from which discrete braking still ends on the
    reference (time-optimal control of a double integrator in discrete time: Gao, "On discrete time optimal control: a
    closed-form solution", 2004). Only a moving reference that stops faster than the arm can is run past, by at most
    v^2 / 2a.
    """

    def __init__(self, limits: SafetyLimits, control_period: float) -> None:
        self._period = control_period
        self._unit = limits.acceleration * control_period**2  # [rad] what one cycle of braking takes off a step
        self._step = limits.velocity * control_period * 1.5
        self.reset()

    def reset(self) -> None:
        """Forget the references before."""
        self._reference: np.ndarray | None = None
        self._velocity: np.ndarray | float = 0.0
        self._cycle = 0
        self._repeats = 0

    def target(self, reference: np.ndarray, cycle: int, set_point: SetPoint) -> np.ndarray:
        """Next target (n_joints,) [rad] towards `reference`, which was made for control cycle `cycle`.

        A reference that is repeated because the next one is late is coasted on for two cycles, then stands.
        """
        last = self._reference
        if last is None:
            self._velocity, self._repeats = 0.0, 0
        elif cycle == self._cycle:
            self._repeats += 1
            if self._repeats > 2:
                self._velocity = 0.0
        else:
            elapsed, self._repeats = max(cycle - self._cycle, 1), 0
            step = (reference - last) / elapsed
            # A reference that jumps has no velocity worth feeding forward.
            jumped = elapsed > 10 or bool((np.abs(step) > self._step).any())
            self._velocity = 0.0 if jumped else step / self._period
        self._reference, self._cycle = reference, cycle
        moved = reference + self._velocity * (min(self._repeats, 2) * self._period)
        feed = self._velocity * self._period
        lag = moved - set_point.positions - feed
        distance = np.abs(lag)
        cycles = np.maximum(np.ceil(0.5 * (np.sqrt(1.0 + 8.0 * distance / self._unit) - 1.0) - 1e-9), 1.0)
        catch_up = distance / cycles + self._unit * (cycles - 1.0) / 2.0
        near = cycles == 1.0
        if near.all():
            return moved
        return np.where(near, moved, set_point.positions + feed + np.sign(lag) * catch_up)
