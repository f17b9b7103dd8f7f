"""Rotations as the rooms use them: quaternions wxyz. Messages are xyzw; `physai_ros.ros` converts."""

from __future__ import annotations

import numpy as np
import pinocchio as pin


def quaternion_wxyz(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion (4,) wxyz with w >= 0 of a rotation matrix (3, 3)."""
    x, y, z, w = pin.Quaternion(rotation).coeffs()
    quaternion = np.array([w, x, y, z])
    return -quaternion if w < 0 else quaternion


def rotation_matrix(quaternion_wxyz: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a quaternion (4,) wxyz; it is normalized first."""
    w, x, y, z = np.asarray(quaternion_wxyz, dtype=float) / np.linalg.norm(quaternion_wxyz)
    return pin.Quaternion(w, x, y, z).toRotationMatrix()


def rotation_from_vector(rotation_vector: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector (3,) [rad]."""
    return pin.exp3(np.asarray(rotation_vector, dtype=float))


def vector_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) [rad] of a rotation matrix (3, 3)."""
    return pin.log3(rotation)


def yaw_of(quaternion_wxyz: np.ndarray) -> np.ndarray:
    """Heading (...,) [rad] about the base's z axis of quaternions (..., 4) wxyz."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion_wxyz, dtype=float), -1, 0)
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
