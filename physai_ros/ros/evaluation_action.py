"""The action `evaluate_policy`: an evaluation with feedback, which can be cancelled."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from physai_ros import srv
from physai_ros.action import EvaluatePolicy
from physai_ros.evaluation.jobs import JobStatus
from physai_ros.evaluation.protocol import EvaluationRequest
from physai_ros.evaluation.service import EvaluationService


class EvaluationAction:
    """Serves the action on a node; whoever owns the node tells it how jobs stand.

    A goal is a coroutine, so that the node's one thread goes on hearing, a cancel among it.
    """

    def __init__(self, node: Node, service: EvaluationService, active: Callable[[], bool]) -> None:
        """Goals are accepted while `active()`."""
        self._node, self._service = node, service
        self._waiting: dict[str, Future] = {}
        self._server = ActionServer(
            node,
            EvaluatePolicy,
            "evaluate_policy",
            self._execute,
            goal_callback=lambda _goal: GoalResponse.ACCEPT if active() else GoalResponse.REJECT,
            cancel_callback=self._on_cancel,
        )

    def tell(self, status: JobStatus) -> None:
        """How a job stands now; a goal that waits for its end goes on."""
        waiting = self._waiting.get(status.evaluation_id)
        if waiting is not None and (status.finished or waiting.cancelled()):
            del self._waiting[status.evaluation_id]
            waiting.set_result(status)

    def destroy(self) -> None:
        """Stop serving."""
        self._server.destroy()

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        self._service.jobs.cancel(getattr(goal, "evaluation_id", ""))
        return CancelResponse.ACCEPT

    async def _execute(self, goal: ServerGoalHandle) -> EvaluatePolicy.Result:
        result = EvaluatePolicy.Result()
        try:
            result.evaluation_id = self._service.request(request_of(goal.request))
        except (ValueError, OSError) as error:
            result.verdict, result.report_json = "failed", json.dumps({"error": str(error)})
            goal.abort()
            return result
        goal.evaluation_id = result.evaluation_id
        if goal.is_cancel_requested:
            self._service.jobs.cancel(result.evaluation_id)
        waiting = self._waiting[result.evaluation_id] = Future(executor=self._node.executor)
        self._feed_back(goal, result.evaluation_id)
        status = await waiting
        result.success, result.lower, result.upper = status.success
        result.verdict, result.episodes = status.verdict, status.episodes_done
        result.report_json = json.dumps(status.report or {"error": status.detail})
        {"done": goal.succeed, "cancelled": goal.canceled}.get(status.state, goal.abort)()
        return result

    def _feed_back(self, goal: ServerGoalHandle, evaluation_id: str) -> None:
        """Publish feedback from a thread that ends with the job; a publisher may be used from any thread."""

        def publish() -> None:
            done = -1
            status = self._service.jobs.status(evaluation_id)
            while status is not None and not status.finished and goal.is_active:
                if status.episodes_done != done:
                    done = status.episodes_done
                    success = status.success[0]
                    goal.publish_feedback(
                        EvaluatePolicy.Feedback(
                            episodes_done=done, episodes_total=status.episodes_total, success=success
                        )
                    )
                threading.Event().wait(0.2)
                status = self._service.jobs.status(evaluation_id)

        threading.Thread(target=publish, name=f"feedback {evaluation_id}", daemon=True).start()


def request_of(wanted: srv.Evaluate.Request | EvaluatePolicy.Goal) -> EvaluationRequest:
    """What a service call or a goal asks for."""
    return EvaluationRequest(
        policy=wanted.policy,
        task=wanted.task,
        against=wanted.against,
        scenario_set=wanted.scenario_set,
        episodes=wanted.episodes,
        backend=wanted.backend,
        seed=wanted.seed,
        margin=wanted.margin,
        stop_early=wanted.stop_early,
    )
