"""The driver against controllers that hold their last command for ever."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray

from physai_ros.drivers.conversion import FEEDBACK
from physai_ros.drivers.driver import CommandKind, Driver, DriverError
from physai_ros.robot.command import StopTrajectory
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault
from physai_ros.ros.ros2_control.connection import Connection
from physai_ros.ros.ros2_control.driver import Ros2ControlDriver
from physai_ros.ros.ros2_control.sinks import TrajectorySink

KINDS = {
    "velocity": CommandKind.JOINT_VELOCITIES,
    "position": CommandKind.JOINT_POSITIONS,
    "trajectory": CommandKind.JOINT_POSITIONS,
    "twist": CommandKind.TOOL_TWIST,
}


@pytest.fixture
def driver_of(arm, configuration):
    made = []

    def make(sink: str, **more: object) -> Ros2ControlDriver:
        driver = Ros2ControlDriver(RobotSpec.load(configuration(sink, **more)), arm.node)
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()
        driver.close()


def moving_vector(spec: RobotSpec, sink: str) -> np.ndarray:
    if sink == "velocity":
        return np.linspace(0.1, 0.4, 7)
    if sink == "twist":
        return np.array([0.05, 0.0, 0.02, 0.0, 0.1, 0.0])
    return spec.home_positions + np.linspace(0.02, 0.1, 7)


@pytest.mark.parametrize("sink", KINDS)
def test_a_command_arrives_as_it_is_and_is_taken_back_in_time(driver_of, arm, wait, sink):
    driver = driver_of(sink)
    assert isinstance(driver, Driver)
    kind = KINDS[sink]
    assert driver.capabilities.kinds == (kind,)
    assert np.isfinite(driver.capabilities.command_timeout) == (sink == "trajectory")
    driver.connect()
    state = driver.read()
    assert state.joint_names == driver._spec.joint_names
    assert state.joint_positions == pytest.approx(arm.positions)
    assert state.gripper_width == pytest.approx(0.04)
    wait(lambda: driver.read().wrench_valid)
    assert driver.read().wrench[2] == -3.0
    vector = moving_vector(driver._spec, sink)
    assert not driver.command(kind, vector, 0.0, 0.1), "not active yet"
    driver.activate(kind)
    time.sleep(0.1)
    assert (arm.positions == driver._spec.home_positions).all()
    for wrong in (np.full(len(vector), np.nan), vector[:-1]):
        assert not driver.command(kind, wrong, 0.0, 0.1)
    other = CommandKind.TOOL_TWIST if sink == "velocity" else CommandKind.JOINT_VELOCITIES
    assert not driver.command(other, np.zeros(6), 0.0, 0.1)
    arm.heard.clear()
    assert driver.command(kind, vector, -1.0, 0.1)
    wait(lambda: np.abs(arm.velocities).max() > 0.01)
    assert sent(arm.heard[0], sink) == pytest.approx(vector)
    # Nobody commands any more: the controller alone would go on for ever.
    wait(lambda: np.abs(arm.velocities).max() == 0.0, 2.0)
    wait(lambda: any(getattr(m, "data", [None])[0] == 0.0 for m in arm.heard))  # the gripper was told to close
    assert driver.halt(1.0)


def sent(message: object, sink: str) -> list[float]:
    if sink in ("velocity", "position"):
        return list(message.data)
    if sink == "trajectory":
        return list(message.points[0].positions)
    t = message.twist
    return [t.linear.x, t.linear.y, t.linear.z, t.angular.x, t.angular.y, t.angular.z]


@pytest.mark.parametrize("sink", KINDS)
def test_a_policy_from_the_simulator_drives_it_and_the_controller_is_told_what_was_permitted(
    driver_of, arm, wait, chain_of, sink
):
    driver = driver_of(sink, silence=5.0)
    spec = driver._spec
    chain = chain_of(driver, spec, sink_without_timeout="a test")
    chain.start()
    wait(lambda: arm.heard)
    arm.heard.clear()
    begun = len(chain.set_points)
    outcome = chain.reach(np.array([0.45, 0.05, 0.3]), 4.0)
    assert outcome.success, outcome
    set_points, measured = np.array(chain.set_points), np.array(chain.measured)
    before = np.concatenate([set_points[:1], set_points[:-1]])
    expected = set_points
    if sink in ("velocity", "twist"):
        expected = (set_points - before) / spec.control_period + FEEDBACK * (before - measured)
        expected = np.clip(expected, -spec.velocity_limits, spec.velocity_limits)
    if sink == "twist":
        kinematics = Kinematics(spec)
        expected = np.array([kinematics.jacobian(q) @ v for q, v in zip(measured, expected, strict=True)])
    told = np.array([sent(message, sink) for message in arm.heard if is_of_the_arm(message)])
    moving = told[np.abs(told).max(axis=1) > 0.0]  # zero is what the dead man says
    chain.check(moving, expected[begun - 1 :], tolerance=1e-9)


def is_of_the_arm(message: object) -> bool:
    """Whether a message is for the arm, and not for its gripper."""
    return not isinstance(message, Float64MultiArray) or len(message.data) == 7


def test_what_is_beyond_the_limits_is_clamped(driver_of, arm, wait):
    driver = driver_of("velocity")
    driver.connect()
    driver.activate(CommandKind.JOINT_VELOCITIES)
    wait(lambda: arm.heard)
    arm.heard.clear()
    assert driver.command(CommandKind.JOINT_VELOCITIES, np.full(7, 99.0), 0.0, 0.02)
    wait(lambda: any(len(m.data) == 7 for m in arm.heard))
    assert max(next(m.data for m in arm.heard if len(m.data) == 7)) == driver._spec.velocity_limits.max()


def test_a_fault_of_the_vendors_topic_and_its_recovery(driver_of, arm, wait):
    driver = driver_of("velocity")
    driver.connect()
    driver.activate(CommandKind.JOINT_VELOCITIES)
    arm.fault = 3
    wait(lambda: driver.read().fault == DriverFault.REFLEX)
    assert "safety_mode says data 3" in driver.read().fault_text
    assert not driver.command(CommandKind.JOINT_VELOCITIES, np.full(7, 0.1), 0.0, 0.1)
    assert driver.recover()
    assert arm.calls == ["unlock", "power True"]
    assert driver.read().fault == DriverFault.NONE
    arm.silent = True
    wait(lambda: driver.read().fault == DriverFault.LINK_LOST)
    arm.silent = False
    wait(lambda: driver.read().fault == DriverFault.NONE)


def test_what_is_missing_is_named(driver_of, arm, configuration, monkeypatch):
    monkeypatch.setattr("physai_ros.ros.ros2_control.driver._PATIENCE", 0.3)
    with pytest.raises(DriverError, match="joint_states lack ghost"):
        driver_of("velocity", joints={"fr3_joint1": "ghost"}).connect()
    driver = driver_of("velocity", controller="absent")
    driver.connect()
    with pytest.raises(DriverError, match="nobody takes commands on .*absent/commands"):
        driver.activate(CommandKind.JOINT_VELOCITIES)
    with pytest.raises(DriverError, match="joint_state_broadcaster"):
        driver_of("velocity", joint_states="nowhere").connect()
    with pytest.raises(DriverError, match="install the ROS package 'vendor_msgs'"):
        fault = {"topic": "t", "type": "vendor_msgs/msg/Mode", "field": "mode", "values": {"1": "reflex"}}
        driver_of("velocity", fault=fault).connect()
    with pytest.raises(DriverError, match="takes joint_velocities"):
        driver.activate(CommandKind.TOOL_TWIST)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sink": "torque"}, "expected one of position"),
        ({"sink": None}, "'sink' is missing"),
        ({"speed": 1}, "unknown key 'speed'"),
        ({"command_timeout": "long"}, "expected a number"),
        ({"gripper": {}}, "either action or topic"),
        ({"gripper": {"topic": "t", "closed": "shut"}}, "closed is 'shut'"),
        ({"fault": {"topic": "t", "type": "a/msg/B", "field": "f", "values": {"1": "bang"}}}, "rejected, reflex"),
        ({"recover": [{"type": "std_srvs/srv/Trigger"}]}, "'service' is missing"),
        ({"recover": {}}, "is no list"),
        ({"joints": {"elbow": "e"}}, "expected a mapping of fr3_joint1"),
    ],
)
def test_a_connection_that_cannot_be_used_says_why(change, words):
    spec = RobotSpec.load("fr3_sim")
    given = {"sink": "velocity", "controller": "forward_velocity_controller"}
    merged = {key: value for key, value in {**given, **change}.items() if value is not None}
    with pytest.raises(DriverError, match=words):
        Connection.of(replace(spec, connection=merged))


def test_topics_follow_from_the_controller():
    spec = RobotSpec.load("fr3_sim")
    for sink, topic in (("velocity", "c/commands"), ("trajectory", "c/joint_trajectory")):
        connection = Connection.of(replace(spec, connection={"sink": sink, "controller": "c"}))
        assert (connection.command_topic, connection.command_timeout) == (topic, float("inf"))


def test_a_trajectory_carries_the_verified_stop_to_its_end():
    sink = TrajectorySink(("a", "b"), 0.01)
    path = np.cumsum(np.full((60, 2), 0.001), axis=0)
    message = sink.message(np.zeros(2), StopTrajectory(0.01, path))
    times = [p.time_from_start.sec + p.time_from_start.nanosec / 1e9 for p in message.points]
    assert len(message.points) <= 26
    assert (np.diff(times) > 0).all()
    assert times[0] == pytest.approx(0.02) and times[-1] == pytest.approx(0.02 + 60 * 0.01)
    assert list(message.points[-1].positions) == pytest.approx(path[-1].tolist())
    # Every point lies where the stop is at its time.
    for seconds, point in zip(times[1:], message.points[1:], strict=True):
        index = round((seconds - 0.02) / 0.01) - 1
        assert list(point.positions) == pytest.approx(path[index].tolist())
    assert [list(p.positions) for p in sink.message(np.ones(2), None).points] == [[1.0, 1.0]]
