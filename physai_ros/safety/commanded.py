"""Where the command stands, the stop that was verified for it, and what the driver may still know of both."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from physai_ros.robot.command import StopTrajectory
from physai_ros.robot.set_point import SetPoint
from physai_ros.safety.stopping import hold_trajectory

_SAME = 1e-3  # [rad]


class CommandedMotion:
    """The commanded set-point: it either goes a verified step on, or along the stop that was verified with the last."""

    def __init__(self, set_point: SetPoint, control_period: float, command_timeout: float) -> None:
        """At rest at `set_point`; period and time-out of the driver are in [s]: it goes by no older command."""
        self._period = control_period
        remembered = math.ceil(command_timeout / control_period) + 2
        self._sent: deque[np.ndarray] = deque(maxlen=remembered)
        self._stops: deque[StopTrajectory] = deque(maxlen=remembered)
        self.stand(set_point)

    @property
    def set_point(self) -> SetPoint:
        """Where the command stands."""
        return self._set

    @property
    def at_rest(self) -> bool:
        """Whether the command stands still."""
        return not any(self._set.velocities.tolist())

    @property
    def stop(self) -> StopTrajectory:
        """What is left of the verified stop, at least its end."""
        path = self._stop.positions
        return StopTrajectory(self._period, path[min(self._played, len(path) - 1) :])

    def stand(self, set_point: SetPoint) -> None:
        """Take `set_point`, which is at rest, as where the command stands."""
        self._set, self._played = set_point, 0
        self._stop = hold_trajectory(set_point.positions, self._period)
        self._sent.clear()
        self._stops.clear()

    def advance(self, set_point: SetPoint, stop: StopTrajectory) -> None:
        """Go on to `set_point`, from which `stop` was verified."""
        self._set, self._stop, self._played = set_point, stop, 0
        self._stops.append(stop)

    def play_stop(self) -> None:
        """Go one cycle along the stop."""
        path = self._stop.positions
        self._set = self._set.followed_by(path[min(self._played, len(path) - 1)], self._period)
        self._played += 1

    def play_missed(self, cycles: int) -> None:
        """Go along the stop as the driver did in `cycles` without a command."""
        for _ in range(min(cycles, len(self._stop.positions) + 1)):  # one more, and it rests
            self.play_stop()

    def note_sent(self) -> None:
        """Remember the set-point as one that the driver was sent."""
        self._sent.append(self._set.positions)

    def knows(self, commanded: np.ndarray) -> bool:
        """Whether a driver's set-point (n_joints,) [rad] is one of ours, stops included; a reset makes it another."""
        if max(np.abs(commanded - self._set.positions).tolist()) < _SAME:
            return True
        if any((np.abs(commanded - sent) < _SAME).all() for sent in reversed(self._sent)):
            return True
        return any((np.abs(stop.positions - commanded) < _SAME).all(axis=1).any() for stop in self._stops)
