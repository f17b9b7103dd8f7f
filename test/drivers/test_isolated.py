"""A driver whose client lives in another process: stops on silence, names faults, and never waits for who hangs."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physai_ros.drivers import child, isolated
from physai_ros.drivers.driver import CommandKind, Driver, DriverCapabilities, DriverError
from physai_ros.drivers.isolated import IsolatedDriver
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode

VELOCITIES = CommandKind.JOINT_VELOCITIES
MOVING = np.full(7, 0.3)
TIMEOUT = 1.0  # [s] of silence: long, for a busy machine is silent too


@pytest.fixture
def make(monkeypatch):
    """Call it with what the toy robot is to do; every driver is closed in the end."""
    monkeypatch.setattr(isolated, "_LOST", 10.0)  # the same
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    made = []

    def build(**connection: object) -> IsolatedDriver:
        spec = replace(RobotSpec.load("fr3_sim"), connection=connection)
        capabilities = DriverCapabilities((VELOCITIES, CommandKind.JOINT_POSITIONS), 100.0, TIMEOUT)
        made.append(IsolatedDriver(spec, "toy_link:ToyLink", capabilities, spec.velocity_limits))
        return made[-1]

    yield build
    for driver in made:
        driver.close()


def drive(driver: IsolatedDriver, seconds: float, vector: np.ndarray = MOVING) -> None:
    """Command once a cycle until `seconds` are over; every command must be taken."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        driver.read()
        assert driver.command(VELOCITIES, vector, 1.0, TIMEOUT)


