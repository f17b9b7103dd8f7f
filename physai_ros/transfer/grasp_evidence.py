"""What a grasp tells of perception: what two fingers hold lies where the fingers are, whatever the camera says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.simulation.physics import PhysicsParameters

_FELT = 1.0  # [N] on every pad of a grasp
_NEAR = 0.06  # [m] from the tool, as perceived, within which an object can be the one that is held
_FEWEST = 20  # control cycles of a grasp that tells anything
_ACROSS, _HEADING = 0.002, 0.03  # [m], [rad] differences that count as one


class Grasp(NamedTuple):
    """Means over a grasp: finger `axis` (3,) in the base frame, object to tool along it [m], object's turn [rad]."""

    axis: np.ndarray
    across: float
    turn: float

    def differences(self, physics: PhysicsParameters) -> np.ndarray:
        """How far (2,) the object would have lain from the middle and turned in the fingers, in tolerances."""
        offset = np.array([physics.calibration_x, physics.calibration_y, physics.calibration_z])
        turn = _quarter(self.turn - physics.calibration_yaw)
        return np.array([(self.across - self.axis @ offset) / _ACROSS, turn / _HEADING])


def grasp_of(episode: Episode, finger_axis: np.ndarray) -> Grasp | None:
    """The grasps of an episode taken together, None where nothing was held.

    `finger_axis` (3,) is the direction in which the fingers close, in the tool's frame. Objects are taken for boxes
    whose sides lie along their axes, so that headings are the same after a quarter turn.
    """
    series = episode.series
    if not episode.object_names:
        return None
    poses = series["object_poses"]
    away = np.linalg.norm(poses[:, :, :3] - series["ee_position"][:, np.newaxis], axis=2)
    nearest = away.argmin(axis=1)
    rows = (series["gripper_command"] < 0.0) & (series["contact_forces"].min(axis=1) > _FELT)
    rows &= away.min(axis=1) < _NEAR
    if np.count_nonzero(rows) < _FEWEST:
        return None
    held = poses[rows, nearest[rows]]
    axes = _rotated(series["ee_orientation"][rows], finger_axis)
    across = np.einsum("ij,ij->i", axes, held[:, :3] - series["ee_position"][rows])
    side = _rotated(held[:, 3:], np.array([1.0, 0.0, 0.0]))
    turns = np.arctan2(side[:, 1], side[:, 0]) - np.arctan2(axes[:, 1], axes[:, 0])
    # A mean over angles that repeat every quarter turn.
    turn = float(np.angle(np.mean(np.exp(4j * turns)))) / 4.0
    return Grasp(axes.mean(axis=0), float(np.median(across)), turn)


def _rotated(quaternions_wxyz: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A vector (3,) turned by each orientation (n, 4): (n, 3)."""
    w, imaginary = quaternions_wxyz[:, :1], quaternions_wxyz[:, 1:]
    twice = 2.0 * np.cross(imaginary, vector)
    return vector + w * twice + np.cross(imaginary, twice)


def _quarter(angle: float) -> float:
    return float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
