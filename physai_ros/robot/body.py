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
    """Places points on links. Not safe to share between threads: pinocchio's data are reused between calls."""

    def __init__(self, kinematics: Kinematics, points: LinkPoints) -> None:
        self._model = kinematics.model
        self._data = self._model.createData()
        pin.forwardKinematics(self._model, self._data, np.zeros(self._model.nq))
        joints = range(self._model.njoints)
        counts = [int((points.joints == joint).sum()) for joint in joints]
        # One product for all links: each has as many places as the fullest one, those left over are never read.
        self._local = np.zeros((len(counts), 3, max(counts)))
        self._where = np.zeros(len(points.joints), dtype=int)
        for joint in joints:
            own = np.flatnonzero(points.joints == joint)
            place = self._data.oMi[joint]
            self._local[joint, :, : len(own)] = place.rotation.T @ (points.positions[own] - place.translation).T
            self._where[own] = joint * max(counts) + np.arange(len(own))
        self._rotations = [self._data.oMi[joint].rotation for joint in joints]
        self._translations = [self._data.oMi[joint].translation for joint in joints]

    def place(self, joint_positions: np.ndarray) -> Placement:
        """Where the points are at `joint_positions` (n_joints,) [rad]."""
        jacobian = pin.computeJointJacobians(self._model, self._data, joint_positions)
        placed = np.array(self._rotations) @ self._local + np.array(self._translations)[:, :, np.newaxis]
        return Placement(placed.transpose(0, 2, 1).reshape(-1, 3)[self._where], jacobian.copy())