def wait_for(driver: IsolatedDriver, condition, timeout: float = 5.0):
    """First state for which `condition` holds."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        state = driver.read()
        if condition(state):
            return state
    raise AssertionError(f"never came; the last state was {state}")


def test_is_a_driver_that_moves_and_comes_to_rest(make):
    driver = make()
    assert isinstance(driver, Driver)
    driver.connect()
    assert driver.read().mode == DriverMode.IDLE
    assert not driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT)
    driver.activate(VELOCITIES)
    first = driver.read()
    assert first.mode == DriverMode.ACTIVE and first.commands_refused == 1
    drive(driver, 0.3)
    moving = driver.read()
    assert moving.joint_positions[0] > first.joint_positions[0]
    assert moving.sequence > first.sequence and moving.stamp > first.stamp and driver.robot_time > 0
    assert driver.halt(2.0)
    rested = driver.read()
    assert rested.mode == DriverMode.STOPPED and rested.fault == DriverFault.NONE
    assert np.abs(rested.joint_velocities).max() < 0.02
    assert (rested.commanded_positions == rested.joint_positions).all()
    assert not driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT)
    driver.activate(VELOCITIES)
    drive(driver, 0.05)
    driver.close()
    driver.close()
    assert driver.read().fault == DriverFault.LINK_LOST


def test_who_has_not_listened_for_long_hears_the_newest(make, monkeypatch):
    driver = make()
    driver.connect()
    monkeypatch.setattr(isolated, "_LOST", 1.0)
    driver.read()
    time.sleep(2.5)  # reports fill the socket, then are dropped
    state = wait_for(driver, lambda state: time.time() - state.stamp < 0.5)
    assert state.fault == DriverFault.NONE


def test_silence_brings_it_to_rest_until_it_is_activated_again(make):
    driver = make()
    driver.connect()
    driver.activate(VELOCITIES)
    drive(driver, 0.2)
    last = time.monotonic()
    wait_for(driver, lambda state: state.mode == DriverMode.STOPPING)
    stopped = wait_for(driver, lambda state: state.mode == DriverMode.STOPPED)
    assert time.monotonic() - last > 0.9 * TIMEOUT
    assert stopped.fault == DriverFault.NONE and np.abs(stopped.joint_velocities).max() < 0.02
    assert not driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT)


@pytest.mark.parametrize(
    ("vector", "gripper", "valid_for"),
    [
        (np.full(7, np.nan), 1.0, 0.1),
        (np.full(7, np.inf), 1.0, TIMEOUT),
        (np.zeros(6), 1.0, TIMEOUT),
        (np.zeros((7, 1)), 1.0, TIMEOUT),
        (MOVING, np.nan, 0.1),
        (MOVING, 1.5, 0.1),
        (MOVING, 1.0, 0.0),
        (MOVING, 1.0, 1.1 * TIMEOUT),
        (MOVING, 1.0, np.nan),
    ],
)
def test_refuses_what_is_no_command(make, vector, gripper, valid_for):
    driver = make()
    driver.connect()
    driver.activate(VELOCITIES)
    assert not driver.command(VELOCITIES, vector, gripper, valid_for)
    assert not driver.command(CommandKind.JOINT_POSITIONS, MOVING, 1.0, TIMEOUT)
    assert driver.command(VELOCITIES, np.zeros(7), 1.0, TIMEOUT)
    state = driver.read()
    assert state.commands_refused == 2 and state.command_sequence == 1


def test_absolute_targets_are_reported_while_they_are_tracked(make):
    driver = make()
    driver.connect()
    driver.activate(CommandKind.JOINT_POSITIONS)
    target = np.linspace(0.1, 0.7, 7)
    assert driver.command(CommandKind.JOINT_POSITIONS, target, -0.5, TIMEOUT)
    state = driver.read()
    assert (state.commanded_positions == target).all() and state.gripper_command == -0.5


def test_a_fault_stops_it_stays_and_is_recovered_from(make):
    driver = make(reflex_above=0.5)
    driver.connect()
    driver.activate(VELOCITIES)
    drive(driver, 0.1)
    driver.command(VELOCITIES, 2 * MOVING, 1.0, TIMEOUT)
    state = wait_for(driver, lambda state: state.fault != DriverFault.NONE)
    assert (state.fault, state.fault_text) == (DriverFault.REFLEX, "pushed")
    state = wait_for(driver, lambda state: state.mode == DriverMode.STOPPED)
    assert state.fault == DriverFault.REFLEX
    with pytest.raises(DriverError, match="pushed; recover first"):
        driver.activate(VELOCITIES)
    assert driver.recover()
    state = driver.read()
    assert (state.mode, state.fault) == (DriverMode.STOPPED, DriverFault.NONE)
    driver.activate(VELOCITIES)
    drive(driver, 0.05)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_client_that_dies_or_hangs_is_a_lost_link_that_can_be_opened_again(make, how, monkeypatch):
    driver = make()
    driver.connect()
    monkeypatch.setattr(isolated, "_LOST", 1.0)
    driver.activate(VELOCITIES)
    drive(driver, 0.1)
    process = driver._child._process.pid
    os.kill(process, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    began = time.monotonic()
    while (state := driver.read()).fault == DriverFault.NONE:
        driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT)
    assert time.monotonic() - began < 2.0
    monkeypatch.setattr(isolated, "_LOST", 10.0)
    assert (state.fault, state.mode) == (DriverFault.LINK_LOST, DriverMode.STOPPED) and state.fault_text
    assert not driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT) and not driver.halt(0.2)
    assert driver.recover()
    assert driver.read().fault == DriverFault.NONE
    driver.activate(VELOCITIES)
    drive(driver, 0.05)


@pytest.mark.parametrize("call", ["connect", "activate", "recover"])
def test_nobody_waits_for_ever(make, call, monkeypatch):
    monkeypatch.setattr(isolated, "_CONNECT", 0.3)
    monkeypatch.setattr(isolated, "_ACTIVATE", 0.3)
    driver = make(hang=call)
    if call == "connect":
        with pytest.raises(DriverError, match="'connect' did not return within 0.3 s"):
            driver.connect()
        return
    monkeypatch.setattr(isolated, "_CONNECT", 15.0)
    driver.connect()
    monkeypatch.setattr(isolated, "_CONNECT", 0.3)
    if call == "activate":
        with pytest.raises(DriverError, match="'activate' did not return"):
            driver.activate(VELOCITIES)
    else:
        assert not driver.recover()
    assert driver.read().fault == DriverFault.LINK_LOST


def test_a_client_that_refuses_or_ends_says_why(make):
    driver = make(refuse="connect")
    with pytest.raises(DriverError, match="robot 'fr3_sim': no connect today"):
        driver.connect()
    driver = make(crash="connect")
    with pytest.raises(DriverError, match="process has ended at 'connect'"):
        driver.connect()
    driver = make(refuse="send")
    driver.connect()
    driver.activate(VELOCITIES)
    driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT)
    state = wait_for(driver, lambda state: state.fault != DriverFault.NONE)
    assert (state.fault, state.fault_text) == (DriverFault.REJECTED, "no send today")


def test_before_it_is_connected_everything_says_so(make):
    driver = make()
    for call in (driver.read, lambda: driver.activate(VELOCITIES)):
        with pytest.raises(DriverError, match="connect first"):
            call()
    assert not driver.command(VELOCITIES, MOVING, 1.0, TIMEOUT) and not driver.halt(0.1)
    with pytest.raises(DriverError, match="does not take tool_twist; it takes: joint_velocities, joint_positions"):
        driver.activate(CommandKind.TOOL_TWIST)


def test_an_interpreter_that_is_not_there_is_named(make, monkeypatch):
    driver = make()
    driver._python = "/nowhere/python"
    with pytest.raises(DriverError, match="cannot start /nowhere/python"):
        driver.connect()
    assert child._START > 1.0
