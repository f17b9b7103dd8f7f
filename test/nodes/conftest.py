"""Real processes of nodes in a namespace of their own, and a node of the test's that talks to them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile

from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.executor import ControlExecutor
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.tasks.catalog import load_task


class Graph:
    """Some nodes, each in a process of its own; everything is stopped at the end."""

    def __init__(self) -> None:
        self.namespace = f"/test_{uuid.uuid4().hex[:8]}"
        self.processes: dict[str, subprocess.Popen] = {}
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("test", namespace=self.namespace, context=self._context)
        self._executor = ControlExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self._context.ok():
                self._executor.spin_once()

    def start(self, name: str, **parameters: object) -> subprocess.Popen:
        """Start a node in a process of its own."""
        code = f"import sys; from physai_ros.nodes.{name} import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "--ros-args", "-r", f"__ns:={self.namespace}"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={value}"]
        self.processes[name] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        return self.processes[name]

    def bring_up(self, *names: str) -> None:
        """Configure and activate nodes, in order."""
        for name in names:
            for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
                request = ChangeState.Request(transition=Transition(id=transition))
                changed = self.call(ChangeState, f"{name}/change_state", request, timeout=30.0).success
                assert changed, f"{name}: {self.stop(name)[1]}"

    def call(self, service_type: type, name: str, request: object, timeout: float = 30.0) -> object:
        """Answer of a service."""
        client = self.node.create_client(service_type, name)
        try:
            self.wait(client.service_is_ready, timeout)
            future = client.call_async(request)
            self.wait(future.done, timeout)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def hear(self, message_type: type, topic: str, profile: QoSProfile) -> list:
        """List that grows by every message of a topic."""
        heard: list = []
        self.node.create_subscription(message_type, topic, heard.append, profile)
        return heard

    def wait(self, condition: Callable[[], object], timeout: float = 30.0) -> None:
        """Wait until a condition holds."""
        until = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < until, f"not within {timeout:g} s"
            time.sleep(0.002)

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[Graph]:
        """Another graph, in a namespace of its own."""
        other = Graph()
        try:
            yield other
        finally:
            other.close()

    def stop(self, name: str) -> tuple[int, str]:
        """Exit code and error output of a node that is told to stop."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        return process.returncode, errors

    def close(self) -> None:
        """Stop every process."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for process in self.processes.values():
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self._context.try_shutdown()
        self._thread.join(timeout=5.0)
        self._executor.shutdown(timeout_sec=1.0)


@pytest.fixture
def graph() -> Iterator[Graph]:
    made = Graph()
    yield made
    made.close()


@pytest.fixture(scope="session")
def make_registry() -> Callable[..., Path]:
    """Call it with a folder and seeds for a registry of untrained networks, of which the first is active.

    They move about at random but always alike.
    """

    def make(folder: Path, seeds: Sequence[int] = (0,)) -> Path:
        spec, task = RobotSpec.load("fr3_sim"), load_task("reach")
        scenario = task.sample_scenario(np.random.default_rng(0))
        encoder = ObservationEncoder(Kinematics(spec), task.features, task.action_axes, task.action_scale)
        encoder.reset()
        size = len(encoder.encode(SimulatedArm(spec, task).perceived_state(), np.array(scenario.goal)))
        policies = PolicyRegistry(folder)
        moves = {"task": task.name, "action_axes": task.action_axes, "action_scale": task.action_scale}
        for seed in seeds:
            policies.add(RobotPolicyNetwork(Architecture(size, len(task.action_axes) + 1), seed=seed), **moves)
        policies.activate("000001")
        return folder

    return make


@pytest.fixture(scope="session")
def registry(make_registry: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one active version, untrained."""
    return make_registry(tmp_path_factory.mktemp("registry"))
