"""Stands between writers and readers of the control topics, and passes on what the fault under test leaves of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message

from physai_ros import msg
from physai_ros.cli.live_graph import real_time_threads
from physai_ros.ros import qos
from physai_ros.ros.executor import ControlExecutor

SUFFIX = "_received"
TOPICS: dict[str, type] = {
    "driver_state": msg.DriverState,
    "objects": msg.ObjectStates,
    "robot_state": msg.RobotState,
    "proposed_action": msg.RobotAction,
    "safe_command": msg.SafeCommand,
}
"""What goes through the relay: driver -> safety and fusion, perception -> fusion, fusion -> policy, policy -> safety,
safety -> driver. Recorders and whoever measures read what was written, not what the relay makes of it."""

READERS: dict[str, tuple[str, ...]] = {
    "safety_monitor": ("driver_state", "proposed_action"),
    "sensor_fusion": ("driver_state", "objects"),
    "policy_inference": ("robot_state",),
    "driver_node": ("safe_command",),
}
REMAPPINGS = {node: {topic: topic + SUFFIX for topic in topics} for node, topics in READERS.items()}
"""By node, the names under which it reads from the relay."""

Change = Callable[[bytes], list[bytes]]
"""From one serialized message to those that are passed on in its place."""


_SWITCH_INTERVAL = 2e-4
"""Longest time that another thread of this process keeps the interpreter from the relay [s]."""


class Relay:
    """Passes the control topics of one namespace on, from a thread of its own, changed while a change is in force."""

    def __init__(self, namespace: str) -> None:
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        with real_time_threads():
            self._start(namespace)

    def _start(self, namespace: str) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("fault_relay", namespace=namespace, context=self._context)
        self._changes: dict[str, Change] = {}
        self._writers = {}
        for topic, kind in TOPICS.items():
            self._writers[topic] = self.node.create_publisher(kind, topic + SUFFIX, qos.CONTROL_WRITER)
            self.node.create_subscription(
                kind, topic, lambda data, topic=topic: self._pass(topic, data), qos.RECORD, raw=True
            )
        self._executor = ControlExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="fault_relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.try_shutdown()
        self._thread.join(timeout=2.0)
        self._executor.shutdown(timeout_sec=1.0)
        sys.setswitchinterval(self._switch_interval)

    @contextlib.contextmanager
    def changing(self, *topics: str, change: Change) -> Iterator[None]:
        """Put `change` in force on topics while the block lasts."""
        self._changes.update(dict.fromkeys(topics, change))
        try:
            yield
        finally:
            for topic in topics:
                del self._changes[topic]

    def _pass(self, topic: str, data: bytes) -> None:
        change = self._changes.get(topic)
        for each in (data,) if change is None else change(data):
            self._writers[topic].publish(each)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self._context.ok():
                self._executor.spin_once()


def edited(kind: type, edit: Callable[[object], None]) -> Change:
    """A change that applies `edit` to every message of `kind`."""

    def change(data: bytes) -> list[bytes]:
        message = deserialize_message(data, kind)
        edit(message)
        return [serialize_message(message)]

    return change


def dropped(_data: bytes) -> list[bytes]:
    """Nothing."""
    return []
