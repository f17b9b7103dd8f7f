"""An SO-101 by rustypot, on a bus of servos that is played on a pseudo terminal."""

import time

import numpy as np
import pytest

from physai_ros.drivers.driver import CommandKind, DriverError
from physai_ros.drivers.feetech_bus import GOAL, SPEED, STEP, TORQUE
from physai_ros.robot.state import DriverFault, DriverMode, DriverState

POSITIONS = CommandKind.JOINT_POSITIONS
PATIENT = 5.0  # [s], as the driver is


@pytest.fixture
def bus(emulate):
    """Six servos, all at 2048 steps."""
    return emulate("feetech_bus.py")


@pytest.fixture
def arm(bus, drivers):
    """A driver that is connected to the bus; its second servo counts backwards, from another zero."""
    driver = drivers(
        "so101", port=bus.greeting, zeros=[2048, 2148, 2048, 2048, 2048], directions=[1, -1, 1, 1, 1], timeout=0.2
    )
    driver.connect()
    return driver


def go(driver, target: np.ndarray, gripper: float = 1.0, there: np.ndarray | None = None) -> DriverState:
    """Stream one target until the arm is `there`, where the target is if nothing else is said, to two steps."""
    there = target if there is None else there
    until = time.monotonic() + 20.0
    while True:
        assert driver.command(POSITIONS, target, gripper, PATIENT)
        state = driver.read()
        if np.abs(state.joint_positions - there).max() <= 2 * STEP:
            return state
        assert time.monotonic() < until, state


def fall_silent(driver) -> None:
    """The last command says that nothing may be expected after it."""
    assert driver.command(POSITIONS, driver.read().joint_positions, 1.0, 0.1)


def register(bus, servo: int, address: int, size: int = 2) -> int:
    return int(bus.ask(f"get {servo} {address} {size}"))


def test_units_and_signs(bus, arm, wait_for):
    state = arm.read()
    np.testing.assert_allclose(state.joint_positions, [0.0, 100 * STEP, 0.0, 0.0, 0.0], atol=1e-12)
    assert register(bus, 1, TORQUE, 1) == 0  # connecting switches nothing on
    arm.activate(POSITIONS)
    assert [register(bus, servo, TORQUE, 1) for servo in range(1, 7)] == [1] * 6
    assert register(bus, 1, SPEED) == round(arm.spec.velocity_limits[0] / STEP)
    assert register(bus, 1, GOAL) == 2048
    target = np.array([0.5, -0.4, 0.3, -0.2, 0.1])
    state = go(arm, target, gripper=-1.0)
    assert register(bus, 1, GOAL) == 2048 + round(0.5 / STEP)
    assert register(bus, 2, GOAL) == 2148 + round(0.4 / STEP)
    assert register(bus, 6, GOAL) == 1934
    assert (state.commanded_positions == target).all()
    wait_for(arm, lambda state: state.gripper_width < 0.02)


def test_a_moving_joint_has_the_sign_and_size_of_its_speed(arm):
    arm.activate(POSITIONS)
    target = np.array([1.5, -1.5, 0.0, 0.0, 0.0])
    assert arm.command(POSITIONS, target, 1.0, PATIENT)
    fastest, state = np.zeros(5), arm.read()
    while state.joint_positions[0] < 1.0:
        state = arm.read()
        assert arm.command(POSITIONS, target, 1.0, PATIENT)
        fastest = np.where(np.abs(state.joint_velocities) > np.abs(fastest), state.joint_velocities, fastest)
    limit = arm.spec.velocity_limits[0]
    np.testing.assert_allclose(fastest[:2], [limit, -limit], rtol=0.01)


def test_targets_beyond_the_limits_are_clipped_and_silence_rests(arm, wait_for):
    arm.activate(POSITIONS)
    far, upper = np.array([9.0, 0.0, 0.0, 0.0, 0.0]), arm.spec.position_upper[0]
    go(arm, far, there=np.array([upper, 0.0, 0.0, 0.0, 0.0]))
    fall_silent(arm)
    state = wait_for(arm, lambda state: state.mode == DriverMode.STOPPED)
    assert state.fault == DriverFault.NONE


def test_a_servo_that_drops_out_is_named(bus, arm, wait_for):
    arm.activate(POSITIONS)
    go(arm, arm.read().joint_positions)
    bus.ask("drop 3")
    state = wait_for(arm, lambda state: state.fault != DriverFault.NONE)
    assert state.fault == DriverFault.COMM and "servo 3 (elbow_flex)" in state.fault_text
    assert not arm.command(POSITIONS, np.zeros(5), 1.0, PATIENT)
    assert not arm.recover()
    bus.ask("heal 3")
    assert arm.recover()
    arm.activate(POSITIONS)
    go(arm, arm.read().joint_positions)


def test_a_status_byte_is_named_and_recovered_from(bus, arm, wait_for):
    arm.activate(POSITIONS)
    bus.ask("status 2 32")
    state = wait_for(arm, lambda state: state.fault != DriverFault.NONE)
    assert state.fault == DriverFault.REFLEX and state.fault_text == "servo 2 (shoulder_lift): overload"
    assert not arm.recover()
    bus.ask("status 2 0")
    assert arm.recover()
    assert arm.read().fault == DriverFault.NONE


def test_one_garbled_answer_is_asked_for_again_and_many_are_a_fault(bus, arm, wait_for):
    arm.activate(POSITIONS)
    bus.ask("garble 4 1")
    for _ in range(20):
        assert arm.read().fault == DriverFault.NONE
    bus.ask("garble 4 1000000")
    state = wait_for(arm, lambda state: state.fault != DriverFault.NONE)
    assert state.fault == DriverFault.COMM


def test_a_bus_without_power_is_a_lost_link_that_comes_back(bus, arm, wait_for):
    for servo in range(1, 7):
        bus.ask(f"drop {servo}")
    state = wait_for(arm, lambda state: state.fault != DriverFault.NONE)
    assert state.fault == DriverFault.LINK_LOST
    assert not arm.recover()
    for servo in range(1, 7):
        bus.ask(f"heal {servo}")
    assert arm.recover()
    assert arm.read().fault == DriverFault.NONE


def test_halt_takes_the_power_off_and_silence_does_not(bus, arm, wait_for):
    arm.activate(POSITIONS)
    go(arm, arm.read().joint_positions)
    fall_silent(arm)
    wait_for(arm, lambda state: state.mode == DriverMode.STOPPED)
    assert register(bus, 1, TORQUE, 1) == 1
    assert arm.halt(2.0)
    until = time.monotonic() + 2.0
    while any(register(bus, servo, TORQUE, 1) for servo in range(1, 7)):
        assert time.monotonic() < until


def test_another_servo_or_none_is_refused(bus, drivers):
    bus.ask("put 5 3 2 1029")
    with pytest.raises(DriverError, match=r"servo 5 \(wrist_roll\) is of model 1029; expected an STS3215"):
        drivers("so101", port=bus.greeting, timeout=0.2).connect()
    bus.ask("drop 1")
    with pytest.raises(DriverError, match=r"no answer from servo 1 \(shoulder_pan\)"):
        drivers("so101", port=bus.greeting, timeout=0.2).connect()
    with pytest.raises(DriverError, match="cannot open /dev/nowhere"):
        drivers("so101", port="/dev/nowhere").connect()
