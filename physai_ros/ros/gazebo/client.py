"""Topics and services of an arm in Gazebo, heard and called from a thread of their own."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64

from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.executor import ControlExecutor
from physai_ros.ros.gazebo.services import (
    Control,
    ControlService,
    PoseService,
    control_request,
    pose_request,
    succeeded,
)
from physai_ros.ros.stamps import seconds_of, stamp_of_serialized
from physai_ros.simulation.gazebo.bridge import CONTROL_SERVICE, POSE_SERVICE, bridged_topics
from physai_ros.tasks.task import Task

_HEARD = {"JointState": JointState, "WrenchStamped": WrenchStamped, "PoseStamped": PoseStamped}
_MOMENT = 0.02  # [s] of wall time
_ROUNDING = 1e-6  # [s]
PATIENCE = 10.0
"""Wall time in which Gazebo has to answer [s]."""


class GazeboSilentError(RuntimeError):
    """Gazebo or its bridge does not answer; the message says what is missing."""


class GazeboClient:
    """What is bridged, as newest messages by topic name; commands and requests go the other way.

    Messages are kept serialized, since Gazebo publishes with every physics step and only a few are looked at.
    """

    def __init__(self, spec: RobotSpec, task: Task, owner: Node) -> None:
        """`owner` gives context and namespace.

        Raises:
            GazeboSilentError: joint states do not come, or the world's services are not there.
        """
        self._node = node = Node(
            f"{owner.get_name()}_gazebo",
            namespace=owner.get_namespace(),
            context=owner.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._newest: dict[str, bytes] = {}
        self._topics: list[str] = []
        self._heard_at = -np.inf
        self._news = threading.Condition()
        self._writers = {}
        for topic in bridged_topics(spec, task):
            kind = topic.ros_type_name.rpartition("/")[2]
            if topic.direction == "ROS_TO_GZ":
                self._writers[topic.source] = node.create_publisher(Float64, topic.ros_topic_name, 10)
            elif kind in _HEARD:
                self._hear(topic.ros_topic_name, _HEARD[kind])
        self._control = node.create_client(ControlService, CONTROL_SERVICE)
        self._place = node.create_client(PoseService, POSE_SERVICE)
        self._executor = ControlExecutor(context=node.context)
        self._executor.add_node(node)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="gazebo", daemon=True)
        self._thread.start()
        try:
            for client in (self._control, self._place):
                if not client.wait_for_service(PATIENCE):
                    raise GazeboSilentError(f"nobody serves {client.srv_name}; start Gazebo and its bridge first")
        except GazeboSilentError:
            self.close()
            raise

    def newest(self, topic: str, kind: type) -> Any:  # noqa: ANN401 - a message of `kind`
        """Newest message of a topic; raises GazeboSilentError where none came."""
        raw = self._newest.get(topic)
        if raw is None:
            raise GazeboSilentError(f"nothing has come on {self._node.resolve_topic_name(topic)}; is it bridged?")
        return deserialize_message(raw, kind)

    @property
    def silence(self) -> float:
        """Wall time since the last joint states [s]."""
        return time.monotonic() - self._heard_at

    def stamp(self, topic: str) -> float:
        """Stamp of the newest message of a topic [s], -inf where none came."""
        raw = self._newest.get(topic)
        return -np.inf if raw is None else stamp_of_serialized(raw)

    def command(self, positions: dict[str, float]) -> None:
        """Send joint targets by name [rad or m].

        Nothing tells when they have arrived. Steps are asked for after them and on another way: a target that is
        overtaken takes effect with the next steps.
        """
        for name, value in positions.items():
            self._writers[name].publish(Float64(data=float(value)))

    def control(self, control: Control) -> None:
        """Pause, run, or take steps."""
        self._call(self._control, control_request(control))

    def place(self, name: str, pose: np.ndarray) -> None:
        """Put a model at `pose` (7,): position [m] and quaternion wxyz."""
        self._call(self._place, pose_request(name, pose))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition on what is heard holds.

        Raises:
            GazeboSilentError: it does not within `PATIENCE`.
        """
        with self._news:
            if not self._news.wait_for(condition, PATIENCE):
                raise GazeboSilentError(f"Gazebo did not {what} within {PATIENCE:g} s; do it and its bridge run?")

    def wait_until(self, due: float, tolerance: float) -> None:
        """Wait for what was measured at `due` [s] of simulated time, on every topic that is heard.

        Joint states come with every step. What a sensor publishes less often may be older by `tolerance` [s], if
        nothing newer comes for a moment.

        Raises:
            GazeboSilentError: a topic that is named did not come.
        """
        joints, *others = sorted(self._topics, key=lambda name: name != "gazebo/joint_states")
        self.wait(lambda: self.stamp(joints) >= due - _ROUNDING, f"publish {joints}")
        with self._news:
            self._news.wait_for(lambda: all(self.stamp(name) >= due - _ROUNDING for name in others), _MOMENT)
        for name in others:
            self.wait(lambda name=name: self.stamp(name) >= due - tolerance - _ROUNDING, f"publish {name}")

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self._executor.wake()
        self._thread.join(timeout=2.0)
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()

    def _hear(self, name: str, kind: type) -> None:
        self._topics.append(name)
        joints = kind is JointState

        def heard(raw: bytes) -> None:
            with self._news:
                self._newest[name] = raw
                if joints:
                    self._heard_at = time.monotonic()
                self._news.notify_all()

        self._node.create_subscription(kind, name, heard, qos.EVENT, raw=True)

    def _call(self, client: Any, request: object) -> None:  # noqa: ANN401 - rclpy's client
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _future: done.set())
        if not done.wait(PATIENCE):
            raise GazeboSilentError(f"{client.srv_name} did not answer within {PATIENCE:g} s")
        if not succeeded(future.result()):
            raise GazeboSilentError(f"{client.srv_name} refused {request}")

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            while not self._over.is_set():
                self._executor.spin_once()


def message_type(name: str) -> type:
    """Class of a message such as `std_msgs/msg/Float64`; raises ImportError where its package is not installed."""
    package, _, rest = name.partition("/")
    return getattr(importlib.import_module(f"{package}.msg"), rest.rpartition("/")[2])


def joint_values(message: JointState, names: tuple[str, ...]) -> np.ndarray:
    """Positions, velocities and efforts (3, n) of joints by name; what a message does not hold is zero."""
    order = [message.name.index(name) for name in names]
    rows = np.zeros((3, len(names)))
    for row, values in zip(rows, (message.position, message.velocity, message.effort), strict=True):
        if len(values) == len(message.name):
            row[:] = np.asarray(values)[order]
    return rows


def wrench_values(message: WrenchStamped) -> np.ndarray:
    """Force [N] and torque [N m] (6,)."""
    force, torque = message.wrench.force, message.wrench.torque
    return np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])


def pose_values(message: PoseStamped) -> np.ndarray:
    """Position [m] and quaternion wxyz (7,)."""
    p, q = message.pose.position, message.pose.orientation
    return np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])


def stamp_of(message: JointState) -> float:
    """Instant of a message [s]."""
    return seconds_of(message.header.stamp)
