"""A gripper behind ros2_control: either of its two actions, probed, or the topic of a forward controller."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from physai_ros.drivers.driver import DriverError
from physai_ros.ros.ros2_control.connection import GripperConnection
from physai_ros.ros.ros2_control.services import interface

_CHANGE = 0.02  # of the command, -1 to 1: less is no new goal for an action
ACTIONS = ("control_msgs/action/GripperCommand", "control_msgs/action/ParallelGripperCommand")
"""Tried in this order; the second is what ros2_controllers has from Jazzy on."""


class Gripper:
    """Sends where the fingers are to go, when that changes."""

    def __init__(self, node: Node, connection: GripperConnection, max_force: float) -> None:
        """`max_force` is in [N]; nothing is sent yet."""
        self._node = node
        self._connection = connection
        self._max_force = max_force
        self._client: Any = None
        self._goal: Callable[[float], Any] | None = None
        self._sent = np.nan
        self._writer = node.create_publisher(Float64MultiArray, connection.topic, 1) if connection.topic else None

    def connect(self) -> None:
        """Find out which action is served.

        Raises:
            DriverError: none is, or `control_msgs` is not installed here.
        """
        if self._writer is not None or self._client is not None:
            return
        from rclpy.action import ActionClient

        for name in ACTIONS:
            kind = interface(name)
            client = ActionClient(self._node, kind, self._connection.action)
            if client.wait_for_server(timeout_sec=1.0):
                self._client = client
                self._goal = self._single if name == ACTIONS[0] else self._parallel
                self._kind = kind
                return
            client.destroy()
        raise DriverError(
            f"no gripper action at {self._connection.action}; tried {' and '.join(ACTIONS)}; start the controller"
        )

    def send(self, command: float) -> None:
        """Go to `command`, -1 (closed) to 1 (open)."""
        if np.isfinite(self._sent) and abs(command - self._sent) < (0.0 if self._writer else _CHANGE):
            return
        self._sent = command
        position = self.position(command)
        if self._writer is not None:
            self._writer.publish(Float64MultiArray(data=array("d", [position] * self._connection.fingers)))
        elif self._goal is not None:
            self._client.send_goal_async(self._goal(position))

    def position(self, command: float) -> float:
        """Position of the gripper's joint for a command."""
        closed, opened = self._connection.closed, self._connection.opened
        return closed + 0.5 * (command + 1.0) * (opened - closed)

    def _single(self, position: float) -> Any:  # noqa: ANN401 - control_msgs may be absent
        goal = self._kind.Goal()
        goal.command.position, goal.command.max_effort = position, self._max_force
        return goal

    def _parallel(self, position: float) -> Any:  # noqa: ANN401
        goal = self._kind.Goal()
        goal.command.name, goal.command.position = [self._connection.joint], [position]
        goal.command.effort = [self._max_force]
        return goal
