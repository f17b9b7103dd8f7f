"""Drivers by the name that a robot's configuration gives under `driver`."""

from __future__ import annotations

import importlib

from physai_ros.drivers.driver import Driver, DriverError
from physai_ros.robot.spec import RobotSpec

DRIVERS: dict[str, str] = {
    "feetech": "physai_ros.drivers.feetech:FeetechDriver",
    "franka": "physai_ros.drivers.franka:FrankaDriver",
    "universal_robots": "physai_ros.drivers.universal_robots:UniversalRobotsDriver",
}
"""Where the class of each kind of driver is, as module:Class; a vendor's client is imported when it connects."""

_ELSEWHERE = {
    "simulated": "the embedded simulator has a node of its own",
    "ros2_control": "controllers in a ROS graph are driven from there",
}


def load_driver(spec: RobotSpec) -> Driver:
    """The driver of an arm that needs no ROS, not yet connected.

    Raises:
        DriverError: the kind of driver is none of this room's, or `spec.connection` is not what it wants to know.
    """
    place = DRIVERS.get(spec.driver)
    if place is None:
        known = ", ".join(sorted(DRIVERS)) or "none"
        why = _ELSEWHERE.get(spec.driver, "correct the key driver of its configuration")
        raise DriverError(f"robot '{spec.name}' has driver '{spec.driver}'; known here are: {known}; {why}")
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)(spec)
