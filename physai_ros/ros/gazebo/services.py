"""Requests to Gazebo's world, in the types of ros_gz_interfaces or, where that is not installed, in ours.

Both ends use this module. ROS 2's wheels do not hold ros_gz_interfaces; there the same fields travel by name in
`physai_ros/srv/SetRandomization` (names and values), which our stand-in serves and a real bridge does not.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import numpy as np

from physai_ros import srv

try:
    _gz = importlib.import_module("ros_gz_interfaces.srv")
except ImportError:
    _gz = None

NATIVE = _gz is not None
"""Whether the types are those of ros_gz_interfaces, which a real bridge serves."""
ControlService = _gz.ControlWorld if _gz else srv.SetRandomization
PoseService = _gz.SetEntityPose if _gz else srv.SetRandomization
_MODEL = 2  # ros_gz_interfaces/Entity.MODEL
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


class Control(NamedTuple):
    """Fields of gz.msgs.WorldControl that are used: pause, and how many physics steps to take before the next pause."""

    pause: bool
    multi_step: int = 0


def control_request(control: Control) -> object:
    """Request of the world-control service."""
    request = ControlService.Request()
    if NATIVE:
        request.world_control.pause = control.pause
        request.world_control.multi_step = control.multi_step
    else:
        request.names = ["pause", "multi_step"]
        request.values = [float(control.pause), float(control.multi_step)]
    return request


def read_control(request: object) -> Control:
    """What a request of the world-control service asks for."""
    if NATIVE:
        return Control(request.world_control.pause, request.world_control.multi_step)
    values = dict(zip(request.names, request.values, strict=True))
    return Control(bool(values.get("pause", 0.0)), int(values.get("multi_step", 0.0)))


def pose_request(name: str, pose: np.ndarray) -> object:
    """Request to put a model at `pose` (7,): position [m] and quaternion wxyz, in the world."""
    request = PoseService.Request()
    if NATIVE:
        request.entity.name, request.entity.type = name, _MODEL
        position, turn = request.pose.position, request.pose.orientation
        position.x, position.y, position.z, turn.w, turn.x, turn.y, turn.z = map(float, pose)
    else:
        request.names = [f"{name}.{axis}" for axis in _POSE]
        request.values = list(map(float, pose))
    return request


def read_pose(request: object) -> tuple[str, np.ndarray]:
    """Model and pose (7,), position [m] and quaternion wxyz, that a request asks for."""
    if NATIVE:
        position, turn = request.pose.position, request.pose.orientation
        pose = np.array([position.x, position.y, position.z, turn.w, turn.x, turn.y, turn.z])
        return request.entity.name, pose
    return request.names[0].rpartition(".")[0], np.array(request.values)


def succeeded(response: object) -> bool:
    """Whether Gazebo did what was asked."""
    return bool(response.success if NATIVE else response.accepted)


def answer(response: object, done: bool) -> object:
    """The response that says whether it was done."""
    setattr(response, "success" if NATIVE else "accepted", done)
    return response
