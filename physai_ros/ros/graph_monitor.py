"""What a running graph says of itself, gathered in one place for the demo's table, the fault matrix and the benches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.subscription import Subscription

from physai_ros.msg import (
    DriverState,
    EpisodeContext,
    EpisodeFeedback,
    PolicyUpdate,
    RobotAction,
    SafeCommand,
    SafetyStatus,
    TrainingStatus,
)
from physai_ros.ros import qos
from physai_ros.ros.executor import ControlExecutor


class GraphMonitor:
    """Listens to one graph from a thread of its own; its fields are what came last.

    Attributes:
        feedback: every `EpisodeFeedback` received, in order.
        updates: every `PolicyUpdate` received, in order.
        latencies: wall instant, and time from a `driver_state` to the first `safe_command` that permits what was
            proposed for it [s].
        observation_ages: time from the observation behind a proposal to the proposal, in simulated time [s].
    """

    def __init__(self, namespace: str, *, control: bool = True) -> None:
        self.feedback: list[EpisodeFeedback] = []
        self.updates: list[PolicyUpdate] = []
        self.episode: EpisodeContext | None = None
        self.training: TrainingStatus | None = None
        self.safety: SafetyStatus | None = None
        self.driver: DriverState | None = None
        self.command: SafeCommand | None = None
        self.driver_received = 0.0
        self.command_received = 0.0
        self.safety_received = 0.0
        self.latencies: deque[tuple[float, float]] = deque(maxlen=60_000)
        self.observation_ages: deque[float] = deque(maxlen=60_000)
        self.states = self.answered = 0
        self.hooks: list[Callable[[object], None]] = []
        self._seen: dict[int, float] = {}
        self._proposed: dict[int, int] = {}
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("graph_monitor", namespace=namespace, context=self._context)
        subscribe = self.node.create_subscription
        subscribe(EpisodeFeedback, "episode_feedback", self._on_feedback, qos.EVENT)
        subscribe(PolicyUpdate, "policy_update", self._on_update, qos.LATCHED)
        subscribe(EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        subscribe(TrainingStatus, "training_status", self._on_training, qos.EVENT)
        subscribe(SafetyStatus, "safety_status", self._on_safety, qos.EVENT)
        self._control: list[Subscription] = []
        if control:
            self.hear_control(True)
        self._executor = ControlExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="graph_monitor", daemon=True)
        self._thread.start()

    def __enter__(self) -> GraphMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and leave the graph."""
        self._context.try_shutdown()  # which wakes the thread
        self._thread.join(timeout=2.0)
        self._executor.shutdown(timeout_sec=1.0)

    def hear_control(self, wanted: bool) -> None:
        """Listen to the control loop from now on, or no more: three messages a cycle, a tenth of what a graph costs."""
        if wanted and not self._control:
            subscribe = self.node.create_subscription
            self._control = [
                subscribe(DriverState, "driver_state", self._on_driver, qos.CONTROL),
                subscribe(RobotAction, "proposed_action", self._on_proposal, qos.CONTROL),
                subscribe(SafeCommand, "safe_command", self._on_command, qos.CONTROL),
            ]
        elif not wanted:
            for subscription in self._control:
                self.node.destroy_subscription(subscription)
            self._control = []

    def wait(self, condition: Callable[[], bool], timeout: float, what: str) -> float:
        """Wait until `condition` holds and return how long it took [s].

        Raises:
            TimeoutError: it did not within `timeout` [s]; the message names `what`.
        """
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > timeout:
                raise TimeoutError(f"{what} did not come within {timeout:g} s")
            time.sleep(0.002)
        return time.monotonic() - start

    def call(self, service_type: type, name: str, request: object, timeout: float = 5.0) -> object:
        """Call a service of the graph and return its response.

        Raises:
            TimeoutError: nobody serves it, or it did not answer within `timeout` [s].
        """
        client = self.node.create_client(service_type, name)
        try:
            self.wait(client.service_is_ready, timeout, f"the service {name}")
            future = client.call_async(request)
            self.wait(future.done, timeout, f"an answer of the service {name}")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def latency_percentiles(self, since: float = 0.0) -> tuple[float, float]:
        """Median and 99th percentile [s] of `driver_state` to `safe_command`, NaN while there is none."""
        values = [latency for instant, latency in list(self.latencies) if instant >= since]
        if not values:
            return float("nan"), float("nan")
        median, tail = np.percentile(values, [50, 99])
        return float(median), float(tail)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            while self._context.ok():
                self._executor.spin_once()

    def _tell(self, message: object) -> None:
        for hook in self.hooks:
            hook(message)

    def _on_feedback(self, message: EpisodeFeedback) -> None:
        if all(known.episode_id != message.episode_id for known in self.feedback):
            self.feedback.append(message)
            self._tell(message)

    def _on_update(self, message: PolicyUpdate) -> None:
        if not self.updates or message.generation != self.updates[-1].generation:
            self.updates.append(message)
            self._tell(message)

    def _on_episode(self, message: EpisodeContext) -> None:
        self.episode = message
        self._tell(message)

    def _on_training(self, message: TrainingStatus) -> None:
        self.training = message
        self._tell(message)

    def _on_safety(self, message: SafetyStatus) -> None:
        self.safety, self.safety_received = message, time.monotonic()
        self._tell(message)

    def _on_driver(self, message: DriverState) -> None:
        self.driver, self.driver_received = message, time.monotonic()
        if message.sequence not in self._seen:
            self.states += 1
            self._seen[message.sequence] = time.monotonic()
            self._seen = _newest(self._seen)
        self._tell(message)

    def _on_proposal(self, message: RobotAction) -> None:
        stamp, observed = message.header.stamp, message.observation_stamp
        self.observation_ages.append(stamp.sec - observed.sec + 1e-9 * (stamp.nanosec - observed.nanosec))
        self._proposed[message.sequence] = message.state_sequence
        self._proposed = _newest(self._proposed)
        self._tell(message)

    def _on_command(self, message: SafeCommand) -> None:
        now = time.monotonic()
        self.command, self.command_received = message, now
        if message.source == SafeCommand.SOURCE_POLICY:
            self.answered += 1
            seen = self._seen.get(self._proposed.pop(message.proposed_sequence, -1))
            if seen is not None:
                self.latencies.append((now, now - seen))
        self._tell(message)


def _newest(entries: dict, kept: int = 500) -> dict:
    """The newest entries, once there are twice as many as are kept."""
    return dict(list(entries.items())[-kept:]) if len(entries) > 2 * kept else entries
