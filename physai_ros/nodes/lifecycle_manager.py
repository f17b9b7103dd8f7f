"""Brings the nodes of a graph up in order, hears whether they live, and brings back up those that came back."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import Trigger

from physai_ros.ros import qos
from physai_ros.ros.lifecycle_client import LifecycleClient
from physai_ros.ros.lifecycle_plan import NodeState, next_transition
from physai_ros.ros.parameters import declare, parameter
from physai_ros.ros.process import REFUSED, spin_process


@dataclass(frozen=True)
class Parameters:
    """What the lifecycle manager can be told."""

    nodes: tuple[str, ...] = parameter((), "Names of the managed nodes, in the order in which they are brought up.")
    heartbeat: float = parameter(1.0, "Period of asking each node for its state [s].", minimum=0.05, maximum=60.0)
    answer_timeout: float = parameter(1.5, "A node is dead without an answer for this long [s].", minimum=0.05)
    transition_timeout: float = parameter(60.0, "A transition may take this long [s].", minimum=0.1)
    attempts: int = parameter(2, "Refused transitions in a row after which the bring-up is given up.", minimum=1)
    retry: float = parameter(2.0, "Pause after a refused transition [s].", minimum=0.0)


class LifecycleManager(Node):
    """The one manager of a graph, whichever way its processes were started."""

    Parameters = Parameters

    def __init__(self) -> None:
        """Declare parameters and begin to look for the nodes."""
        super().__init__("lifecycle_manager")
        self.parameters = declare(self, Parameters)
        own = self.parameters
        self.clients_by_name = {
            name: LifecycleClient(self, name, own.answer_timeout, own.transition_timeout) for name in own.nodes
        }
        self.brought_up = False
        self._began = time.monotonic()
        self._asked = 0.0
        self._last: dict[str, NodeState] = dict.fromkeys(own.nodes, NodeState.UNKNOWN)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENT)
        self.create_service(Trigger, "~/is_active", self._answer_is_active)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.05, self._tick, clock=steady)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)

    @property
    def all_active(self) -> bool:
        """Whether every managed node is active."""
        return all(client.state is NodeState.ACTIVE for client in self.clients_by_name.values())

    def stop(self) -> None:
        """Nothing is held; the nodes are stopped by whoever started them."""

    def _tick(self) -> None:
        for client in self.clients_by_name.values():
            answer = client.take_answer()
            if isinstance(answer, ChangeState.Response):
                if not answer.success:
                    self._refused(client)
                client.ask_state()
            self._report(client)
        period = self.parameters.heartbeat if self.brought_up and self.all_active else 0.2
        if time.monotonic() - self._asked >= period:
            self._asked = time.monotonic()
            for client in self.clients_by_name.values():
                client.ask_state()
        self._bring_up()
        if self.all_active and not self.brought_up:
            self.brought_up = True
            seconds = time.monotonic() - self._began
            self.get_logger().info(f"all {len(self.clients_by_name)} nodes active after {seconds:.1f} s")

    def _bring_up(self) -> None:
        states = {name: client.state for name, client in self.clients_by_name.items()}
        now = time.monotonic()
        order = [name for name in self.parameters.nodes if not self.brought_up or now >= self._retry_at(name)]
        due = next_transition(order, states, self.brought_up)
        if due is None or now < self._retry_at(due[0]):
            return
        name, transition = due
        self.clients_by_name[name].ask_transition(transition)

    def _retry_at(self, name: str) -> float:
        return self.clients_by_name[name].retry_at

    def _refused(self, client: LifecycleClient) -> None:
        client.retry_at = time.monotonic() + self.parameters.retry
        self.get_logger().error(f"{client.name} refused a transition; its own log says why")
        if not self.brought_up and client.refusals >= self.parameters.attempts:
            self.get_logger().fatal(f"{client.name} cannot be brought up; its own log says why")
            raise SystemExit(REFUSED)

    def _report(self, client: LifecycleClient) -> None:
        before, now = self._last[client.name], client.state
        if before is now or now is NodeState.BUSY:
            return
        self._last[client.name] = now
        if now is NodeState.UNKNOWN:
            self.get_logger().error(f"{client.name} does not answer")
        elif now is NodeState.ACTIVE:
            self.get_logger().info(f"{client.name} is active")

    def _answer_is_active(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        missing = [f"{name} {client.state.value}" for name, client in self.clients_by_name.items()]
        response.success = self.all_active
        response.message = "all nodes active" if response.success else ", ".join(missing)
        return response

    def _publish_diagnostics(self) -> None:
        wrong = [name for name, client in self.clients_by_name.items() if client.state is not NodeState.ACTIVE]
        status = DiagnosticStatus(
            level=DiagnosticStatus.ERROR if wrong and self.brought_up else DiagnosticStatus.OK,
            name=self.get_fully_qualified_name(),
            message=f"not active: {', '.join(wrong)}" if wrong else "all nodes active",
            hardware_id="lifecycle_manager",
        )
        status.values = [KeyValue(key=name, value=client.state.value) for name, client in self.clients_by_name.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main() -> int:
    """Run the lifecycle manager until it is told to stop."""
    return spin_process(LifecycleManager, sys.argv)
