"""What is around the arm, seen from the posture where filter and verifier look by turns."""

from __future__ import annotations

from collections import deque

import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.safety.distances import Distances, Sight
from physai_ros.safety.limits import SafetyLimits


class Surroundings:
    """`Distances` that remembers what it saw last: the end of one cycle's step is the start of the next one's."""

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics) -> None:
        self.distances = Distances(limits, kinematics)
        # Where the step starts, where it was to end, where it ends; by their bytes, which are compared at once.
        self._seen: deque[tuple[bytes, Sight]] = deque(maxlen=3)

    def look(self, joint_positions: np.ndarray) -> Sight:
        """What is seen at `joint_positions` (n_joints,) [rad]."""
        key = joint_positions.tobytes()
        for seen, sight in self._seen:
            if seen == key:
                return sight
        sight = self.distances.look(joint_positions.copy())
        self._seen.append((key, sight))
        return sight
