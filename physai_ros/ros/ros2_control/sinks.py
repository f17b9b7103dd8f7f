"""What a controller is told, by the kind of its command topic."""

from __future__ import annotations

from array import array
from typing import Protocol

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from physai_ros.drivers.driver import CommandKind
from physai_ros.robot.command import StopTrajectory
from physai_ros.ros.ros2_control.connection import Connection
from physai_ros.ros.stamps import split_seconds

_MOST_POINTS = 25
"""Points of a trajectory message at most: a longer stop is thinned out, its end stays."""
_AHEAD = 2
"""Control periods from now to a trajectory's first point, so that it lies ahead when it is received."""


class Sink(Protocol):
    """Makes the messages of one command topic."""

    kind: CommandKind
    message_type: type
    rests_by_itself: float
    """Silence after which a controller of this kind rests whatever its settings [s]; inf: it never does."""

    def message(self, vector: np.ndarray, stop: StopTrajectory | None) -> object:
        """A command; `stop` is the verified stop from its end on, for sinks that can play one."""

    def rest(self, held: np.ndarray) -> object | None:
        """The command to rest at `held` (n_joints,) [rad]; None where the controller does so by itself."""


class VelocitySink:
    """Float64MultiArray of joint velocities [rad/s]; a forward controller goes on at the last for ever."""

    kind = CommandKind.JOINT_VELOCITIES
    message_type = Float64MultiArray
    rests_by_itself = float("inf")

    def message(self, vector: np.ndarray, stop: StopTrajectory | None) -> Float64MultiArray:
        """The velocities as they are."""
        return Float64MultiArray(data=array("d", vector.tolist()))

    def rest(self, held: np.ndarray) -> Float64MultiArray:
        """Zero velocities."""
        return self.message(np.zeros(len(held)), None)


class PositionSink(VelocitySink):
    """Float64MultiArray of joint positions [rad]; a forward controller pulls towards the last for ever."""

    kind = CommandKind.JOINT_POSITIONS

    def rest(self, held: np.ndarray) -> Float64MultiArray:
        """The positions to be held."""
        return self.message(held, None)


class TrajectorySink:
    """JointTrajectory of the set-point and the verified stop after it, again in every cycle.

    So the controller itself plays the verified stop when the next trajectory does not come, whoever died. Points are
    positions alone, a control period apart: between them the controller goes in straight lines.
    """

    kind = CommandKind.JOINT_POSITIONS
    message_type = JointTrajectory

    def __init__(self, names: tuple[str, ...], period: float) -> None:
        """Joint names as the controller knows them, and the control period [s]."""
        self._names = list(names)
        self._ahead = _AHEAD * period
        self.rests_by_itself = self._ahead

    def message(self, vector: np.ndarray, stop: StopTrajectory | None) -> JointTrajectory:
        """One point, and those of the stop."""
        made = JointTrajectory(joint_names=self._names)  # no stamp: from now on
        points, times = [vector], [self._ahead]
        if stop is not None:
            count = len(stop.positions)
            kept = np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(int))
            points += list(stop.positions[kept])
            times += [self._ahead + (int(i) + 1) * stop.time_step for i in kept]
        for positions, seconds in zip(points, times, strict=True):
            point = JointTrajectoryPoint(positions=array("d", positions.tolist()))
            point.time_from_start.sec, point.time_from_start.nanosec = split_seconds(seconds)
            made.points.append(point)
        return made

    def rest(self, held: np.ndarray) -> None:
        """Nothing: the last trajectory ends at rest, and an empty one would end it at once, without braking."""


class TwistSink:
    """TwistStamped of the tool [m/s, rad/s]; unless the controller has a time-out, the last holds for ever."""

    kind = CommandKind.TOOL_TWIST
    message_type = TwistStamped
    rests_by_itself = float("inf")

    def __init__(self, frame: str, clock: Clock) -> None:
        """Frame that the twist is expressed in, and the clock of its stamps."""
        self._frame = frame
        self._clock = clock

    def message(self, vector: np.ndarray, stop: StopTrajectory | None) -> TwistStamped:
        """The twist as it is."""
        made = TwistStamped()
        made.header.frame_id, made.header.stamp = self._frame, self._clock.now().to_msg()
        linear, angular = made.twist.linear, made.twist.angular
        linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = vector.tolist()
        return made

    def rest(self, held: np.ndarray) -> TwistStamped:
        """No twist."""
        return self.message(np.zeros(6), None)


def make_sink(connection: Connection, names: tuple[str, ...], period: float, clock: Clock) -> Sink:
    """The sink of a connection; joint `names` as the controller knows them, control `period` in [s]."""
    if connection.sink == "velocity":
        return VelocitySink()
    if connection.sink == "position":
        return PositionSink()
    if connection.sink == "twist":
        return TwistSink(connection.twist_frame, clock)
    return TrajectorySink(names, period)
