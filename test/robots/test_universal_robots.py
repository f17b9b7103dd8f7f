"""A Universal Robot by the vendor's client, ur_rtde, against an emulated controller."""

import json
import os
import signal
import time

import numpy as np
import pytest

from physai_ros.drivers.driver import CommandKind, DriverError
from physai_ros.robot.state import DriverFault, DriverMode

POSITIONS, VELOCITIES = CommandKind.JOINT_POSITIONS, CommandKind.JOINT_VELOCITIES
PATIENT = 5.0  # [s], as the driver is; its controller may be slow


@pytest.fixture
def arm(emulate, drivers):
    """A controller, and a driver that is connected to it."""
    controller = emulate("ur_controller.py")
    driver = drivers("ur5e", address="127.0.0.1")
    driver.connect()
    return controller, driver


def follow(cycles, driver, start: np.ndarray, count: int) -> list[float]:
    """Track a sinusoid of 0.2 rad at the control rate; returns the largest error of each measurement [rad]."""
    errors = []
    for cycle, state in enumerate(cycles(driver, count)):
        errors.append(float(np.abs(state.joint_positions - state.commanded_positions).max()))
        swing = 0.1 * (1.0 - np.cos(2.0 * np.pi * 0.5 * (cycle + 1) / 100))
        assert driver.command(POSITIONS, start + swing * np.array([1, 0, 0, 0, 1, 1]), 1.0, PATIENT), state
    return errors


def test_streams_positions_and_rests_on_silence(arm, wait_for, cycles):
    controller, driver = arm
    start = driver.read().joint_positions
    driver.activate(POSITIONS)
    errors = follow(cycles, driver, start, 200)
    assert max(errors) < 0.1
    counted = controller.report()["commands"]
    assert counted["servoj"] > 150, counted
    assert counted["input"] - counted["servoj"] > 100  # kicks of the watchdog are inputs without a command
    assert max(target[0] for target in json.loads(controller.ask("targets"))) == pytest.approx(start[0] + 0.2, abs=1e-2)
    assert driver.command(POSITIONS, start, 1.0, 0.1)
    stopped = wait_for(driver, lambda state: state.mode == DriverMode.STOPPED)
    assert stopped.fault == DriverFault.NONE and np.abs(stopped.joint_velocities).max() < 0.02
    assert controller.report()["commands"]["servo_stop"] == 1
    assert not driver.command(POSITIONS, start, 1.0, 0.1)


def test_streams_velocities(arm, wait_for, cycles):
    controller, driver = arm
    start = driver.read().joint_positions
    driver.activate(VELOCITIES)
    for state in cycles(driver, 100):
        assert driver.command(VELOCITIES, np.full(6, 0.2), 1.0, PATIENT), state
    assert driver.halt(3.0)
    moved = driver.read().joint_positions - start
    assert (moved > 0.1).all() and (moved < 0.4).all()
    assert controller.report()["commands"]["speedj"] > 50


def test_a_protective_stop_is_named_unlocked_and_left(arm, wait_for, cycles):
    controller, driver = arm
    start = driver.read().joint_positions
    driver.activate(POSITIONS)
    follow(cycles, driver, start, 30)
    assert controller.ask("protective_stop") == "done"
    state = wait_for(driver, lambda state: state.fault != DriverFault.NONE)
    assert state.fault == DriverFault.REFLEX and "protective stop" in state.fault_text
    state = wait_for(driver, lambda state: state.mode == DriverMode.STOPPED)
    rested = state.joint_positions
    assert not driver.command(POSITIONS, start, 1.0, 0.1)
    with pytest.raises(DriverError, match="protective stop"):
        driver.activate(POSITIONS)
    assert driver.recover()  # waits the five seconds that PolyScope wants
    state = driver.read()
    assert state.fault == DriverFault.NONE and state.mode == DriverMode.STOPPED
    assert np.abs(state.joint_positions - rested).max() < 1e-3
    assert controller.report()["watchdog"] == pytest.approx(1.0 / PATIENT)
    driver.activate(POSITIONS)
    assert max(follow(cycles, driver, state.joint_positions, 50)) < 0.1


def test_an_emergency_stop_needs_somebody_at_the_pendant(arm, wait_for):
    controller, driver = arm
    driver.activate(POSITIONS)
    controller.ask("emergency_stop")
    state = wait_for(driver, lambda state: state.fault != DriverFault.NONE)
    assert state.fault == DriverFault.ESTOP and "emergency stop" in state.fault_text
    assert not driver.recover()
    controller.ask("release")
    assert not driver.recover()
    controller.ask("power_on")
    assert driver.recover()
    driver.activate(POSITIONS)


def test_the_controller_ends_the_script_of_a_client_that_falls_silent(emulate, drivers, wait_for, cycles):
    controller = emulate("ur_controller.py")
    driver = drivers("ur5e", 0.5, address="127.0.0.1")
    driver.connect()
    start = driver.read().joint_positions
    driver.activate(VELOCITIES)
    for state in cycles(driver, 30):
        assert driver.command(VELOCITIES, np.full(6, 0.2), 1.0, 0.5), state
    process = driver._child._process.pid
    os.kill(process, signal.SIGSTOP)
    try:
        until = time.monotonic() + 5.0
        while controller.report()["program"]:
            assert time.monotonic() < until
        until = time.monotonic() + 5.0
        while max(map(abs, controller.report()["velocities"])) > 1e-3:
            assert time.monotonic() < until
        assert controller.report()["commands"]["watchdog_stop"] == 1
    finally:
        os.kill(process, signal.SIGCONT)
    assert (driver.read().joint_positions > start).all()
    state = wait_for(driver, lambda state: state.fault != DriverFault.NONE)
    assert state.fault in (DriverFault.COMM, DriverFault.LINK_LOST)
    assert driver.recover()
    driver.activate(POSITIONS)


def test_a_controller_that_dies_is_a_lost_link(arm, cycles):
    controller, driver = arm
    driver.activate(POSITIONS)
    follow(cycles, driver, driver.read().joint_positions, 30)
    controller.kill()
    began = time.monotonic()
    while (state := driver.read()).fault == DriverFault.NONE:
        assert time.monotonic() - began < 2.0
    assert state.fault == DriverFault.LINK_LOST and state.mode == DriverMode.STOPPED
    began = time.monotonic()
    assert not driver.recover()
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--model", "UR10"), "that of a UR10 .* for a UR5e"),
        (("--polyscope", "3.15.8"), "3.15.8.* for a UR5e"),
        (("--local",), "Remote Control"),
    ],
)
def test_another_robot_or_one_that_does_not_obey_is_refused(emulate, drivers, arguments, why):
    emulate("ur_controller.py", *arguments)
    with pytest.raises(DriverError, match=why):
        drivers("ur5e", address="127.0.0.1").connect()


def test_nobody_there_is_said_at_once(drivers):
    began = time.monotonic()
    with pytest.raises(DriverError, match="look at the controller and its network"):
        drivers("ur5e", address="127.0.0.1").connect()
    assert time.monotonic() - began < 20.0
