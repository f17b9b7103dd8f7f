"""A managed node, and the main function of every node's process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from physai_ros.ros import qos
from physai_ros.ros.cycle_times import CycleTimes
from physai_ros.ros.executor import make_patient, take_all
from physai_ros.ros.parameters import declare
from physai_ros.ros.process import spin_process

_PATIENCE = 0.05  # [s] between looks at patient subscriptions

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


@dataclass(frozen=True)
class NoParameters:
    """Parameters of a node that has none."""


class ManagedNode(LifecycleNode):
    """A lifecycle node whose shell is written once.

    A node sets `node_name` and `Parameters`, and overrides what it needs of `configure`, `activate`, `deactivate`,
    `cleanup` and `diagnose`. These are plain functions: an exception in `configure` or `activate` becomes one line in
    the log and a failed transition. What `publisher`, `subscribe`, `every` and `serve` make in `configure` is
    destroyed after `cleanup`. While the node is not active its subscriptions (latched ones apart), timers and services
    do nothing.
    """

    node_name: ClassVar[str]
    Parameters: ClassVar[type] = NoParameters

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - those of rclpy's node
        super().__init__(self.node_name, **kwargs)
        # Names with a class in them are out of reach by accident, and rclpy changes some itself.
        self._of_rclpy = {name: value for name, value in vars(self).items() if "__" not in name}
        self.parameters = declare(self, self.Parameters)
        self.active = False
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.cycle_times: CycleTimes | None = None
        self._made: list[Callable[[], object]] = []
        self._patient: list[Subscription] = []
        self.arrival: int | None = None
        self._configured = False
        self._cpu = (time.monotonic(), time.process_time())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENT)
        self.create_timer(1.0, self._publish_diagnostics, clock=self.steady_clock)

    # What a node overrides.

    def configure(self) -> None:
        """Build the node's objects and entities from `self.parameters`."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working and forget what was remembered of the stream."""

    def cleanup(self) -> None:
        """Let go of what `configure` built."""

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Level, message and values of `/diagnostics`."""
        return OK, "active" if self.active else "not active", {}

    # What a node uses.

    def publisher(self, message_type: type, topic: str, profile: QoSProfile) -> Publisher:
        """A publisher that lives until cleanup."""
        made = self.create_publisher(message_type, topic, profile)
        self._made.append(lambda: self.destroy_publisher(made))
        return made

    def time_cycles(self, period: float, callback: Callable[..., None]) -> Callable[..., None]:
        """The callback that is the node's cycle, timed for `/diagnostics`; paced, one is due every `period` [s]."""
        self.cycle_times = CycleTimes(period)
        return self.cycle_times.timed(callback)

    def subscribe(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        *,
        raw: bool = False,
        patient: bool = False,
    ) -> Subscription:
        """A subscription that lives until cleanup; it hears while the node is active, a latched one always.

        A patient one hears what came every 50 ms, all at once: for who records or watches a stream that is too fast to
        be woken by each message of it. `arrival` is then when the message came [ns, system clock].
        """
        latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        heard = callback if latched else self._while_active(callback)
        made = self.create_subscription(message_type, topic, heard, profile, raw=raw)
        if patient:
            self._add_patient(made)
        self._made.append(lambda: self.destroy_subscription(made))
        return made

    def take_patient(self) -> None:
        """Hear now what waits in the patient subscriptions, in the order in which it arrived."""
        waiting = [(*arrived, each.callback) for each in self._patient for arrived in take_all(each)]
        for self.arrival, message, callback in sorted(waiting, key=itemgetter(0)):
            callback(message)
        self.arrival = None

    def every(self, period: float, callback: Callable[[], None]) -> Timer:
        """A timer on the steady clock [s], which runs on when `/clock` stands; it lives until cleanup."""

        def tick() -> None:
            if self.active:
                callback()

        made = self.create_timer(period, tick, clock=self.steady_clock)
        self._made.append(lambda: self.destroy_timer(made))
        return made

    def serve(self, service_type: type, name: str, callback: Callable[[Any, Any], Any]) -> Service:
        """A service that lives until cleanup; while the node is not active it answers that it is not."""

        def answer(request: object, response: object) -> object:
            if self.active:
                return callback(request, response)
            if hasattr(response, "message"):
                response.message = f"{self.get_name()} is not active; activate it first"
            return response

        made = self.create_service(service_type, name, answer)
        self._made.append(lambda: self.destroy_service(made))
        return made

    def client(self, service_type: type, name: str) -> Any:  # noqa: ANN401 - rclpy's client
        """A service client that lives until cleanup."""
        made = self.create_client(service_type, name)
        self._made.append(lambda: self.destroy_client(made))
        return made

    def now(self) -> float:
        """Instant on the node clock [s]."""
        return self.get_clock().now().nanoseconds / 1e9

    # What rclpy calls.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; a failure leaves the node unconfigured, with nothing made."""
        if not self._attempt("configure", self._configure_checked):
            self._attempt("clean up", self.cleanup, quiet=True)
            self._destroy_made()
            return TransitionCallbackReturn.FAILURE
        self._configured = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; a failure leaves the node inactive."""
        super().on_activate(state)
        self.active = True
        if self.cycle_times is not None:
            self.cycle_times.reset()
        if not self._attempt("activate", self.activate):
            self.active = False
            return TransitionCallbackReturn.FAILURE
        # What was built stays; the collector need not look through it in every cycle.
        gc.collect()
        gc.freeze()
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        self.active = False
        self._attempt("deactivate", self.deactivate)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up and destroy what `configure` made."""
        self._attempt("clean up", self.cleanup)
        self._destroy_made()
        self._configured = False
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave in order from any state."""
        self.stop()
        return super().on_shutdown(state)

    def stop(self) -> None:
        """Deactivate and clean up whatever is up; safe to call twice."""
        if self.active:
            self.active = False
            self._attempt("deactivate", self.deactivate)
        if self._configured:
            self._configured = False
            self._attempt("clean up", self.cleanup)
            self._destroy_made()

    def _configure_checked(self) -> None:
        """Configure, and refuse a node that overwrites what rclpy keeps in the same object (`_clock`, `_context`)."""
        self.configure()
        taken = [name for name, value in self._of_rclpy.items() if vars(self).get(name) is not value]
        if taken:
            raise AttributeError(f"{type(self).__name__}.{taken[0]} is rclpy's; rename the node's own attribute")

    def _attempt(self, what: str, action: Callable[[], None], *, quiet: bool = False) -> bool:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - any of them must become a failed transition, not a dead process
            if not quiet:
                text = " ".join(str(error).split()) or "no message"
                self.get_logger().error(f"cannot {what}: {text} ({type(error).__name__})")
            return False
        return True

    def _add_patient(self, subscription: Subscription) -> None:
        make_patient(subscription)
        if not self._patient:
            # While the node is not active as well: what came then must not be heard later.
            timer = self.create_timer(_PATIENCE, self.take_patient, clock=self.steady_clock)
            self._made.append(lambda: self.destroy_timer(timer))
        self._patient.append(subscription)

    def _destroy_made(self) -> None:
        self._patient.clear()
        while self._made:
            self._made.pop()()

    def _while_active(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def heard(message: Any) -> None:  # noqa: ANN401 - any message
            if self.active:
                callback(message)

        return heard

    def _publish_diagnostics(self) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        share = (cpu - self._cpu[1]) / max(wall - self._cpu[0], 1e-9)
        self._cpu = (wall, cpu)
        level, text, values = self.diagnose()
        timing = self.cycle_times.values() if self.cycle_times is not None and self.active else {}
        values = {"cpu_share": f"{share:.3f}", **timing, **values}
        status = DiagnosticStatus(
            level=level, name=self.get_fully_qualified_name(), message=text, hardware_id=self.node_name
        )
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def run(node_class: type[ManagedNode], arguments: list[str] | None = None) -> int:
    """Exit code of a process that runs one managed node until it is told to stop."""
    return spin_process(node_class, arguments)
