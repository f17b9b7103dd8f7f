"""Every message of a graph's control loop, with the instant at which it was published."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from physai_ros.msg import DriverState, RobotAction, SafeCommand
from physai_ros.ros import qos
from physai_ros.ros.executor import make_patient, take_all

_TOPICS = {"safe_command": SafeCommand, "proposed_action": RobotAction, "driver_state": DriverState}


class ControlTap:
    """Listens to the control topics of a graph; what was heard waits in the middleware until `take` is called.

    Instants are those that the middleware of the *writer* noted, on the steady clock [s]: whoever measures may be late
    itself without that being in the figures, and is woken for nothing, so that it costs the graph little.

    Attributes:
        hooks: called by `take` with every message and its instant, in the order in which they were published.
    """

    def __init__(self, namespace: str) -> None:
        self.hooks: list[Callable[[object, float], None]] = []
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node("control_tap", namespace=namespace, context=self._context)
        self._subscriptions = []
        for topic, kind in _TOPICS.items():
            subscription = self._node.create_subscription(kind, topic, lambda _message: None, qos.RECORD)
            make_patient(subscription)
            self._subscriptions.append(subscription)
        self._to_steady = time.monotonic() - time.time()

    def __enter__(self) -> ControlTap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.destroy_node()
        self._context.try_shutdown()

    def take(self) -> None:
        """Hand on what has come since the last call, at most five seconds at 100 Hz; call it more often than that."""
        taken = [pair for each in self._subscriptions for pair in take_all(each, "source_timestamp")]
        for stamp, message in sorted(taken, key=lambda pair: pair[0]):
            for hook in self.hooks:
                hook(message, 1e-9 * stamp + self._to_steady)


@contextmanager
def without_pauses() -> Iterator[None]:
    """Collect garbage before the block and not within it: what is measured there may be in this process."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
