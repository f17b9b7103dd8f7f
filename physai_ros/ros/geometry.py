"""Poses, twists and wrenches: arrays in the rooms, messages outside. Here alone wxyz becomes xyzw and back."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Pose, Twist, Wrench


def pose_message(position: Sequence[float], quaternion_wxyz: Sequence[float]) -> Pose:
    """A pose of plain numbers: position (3,) [m] and quaternion (4,) wxyz."""
    pose = Pose()
    place, turn = pose.position, pose.orientation
    place.x, place.y, place.z = position
    turn.w, turn.x, turn.y, turn.z = quaternion_wxyz
    return pose


def pose_numbers(pose: Pose) -> tuple[float, float, float, float, float, float, float]:
    """Position [m] and quaternion wxyz of a pose, seven numbers."""
    place, turn = pose.position, pose.orientation
    return place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z


def poses_array(poses: Sequence[Pose]) -> np.ndarray:
    """Array (n, 7) of position [m] and quaternion wxyz."""
    return np.array([pose_numbers(pose) for pose in poses], dtype=float).reshape(-1, 7)


def set_wrench(wrench: Wrench, values: np.ndarray) -> None:
    """Write force [N] and torque [N m] (6,) into a message that exists."""
    force, torque = wrench.force, wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = values.tolist()


def wrench_array(wrench: Wrench) -> np.ndarray:
    """Force [N] and torque [N m] (6,)."""
    force, torque = wrench.force, wrench.torque
    return np.array((force.x, force.y, force.z, torque.x, torque.y, torque.z))


def set_twist(twist: Twist, values: np.ndarray) -> None:
    """Write linear [m/s] and angular [rad/s] velocity (6,) into a message that exists."""
    linear, angular = twist.linear, twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = values.tolist()


def twist_array(twist: Twist) -> np.ndarray:
    """Linear [m/s] and angular [rad/s] velocity (6,)."""
    linear, angular = twist.linear, twist.angular
    return np.array((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z))
