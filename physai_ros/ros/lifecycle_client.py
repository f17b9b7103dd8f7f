"""Questions to one lifecycle node that never wait: each has a time-out on the steady clock."""

from __future__ import annotations

import time
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from physai_ros.ros.lifecycle_plan import NodeState, Transition

_STATES = {
    State.PRIMARY_STATE_UNCONFIGURED: NodeState.UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE: NodeState.INACTIVE,
    State.PRIMARY_STATE_ACTIVE: NodeState.ACTIVE,
    State.PRIMARY_STATE_FINALIZED: NodeState.FINALIZED,
}


class LifecycleClient:
    """One managed node, seen through its lifecycle services.

    Attributes:
        state: as last heard; UNKNOWN once the node does not answer.
        refusals: transitions in a row that the node refused.
        retry_at: steady instant before which the node is not asked for a transition again [s].
    """

    def __init__(self, node: Node, name: str, answer_timeout: float, transition_timeout: float) -> None:
        """Make the clients of the node `name` in the namespace of `node`; time-outs in [s]."""
        self.name = name
        self.state = NodeState.UNKNOWN
        self.refusals = 0
        self.retry_at = 0.0
        self._answer_timeout = answer_timeout
        self._transition_timeout = transition_timeout
        self._get = node.create_client(GetState, f"{name}/get_state")
        self._change = node.create_client(ChangeState, f"{name}/change_state")
        self._question: tuple[Client, Future, float] | None = None

    @property
    def pending(self) -> bool:
        """Whether a question is open."""
        return self._question is not None

    @property
    def in_transition(self) -> bool:
        """Whether the open question is a transition."""
        return self._question is not None and self._question[0] is self._change

    def ask_state(self) -> None:
        """Ask the node for its state, unless a question is open."""
        if self._question is None:
            self._ask(self._get, GetState.Request(), self._answer_timeout)

    def ask_transition(self, transition: Transition) -> None:
        """Ask the node for a transition, in place of an open question."""
        self._drop()
        request = ChangeState.Request()
        request.transition.id = transition.value
        self._ask(self._change, request, self._transition_timeout)
        if self._question is not None:
            self.state = NodeState.BUSY

    def take_answer(self) -> Any:  # noqa: ANN401 - either service's response
        """Return the answer that has come since the last call, or None; a question out of time makes the node unknown.

        A transition that was refused counts in `refusals`; one that succeeded clears them.
        """
        if self._question is None:
            return None
        client, future, deadline = self._question
        if not future.done():
            if time.monotonic() > deadline or not client.service_is_ready():
                self._drop()
                self.state = NodeState.UNKNOWN
            return None
        self._question = None
        answer = future.result()
        if answer is None:
            self.state = NodeState.UNKNOWN
        elif client is self._get:
            self.state = _STATES.get(answer.current_state.id, NodeState.BUSY)
        else:
            self.refusals = 0 if answer.success else self.refusals + 1
        return answer

    def _ask(self, client: Client, request: Any, timeout: float) -> None:  # noqa: ANN401
        if not client.service_is_ready():
            self.state = NodeState.UNKNOWN
            return
        self._question = (client, client.call_async(request), time.monotonic() + timeout)

    def _drop(self) -> None:
        if self._question is not None:
            client, future, _ = self._question
            client.remove_pending_request(future)
            self._question = None
