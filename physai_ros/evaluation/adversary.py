"""Policies that mean no good: what the safety monitor is tried with."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from physai_ros.robot.kinematics import Kinematics, ToolPose
from physai_ros.safety.distances import Distances
from physai_ros.safety.limits import SafetyLimits


class Antagonist(Protocol):
    """Proposes one joint reference a control cycle, knowing where the set-point stands."""

    def propose(self, positions: np.ndarray) -> tuple[np.ndarray, float]:
        """Joint reference (n_joints,) [rad] and gripper command in -1 ... 1 from the set-point `positions`."""


class RandomPolicy:
    """References drawn at random: small steps, walks, speeds and far postures, each for some cycles."""

    def __init__(self, limits: SafetyLimits, generator: np.random.Generator) -> None:
        self._limits = limits
        self._generator = generator
        self._left = 0

    def propose(self, positions: np.ndarray) -> tuple[np.ndarray, float]:
        """A reference of the kind that is in force; another kind after up to a second."""
        generator, limits = self._generator, self._limits
        if self._left == 0:
            self._left = int(generator.integers(1, 101))
            self._kind = int(generator.integers(0, 4))
            self._size = float(generator.choice([1e-4, 1e-3, 1e-2, 0.1, 1.0]))
            self._speed = generator.uniform(-1.0, 1.0, len(positions)) * limits.velocity * 0.01
            self._goal = generator.uniform(limits.position_lower, limits.position_upper)
            self._walked = positions.copy()
            self._gripper = float(generator.choice([-1.0, 1.0]))
        self._left -= 1
        noise = self._size * generator.standard_normal(len(positions))
        if self._kind == 0:
            return positions + noise, self._gripper
        if self._kind == 1:
            self._walked = self._walked + noise
        elif self._kind == 2:
            self._walked = self._walked + self._speed
        else:
            self._walked = self._goal
        return self._walked, self._gripper


class AdversarialPolicy:
    """Drives at what there is: joint limits, the table, walls, the arm's own links, at full speed and in reversals."""

    KINDS = ("corner", "links", "table", "wall", "reversal")

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics, generator: np.random.Generator) -> None:
        self._limits = limits
        self._kinematics = kinematics
        self._generator = generator
        distances = Distances(limits, kinematics)
        between = np.array([name == "self_distance" for name in distances.names])
        self._colliding = []
        while between.any() and len(self._colliding) < 50:
            posture = generator.uniform(limits.position_lower, limits.position_upper)
            if distances.look(posture).distances[between].min() < -0.03:
                self._colliding.append(posture)
        self._left = self._played = 0
        self.kind = "corner"

    def propose(self, positions: np.ndarray) -> tuple[np.ndarray, float]:
        """A reference that leads where it must not; another way of doing so after up to two seconds."""
        limits, generator = self._limits, self._generator
        if self._left == 0:
            self._left = int(generator.integers(20, 201))
            self._played = 0
            self.kind = str(generator.choice(self.KINDS))
            if self.kind == "links" and not self._colliding:
                self.kind = "corner"
            self._gripper = float(generator.choice([-1.0, 1.0]))
            low, high = limits.position_lower - 0.5, limits.position_upper + 0.5
            self._goal = np.where(generator.random(len(positions)) < 0.5, low, high)
            if self.kind == "links":
                self._goal = self._colliding[int(generator.integers(len(self._colliding)))]
            self._direction = generator.normal(size=3)
            self._direction /= np.linalg.norm(self._direction)
        self._left -= 1
        self._played += 1
        if self.kind == "table":
            return self._pushed(positions, np.array([0.0, 0.0, -0.02])), self._gripper
        if self.kind == "wall":
            return self._pushed(positions, 0.02 * self._direction), self._gripper
        if self.kind == "reversal":
            side = 1.0 if (self._played // 15) % 2 else -1.0
            return positions + side * 0.05 * np.sign(self._goal - positions), self._gripper
        return self._goal, self._gripper

    def _pushed(self, positions: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        pose = self._kinematics.tool_pose(positions)
        target = ToolPose(pose.position + displacement, pose.rotation)
        return self._kinematics.step_towards(positions, target)
