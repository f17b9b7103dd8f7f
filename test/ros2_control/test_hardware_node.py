"""Hardware node and safety monitor as processes in front of controllers that hold their last command for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger

from physai_ros import msg
from physai_ros.robot.action import RobotAction
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.executor import ControlExecutor

IN_WRITING = "the test stands at the emergency stop"


class Bench:
    """The two nodes as processes, and a policy that leads the arm on a slow sine, near where it is."""

    def __init__(self, arm, wait, robot) -> None:
        self.arm, self.wait, self.robot = arm, wait, robot
        self.spec = RobotSpec.load(robot)
        self.namespace = arm.node.get_namespace()
        self.processes: dict[str, subprocess.Popen] = {}
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("bench", namespace=self.namespace, context=self.context)
        self.executor = ControlExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.state = msg.DriverState()
        self.status = msg.SafetyStatus()
        self.commands: list[msg.SafeCommand] = []
        self.moves = False
        self.sequence = 0
        self.centre: np.ndarray | None = None
        self.node.create_subscription(msg.DriverState, "driver_state", self._on_state, qos.CONTROL)
        self.node.create_subscription(msg.SafetyStatus, "safety_status", self._on_status, qos.EVENT)
        self.node.create_subscription(msg.SafeCommand, "safe_command", self.commands.append, qos.RECORD)
        self.proposals = self.node.create_publisher(msg.RobotAction, "proposed_action", qos.CONTROL_WRITER)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self.context.ok():
                self.executor.spin_once()

    def _on_status(self, status: msg.SafetyStatus) -> None:
        self.status = status

    def _on_state(self, message: msg.DriverState) -> None:
        self.state = message
        if not self.moves or message.mode != msg.DriverState.MODE_ACTIVE:
            self.centre = None
            return
        state = from_message(message)
        if self.centre is None:
            self.centre, self.began = state.commanded_positions, state.sequence
        t = (state.sequence - self.began) * self.spec.control_period
        self.sequence += 1
        reference = self.centre + 0.15 * (1.0 - np.cos(1.5 * t)) / 2.0
        action = RobotAction(
            stamp=state.stamp,
            sequence=self.sequence,
            state_sequence=state.sequence,
            joint_names=state.joint_names,
            reference_positions=reference,
            joint_delta=np.zeros(7),
            gripper_command=-0.5,
        )
        self.proposals.publish(to_message(action))

    def start(self, name: str, **parameters: object) -> None:
        """Start and configure a node in a process of its own."""
        code = f"import sys; from physai_ros.nodes.{name} import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "--ros-args", "-r", f"__ns:={self.namespace}"]
        for key, value in {"robot": self.robot, **parameters}.items():
            command += ["-p", f"{key}:={value}"]
        self.processes[name] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.change(name, Transition.TRANSITION_CONFIGURE)

    def change(self, name: str, transition: int) -> bool:
        """Whether a lifecycle transition was done."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, f"{name}/change_state", request).success

    def activate(self, name: str) -> bool:
        """Whether a node was activated."""
        return self.change(name, Transition.TRANSITION_ACTIVATE)

    def call(self, kind: type, name: str, request: object) -> object:
        """Answer of a service."""
        client = self.node.create_client(kind, name)
        self.wait(client.service_is_ready)
        future = client.call_async(request)
        self.wait(future.done)
        return future.result()

    def press(self, name: str) -> object:
        """Answer of a trigger."""
        return self.call(Trigger, name, Trigger.Request())

    def fast(self) -> bool:
        """Whether the arm moves."""
        return np.abs(self.arm.velocities).max() > 0.05

    def rests(self) -> bool:
        """Whether the arm stands."""
        return np.abs(self.arm.velocities).max() == 0.0

    def freeze(self, name: str) -> None:
        """Stop a process without its knowing."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def errors_of(self, name: str) -> str:
        """Error output of a node that is told to stop."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        return errors

    def close(self) -> None:
        """Stop every process."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
                process.send_signal(signal.SIGINT)
        for process in self.processes.values():
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self.context.try_shutdown()
        self.thread.join(timeout=5.0)
        self.executor.shutdown(timeout_sec=1.0)


@pytest.fixture
def bench_of(arm, configuration, wait) -> Iterator:
    made: list[Bench] = []

    def make(sink: str, **more: object) -> Bench:
        # A machine that runs other things as well may leave a process waiting for longer than a robot should.
        made.append(Bench(arm, wait, configuration(sink, silence=0.4, **more)))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def moving(bench: Bench) -> None:
    assert bench.press("resume").success, bench.status
    bench.moves = True
    bench.wait(bench.fast)


def test_a_sink_without_a_timeout_is_refused_by_the_node_and_by_safety(bench_of):
    bench = bench_of("velocity")
    bench.start("hardware_node")
    assert not bench.activate("hardware_node")
    errors = bench.errors_of("hardware_node")
    assert "stops by itself after inf s" in errors and "sink_without_timeout" in errors
    bench.start("hardware_node", sink_without_timeout=IN_WRITING)
    assert bench.activate("hardware_node")
    bench.start("safety_monitor", auto_resume=False)
    assert not bench.activate("safety_monitor")
    assert "sink_without_timeout" in bench.errors_of("safety_monitor")
    assert bench.rests()


def test_the_dead_man_rests_a_forward_controller_and_faults_are_named(bench_of, arm):
    bench = bench_of("velocity")
    home = arm.positions.copy()
    bench.start("hardware_node", sink_without_timeout=IN_WRITING, first_motion=0.5)
    assert bench.activate("hardware_node")
    bench.start("safety_monitor", sink_without_timeout=IN_WRITING, auto_resume=False, first_motion=0.5)
    assert bench.activate("safety_monitor")
    bench.wait(lambda: bench.status.state == msg.SafetyStatus.STOPPED)
    assert (arm.positions == home).all()
    moving(bench)
    assert bench.state.commands_refused == 0

    # The arm stops by itself: named by safety, latched, and still until recovery, resume and a command.
    arm.fault = 3
    bench.wait(lambda: {"driver_fault", "driver_reflex"} <= set(bench.status.reasons))
    assert bench.state.fault_text == "safety_mode says data 3"
    refused = bench.press("resume")
    assert not refused.success and "driver/recover" in refused.message
    assert bench.press("driver/recover").success
    bench.wait(lambda: bench.state.fault == msg.DriverState.FAULT_NONE)
    stood = arm.positions.copy()
    bench.moves = False
    assert bench.press("resume").success
    bench.wait(lambda: bench.state.mode == msg.DriverState.MODE_ACTIVE)
    assert np.abs(arm.positions - stood).max() < 1e-3
    bench.moves = True
    bench.wait(bench.fast)

    # Safety freezes: the controller would go on for ever.
    bench.freeze("safety_monitor")
    frozen = time.monotonic()
    bench.wait(lambda: bench.state.mode == msg.DriverState.MODE_STOPPED, 5.0)
    bench.wait(bench.rests, 5.0)
    assert time.monotonic() - frozen < bench.spec.command_timeout + 1.5
    stood = arm.positions.copy()
    # What the policy goes on proposing reaches nobody, and what safety says when it thaws is too late.
    os.kill(bench.processes["safety_monitor"].pid, signal.SIGCONT)
    bench.wait(lambda: "driver_stopped" in bench.status.reasons)
    assert bench.rests() and (arm.positions == stood).all()
    bench.moves = False
    moving(bench)

    # Told to stop while it moves, the node leads the arm to rest before it leaves.
    bench.errors_of("hardware_node")
    assert bench.rests()


def test_a_trajectory_controller_plays_the_verified_stop_when_the_driver_dies(bench_of, arm):
    bench = bench_of("trajectory")
    bench.start("hardware_node")
    assert bench.activate("hardware_node")
    bench.start("safety_monitor", auto_resume=False)
    assert bench.activate("safety_monitor")
    moving(bench)
    bench.processes["hardware_node"].kill()
    killed = time.monotonic()
    bench.wait(bench.rests, 5.0)
    assert time.monotonic() - killed < 2.0
    end = bench.commands[-1].stop.positions[-7:]
    told = [command.stop.positions[-7:] for command in bench.commands[-60:]]
    assert min(np.abs(arm.positions - np.array(each)).max() for each in [end, *told]) < 0.01
    del bench.processes["hardware_node"]
