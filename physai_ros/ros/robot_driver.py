"""The driver of a real arm by the kind that its configuration names."""

from __future__ import annotations

from rclpy.node import Node

from physai_ros.drivers.catalog import load_driver
from physai_ros.drivers.driver import Driver
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.ros2_control.driver import Ros2ControlDriver


def make_driver(spec: RobotSpec, node: Node) -> Driver:
    """The driver of `spec`, not yet connected; one that needs ROS takes context, clock and log from `node`.

    Raises:
        DriverError: the kind of driver is not known, or `spec.connection` is not what it wants to know.
    """
    if spec.driver == "ros2_control":
        return Ros2ControlDriver(spec, node)
    return load_driver(spec)
