"""The first motion after every start and resume is slow, whoever permits it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from physai_ros.robot.command import SafeCommand
from physai_ros.robot.spec import RobotSpec

_STANDS = 1e-6  # [rad/s]
_ROUNDING = 1.02


@dataclass
class FirstMotion:
    """Refuses commands that are faster than `share` of the velocity limits in the first `seconds` of motion.

    The safety monitor goes slowly by itself then (its parameter `first_motion`); this is what holds it to it. Time
    counts from the first command that moves.
    """

    spec: RobotSpec
    seconds: float
    share: float = 0.25
    _began: float = field(default=math.nan, init=False)

    def restart(self) -> None:
        """The next motion is a first one again."""
        self._began = math.nan

    def refuses(self, command: SafeCommand, now: float) -> bool:
        """Whether a command at `now` [s], on a steady clock, is too fast for a first motion."""
        speeds = np.abs(np.asarray(command.velocities, dtype=float))
        if self.seconds <= 0.0 or speeds.shape != self.spec.velocity_limits.shape:
            return False  # what has no velocities is refused for its shape
        if math.isnan(self._began):
            if (speeds <= _STANDS).all():
                return False
            self._began = now
        if now - self._began > self.seconds:
            return False
        known = {name: limit for name, limit in zip(self.spec.joint_names, self.spec.velocity_limits, strict=True)}
        limits = np.array([known.get(name, 0.0) for name in command.joint_names])
        return limits.shape != speeds.shape or not (speeds <= self.share * _ROUNDING * limits).all()
