"""Whether commanded motion keeps limits: counted by another hand than the one that kept them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.safety.distances import Distances
from physai_ros.safety.limits import SafetyLimits

# What a number may pass its limit by, for rounding: positions [rad], shares of the others, distances [m].
POSITION, SHARE, DISTANCE = 1e-6, 1e-6, 1e-7


class MotionCheck:
    """Counts, cycle by cycle, which limits a commanded path breaks, by differences of its positions.

    Attributes:
        violations: cycles by the name of the limit.
        cycles: positions seen.
    """

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics, control_period: float) -> None:
        self._limits = limits
        self._period = control_period
        self._distances = Distances(limits, kinematics)
        self._names = np.array(self._distances.names)
        self.violations: Counter[str] = Counter()
        self.cycles = 0
        self._path: list[np.ndarray] = []

    def start(self, positions: np.ndarray) -> None:
        """Begin at rest at `positions` (n_joints,) [rad]; where that is outside a limit, it may stay there."""
        self._path = [positions.copy()] * 3
        self._floor = np.minimum(self._distances.look(positions).distances, 0.0)
        self._lower = np.minimum(self._limits.position_lower, positions)
        self._upper = np.maximum(self._limits.position_upper, positions)

    def see(self, positions: np.ndarray) -> None:
        """Judge the next position (n_joints,) [rad]."""
        self.cycles += 1
        limits, period = self._limits, self._period
        first, second, third = self._path
        self._path = [second, third, positions.copy()]
        velocity = (positions - third) / period
        acceleration = (velocity - (third - second) / period) / period
        jerk = (acceleration - (third - 2.0 * second + first) / period**2) / period
        broken = {
            "position": not (
                (positions >= self._lower - POSITION).all() and (positions <= self._upper + POSITION).all()
            ),
            "velocity": bool((np.abs(velocity) > limits.velocity * (1 + SHARE)).any()),
            "acceleration": bool((np.abs(acceleration) > limits.acceleration * (1 + SHARE)).any()),
            "jerk": bool((np.abs(jerk) > limits.jerk * (1 + SHARE)).any()),
        }
        found = self._distances.look(positions).distances
        for name in dict.fromkeys(self._names[found < self._floor - DISTANCE]):
            broken[str(name)] = True
        self.violations.update(name for name, is_broken in broken.items() if is_broken)

    def links_apart(self, positions: np.ndarray) -> float:
        """Lower bound [m] of the distance of two links, less their margin, at `positions` (n_joints,) [rad]."""
        return float(self._distances.look(positions).distances[self._names == "self_distance"].min(initial=np.inf))

    def see_stop(self, path: np.ndarray) -> None:
        """Judge where a stop (samples, n_joints) [rad] would lead: positions, and distances at its end."""
        if not ((path >= self._lower - POSITION).all() and (path <= self._upper + POSITION).all()):
            self.violations["stop_position"] += 1
        found = self._distances.look(path[-1]).distances
        if (found < self._floor - DISTANCE).any():
            self.violations["stop_distance"] += 1
