"""The safety monitor's way to its driver outside the control cycle: claim, first state, resume."""

from __future__ import annotations

import time
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from physai_ros import msg, srv
from physai_ros.robot.state import DriverState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message


class DriverLinkError(RuntimeError):
    """The driver does not answer or refuses; the message says what to do."""


class DriverLink:
    """Asks the driver and waits for its answer, with a time-out [s].

    A lifecycle transition and a service have to answer themselves, so they cannot leave the waiting to their own node's
    executor: the link is a node of its own, which is spun only while something is asked.
    """

    def __init__(self, owner: Node, timeout: float) -> None:
        self._owner = owner
        self._timeout = timeout
        # The owner's remappings, its name among them, are applied by `resolve_...`, not to this node.
        self._node = Node(
            f"{owner.get_name()}_link",
            namespace=owner.get_namespace(),
            context=owner.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor = SingleThreadedExecutor(context=owner.context)
        self._executor.add_node(self._node)
        # It is there from the start, so that discovery is over when the first state is asked for.
        self._states = self._node.create_subscription(
            msg.DriverState, owner.resolve_topic_name("driver_state"), self._on_state, qos.CONTROL
        )
        self._heard = Future(executor=self._executor)
        self._claim = self._node.create_client(srv.ClaimDriver, owner.resolve_service_name("claim_driver"))
        self._resume = self._node.create_client(Trigger, owner.resolve_service_name("driver/resume"))

    def state(self) -> DriverState:
        """Next state that the driver measures.

        Raises:
            DriverLinkError: none came in time.
        """
        self._heard = Future(executor=self._executor)
        self._executor.spin_until_future_complete(self._heard, self._timeout)
        if not self._heard.done():
            topic = self._states.topic_name
            raise DriverLinkError(f"nothing came on {topic} within {self._timeout:g} s; start the driver first")
        return from_message(self._heard.result())

    def claim(self) -> str:
        """Token of a fresh claim; the driver is stopped until `resume`.

        Raises:
            DriverLinkError: the driver refuses or does not answer.
        """
        request = srv.ClaimDriver.Request(claimant=self._owner.get_fully_qualified_name())
        response = self._ask(self._claim, request)
        if not response.granted:
            raise DriverLinkError(f"the driver refuses the claim: {response.message}")
        return response.token

    def resume(self) -> str:
        """Take the driver out of its latch; returns what it says.

        Raises:
            DriverLinkError: the driver refuses or does not answer.
        """
        response = self._ask(self._resume, Trigger.Request())
        if not response.success:
            raise DriverLinkError(f"the driver does not resume: {response.message}")
        return response.message

    def close(self) -> None:
        """Destroy the link's node."""
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()

    def _on_state(self, message: msg.DriverState) -> None:
        if not self._heard.done():
            self._heard.set_result(message)

    def _ask(self, client: Any, request: Any) -> Any:  # noqa: ANN401 - rclpy's client and messages
        """Answer of a service that may be called twice, and is when half of the time passed without an answer.

        Where both ends have only just met, an answer can be lost: the server may know the client's question before it
        knows where to answer (rmw_fastrtps gives up on it after 0.1 s).
        """
        until = time.monotonic() + self._timeout
        if not client.wait_for_service(self._timeout):
            raise DriverLinkError(f"no driver serves {client.srv_name} within {self._timeout:g} s; start it first")
        for half in (0.5, 1.0):
            future = client.call_async(request)
            self._executor.spin_until_future_complete(future, max(half * (until - time.monotonic()), 0.1))
            if future.done():
                return future.result()
            client.remove_pending_request(future)
        raise DriverLinkError(f"{client.srv_name} did not answer within {self._timeout:g} s; restart the driver")
