"""Points of the arm's links at a posture, and how joints move them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pinocchio as pin

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.shapes import LinkPoints


class Placement(NamedTuple):
    """The points (n, 3) [m] at one posture in the base frame, and the spatial Jacobian (6, n_joints) there.

    Column j of the Jacobian is the velocity of what joint j turns, where it passes the base's origin, then the turn.
    """

    points: np.ndarray
    jacobian: np.ndarray

    def slopes(self, which: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """What points `which` (k,) gain along unit `directions` (k, 3) by a turn of each joint: (k, n_joints) [m/rad].

        All joints are taken to move the point; those beyond its link are the caller's to leave out.
        """
        x, y, z = self.points[which].T
        wrench = np.empty((len(which), 6))
        wrench[:, :3] = directions
        u, v, w = directions.T
        wrench[:, 3] = y * w - z * v
        wrench[:, 4] = z * u - x * w
        wrench[:, 5] = x * v - y * u
        return wrench @ self.jacobian


class Body:
    """Places points on links. Not safe to share between threads: pinocchio's data are reused between calls.

    Every point is a sum of its link's axes and origin, so that one product places them all.
    """

    def __init__(self, kinematics: Kinematics, points: LinkPoints) -> None:
        self._model = kinematics.model
        self._data = self._model.createData()
        pin.forwardKinematics(self._model, self._data, np.zeros(self._model.nq))
        links = range(self._model.njoints)
        self._frames = _frames(self._data)
        self._shares = np.zeros((len(points.joints), len(links), 4))
        for joint in links:
            own, place = np.flatnonzero(points.joints == joint), self._data.oMi[joint]
            self._shares[own, joint, :3] = (points.positions[own] - place.translation) @ place.rotation
            self._shares[own, joint, 3] = 1.0
        self._shares = self._shares.reshape(len(points.joints), -1)

    def place(self, joint_positions: np.ndarray) -> Placement:
        """Where the points are at `joint_positions` (n_joints,) [rad]."""
        jacobian = pin.computeJointJacobians(self._model, self._data, joint_positions)
        return Placement(self._shares.dot(self._frames), jacobian.copy())


def _frames(data: pin.Data) -> np.ndarray:
    """A window (4 * links, 3) on pinocchio's own memory: of each link its axes in the base frame, then its origin."""
    first = data.oMi[0].rotation
    origin = first.__array_interface__["data"][0]
    for joint, placed in enumerate(data.oMi):
        found = placed.rotation.__array_interface__["data"][0], placed.translation.__array_interface__["data"][0]
        if found != (origin + 96 * joint, origin + 96 * joint + 72) or placed.rotation.strides != (8, 24):
            problem = f"pinocchio {pin.__version__} keeps placements otherwise than 3 and 4 do; install one of those"
            raise RuntimeError(problem)
    return np.lib.stride_tricks.as_strided(first.T, (4 * len(data.oMi), 3), (24, 8))
