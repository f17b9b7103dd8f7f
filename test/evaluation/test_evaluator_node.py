"""The evaluator as a process over DDS: it promotes, answers, can be cancelled, and takes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from physai_ros import msg, srv
from physai_ros.action import EvaluatePolicy
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.ros import qos

ROOT = Path(__file__).resolve().parents[2]


class Caller:
    """A node of another process, which waits on conditions."""

    def __init__(self, namespace: str) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("caller", namespace=namespace, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.updates: list[msg.PolicyUpdate] = []
        self.statuses: list[msg.EvaluationStatus] = []
        self.node.create_subscription(msg.PolicyUpdate, "policy_update", self.updates.append, qos.LATCHED)
        self.node.create_subscription(msg.EvaluationStatus, "evaluation_status", self.statuses.append, qos.LATCHED)

    def until(self, condition: Callable[[], object], timeout: float = 200.0) -> object:
        """What the condition says once it holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.executor.spin_once(timeout_sec=0.05)
        return condition()

    def call(self, kind: type, name: str, **fields: object) -> object:
        """The answer of a service."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        self.until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def environment() -> dict[str, str]:
    """Environment of a process that finds this package."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def documented_client() -> str:
    """The Python program in the documentation."""
    page = (ROOT / "docs" / "evaluation.md").read_text()
    return page.split("```python\n")[1].split("```")[0]


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller("/evaluator_test")
    yield made
    made.close()


@pytest.fixture
def evaluator(own_registry: PolicyRegistry, tmp_path: Path, caller: Caller) -> Iterator[subprocess.Popen]:
    own_registry.activate("000001")
    values = {"registry": own_registry.folder, "store": tmp_path / "none", "task": "reach", "episodes": 6}
    parameters = [text for name, value in values.items() for text in ("-p", f"{name}:={value}")]
    command = [
        sys.executable,
        "-m",
        "physai_ros.nodes.evaluator",
        "--ros-args",
        "-r",
        "__ns:=/evaluator_test",
        *parameters,
    ]
    process = subprocess.Popen(command, env=environment())
    try:
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            response = caller.call(ChangeState, "evaluator/change_state", transition=Transition(id=transition))
            assert response.success
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60.0) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(900)
def test_the_evaluator_promotes_answers_and_takes_back(
    evaluator: subprocess.Popen, caller: Caller, own_registry: PolicyRegistry
) -> None:
    # The newest version earns its place, and everyone hears of it.
    caller.until(lambda: [u for u in caller.updates if u.version == "000003"])
    assert [(u.version, u.generation) for u in caller.updates][-1] == ("000003", 2)
    assert caller.updates[-1].verdict == "better"
    assert caller.updates[-1].sha256 == own_registry.manifest("000003").sha256
    assert own_registry.current() == ("000003", 2)

    # A question is answered, asked by another process as the documentation has it.
    asked = subprocess.run(
        [sys.executable, "-c", documented_client(), "/evaluator_test", "current", "000001", "6"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300.0,
    )
    assert asked.returncode == 0, asked.stderr
    report = json.loads(asked.stdout)
    assert (report["verdict"], report["figures"]["success"], len(report["rows"])) == ("better", 1.0, 12)
    assert report["subject"]["weights_sha256"]["000003"] == own_registry.manifest("000003").sha256
    assert {group["name"] for group in report["groups"]} >= {"goal_x < 0.475", "goal_x >= 0.475"}
    caller.until(lambda: [s for s in caller.statuses if (s.against, s.state) == ("000001", "done")])
    assert not caller.call(srv.GetVerdict, "get_verdict", evaluation_id="nobody").found
    refused = caller.call(srv.Evaluate, "evaluate", policy="000009", episodes=6)
    assert (refused.accepted, "there is no policy '000009'" in refused.message) == (False, True)
    refused = caller.call(srv.Evaluate, "evaluate", policy="current", episodes=6, backend="moon")
    assert (refused.accepted, "known are: sim, graph, robot" in refused.message) == (False, True)
    refused = caller.call(srv.Evaluate, "evaluate", policy="current", episodes=6, stop_early=True)
    assert (refused.accepted, "name a policy to compare with" in refused.message) == (False, True)
    asked = {"policy": "current", "scenario_set": "stress", "episodes": 6, "backend": "robot"}
    refused = caller.call(srv.Evaluate, "evaluate", **asked)
    assert (refused.accepted, "changes the world" in refused.message) == (False, True)

    # An action gives feedback and can be cancelled.
    client = ActionClient(caller.node, EvaluatePolicy, "evaluate_policy")
    caller.until(client.server_is_ready)
    progress: list[int] = []
    goal = EvaluatePolicy.Goal(policy="current", task="reach", episodes=500)
    sent = client.send_goal_async(goal, feedback_callback=lambda m: progress.append(m.feedback.episodes_done))
    caller.until(sent.done)
    caller.until(lambda: progress and progress[-1] >= 1)
    cancelled = sent.result().cancel_goal_async()
    caller.until(cancelled.done)
    result = sent.result().get_result_async()
    caller.until(result.done)
    assert 1 <= result.result().result.episodes < 500
    caller.until(lambda: caller.statuses[-1].state == "cancelled")
    client.destroy()

    # What does not hold what it promised is taken back, at once.
    back = caller.call(srv.RollbackPolicy, "rollback_policy", reason="a test")
    assert (back.accepted, back.version) == (True, "000001")
    caller.until(lambda: caller.updates[-1].generation == 3)
    assert (caller.updates[-1].immediate, caller.updates[-1].reason) == (True, "a test")
    time_of_test = own_registry.folder / "evaluations" / "promotion-000003.json"
    assert json.loads(time_of_test.read_text())["verdict"] == "better"
