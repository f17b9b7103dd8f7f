"""An arm behind fake controllers, with the topics, types and habits of those that ros2_control brings up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from geometry_msgs.msg import TwistStamped, WrenchStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from physai_ros import msg
from physai_ros.robot.action import RobotAction
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.share import share_path
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.executor import ControlExecutor

SPEC = RobotSpec.load("fr3_sim")
THEIRS = tuple(name.replace("fr3_", "arm_") for name in SPEC.joint_names)
PERIOD = 0.005


class FakeArm:
    """Joints that do what the last command says for as long as no other comes, published under names of their own.

    Velocity, position and twist controllers hold the last command for ever, as ros2_controllers' forward ones do; the
    trajectory controller goes along the last trajectory in straight lines and rests at its end.
    """

    def __init__(self, namespace: str) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = node = Node("fake_arm", namespace=namespace, context=self.context)
        self.positions = SPEC.home_positions.copy()
        self.velocities = np.zeros(7)
        self.fault = 0
        self.silent = False
        self.offset = 0.0
        self.heard: list[object] = []
        self.calls: list[str] = []
        self._kinematics = Kinematics(SPEC)
        self._plan: tuple[float, np.ndarray, np.ndarray] | None = None
        self._target: np.ndarray | None = None
        self._joints = node.create_publisher(JointState, "joint_states", 10)
        self._wrench = node.create_publisher(WrenchStamped, "wrist/wrench", 10)
        self._modes = node.create_publisher(UInt8, "safety_mode", 10)
        node.create_subscription(Float64MultiArray, "velocity/commands", self._on_velocity, 1)
        node.create_subscription(Float64MultiArray, "position/commands", self._on_position, 1)
        node.create_subscription(JointTrajectory, "trajectory/joint_trajectory", self._on_trajectory, 1)
        node.create_subscription(TwistStamped, "twist/commands", self._on_twist, 1)
        node.create_subscription(Float64MultiArray, "hand/commands", self.heard.append, 1)
        node.create_service(Trigger, "unlock", self._unlock)
        node.create_service(SetBool, "power", self._power)
        node.create_timer(PERIOD, self._step)
        self._executor = ControlExecutor(context=self.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop spinning."""
        self.context.try_shutdown()
        self._thread.join(timeout=5.0)
        self._executor.shutdown(timeout_sec=1.0)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self.context.ok():
                self._executor.spin_once()

    def _on_velocity(self, message: Float64MultiArray) -> None:
        self.heard.append(message)
        self._target = self._plan = None
        self.velocities = np.array(message.data)

    def _on_position(self, message: Float64MultiArray) -> None:
        self.heard.append(message)
        self._target = np.array(message.data)

    def _on_twist(self, message: TwistStamped) -> None:
        self.heard.append(message)
        t = message.twist
        twist = [t.linear.x, t.linear.y, t.linear.z, t.angular.x, t.angular.y, t.angular.z]
        self.velocities = np.linalg.pinv(self._kinematics.jacobian(self.positions)) @ twist

    def _on_trajectory(self, message: JointTrajectory) -> None:
        self.heard.append(message)
        assert tuple(message.joint_names) == THEIRS
        times = [p.time_from_start.sec + p.time_from_start.nanosec / 1e9 for p in message.points]
        points = np.array([self.positions, *(p.positions for p in message.points)])
        self._plan = time.monotonic(), np.array([0.0, *times]), points

    def _unlock(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.calls.append("unlock")
        response.success = True
        return response

    def _power(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.calls.append(f"power {request.data}")
        self.fault = 0
        response.success = True
        return response

    def _step(self) -> None:
        before = self.positions
        if self.fault:
            self.velocities, self._plan, self._target = np.zeros(7), None, None
        elif self._plan is not None:
            began, times, points = self._plan
            age = time.monotonic() - began
            self.positions = np.array([np.interp(age, times, points[:, j]) for j in range(7)])
            self.velocities = (self.positions - before) / PERIOD
        elif self._target is not None:
            self.positions = before + np.clip(self._target - before, -0.02, 0.02)
            self.velocities = (self.positions - before) / PERIOD
        else:
            self.positions = before + self.velocities * PERIOD
        self._modes.publish(UInt8(data=self.fault))
        if self.silent:
            return
        order = [3, 0, 6, 1, 5, 2, 4]  # joint_states list joints in any order, others among them
        message = JointState(name=["finger", *(THEIRS[i] for i in order)])
        stamp = self.node.get_clock().now().nanoseconds / 1e9 + self.offset
        message.header.stamp.sec, message.header.stamp.nanosec = int(stamp), int(stamp % 1 * 1e9)
        message.position = [0.02, *self.positions[order]]
        message.velocity = [0.0, *self.velocities[order]]
        message.effort = [0.0] * 8
        self._joints.publish(message)
        wrench = WrenchStamped()
        wrench.wrench.force.z = -3.0
        self._wrench.publish(wrench)


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    made = FakeArm(f"/arm_{uuid.uuid4().hex[:8]}")
    yield made
    made.close()


@pytest.fixture
def configuration(arm, tmp_path) -> Callable[..., Path]:
    """Writes the configuration of the fake arm with a sink, and returns its path."""

    def write(sink: str, **more: object) -> Path:
        content = yaml.safe_load(share_path("config", "robots", "fr3_sim.yaml").read_text())
        content |= {"name": f"fake_{sink}", "driver": "ros2_control", "urdf": str(share_path("models", "fr3.urdf"))}
        content["command_timeout"] = more.pop("silence", 0.1)
        content["connection"] = {
            "namespace": arm.node.get_namespace(),
            "sink": sink,
            "controller": sink,
            "joints": dict(zip(SPEC.joint_names, THEIRS, strict=True)),
            "wrench": "wrist/wrench",
            "silence": 1.0,  # other work on this machine must not look like a lost link
            "gripper": {
                "topic": "hand/commands",
                "joint": "finger",
                "closed": 0.0,
                "opened": 0.04,
                "width_of_joint": 2.0,
            },
            "fault": {
                "topic": "safety_mode",
                "type": "std_msgs/msg/UInt8",
                "field": "data",
                "values": {"3": "reflex", "5": "estop"},
            },
            "recover": [
                {"service": "unlock", "type": "std_srvs/srv/Trigger"},
                {"service": "power", "type": "std_srvs/srv/SetBool", "request": {"data": True}},
            ],
            **more,
        }
        path = tmp_path / f"{sink}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def wait(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"not within {timeout:g} s"
        time.sleep(0.002)


@pytest.fixture(name="wait")
def wait_fixture() -> Callable[..., None]:
    return wait


class Bench:
    """The two nodes as processes, and a policy that leads the arm on a slow sine, near where it is."""

    def __init__(self, arm, wait, robot) -> None:
        self.arm, self.wait, self.robot = arm, wait, robot
        self.spec = RobotSpec.load(robot)
        self.namespace = arm.node.get_namespace()
        self.processes: dict[str, subprocess.Popen] = {}
        self.clients: dict[str, Client] = {}
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
        patient = {"state_timeout": 1.0} if name == "hardware_node" else {}
        for key, value in {"robot": self.robot, **patient, **parameters}.items():
            command += ["-p", f"{key}:={value}"]
        self.processes[name] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.change(name, Transition.TRANSITION_CONFIGURE)

    def change(self, name: str, transition: int) -> bool:
        """Whether a lifecycle transition was done."""
        request = ChangeState.Request(transition=Transition(id=transition))
        try:
            return self.call(ChangeState, f"{name}/change_state", request).success
        except AssertionError:
            # An answer to a client that the node had not discovered yet is lost: where did the transition lead?
            state = self.call(GetState, f"{name}/get_state", GetState.Request()).current_state
            return state.id == (
                State.PRIMARY_STATE_INACTIVE
                if transition == Transition.TRANSITION_CONFIGURE
                else State.PRIMARY_STATE_ACTIVE
            )

    def activate(self, name: str) -> bool:
        """Whether a node was activated."""
        return self.change(name, Transition.TRANSITION_ACTIVATE)

    def call(self, kind: type, name: str, request: object) -> object:
        """Answer of a service."""
        if name not in self.clients:
            self.clients[name] = self.node.create_client(kind, name)
        client = self.clients[name]
        self.wait(client.service_is_ready, 60.0)
        future = client.call_async(request)
        self.wait(future.done, 30.0)
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
