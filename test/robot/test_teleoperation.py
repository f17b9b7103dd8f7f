"""A person at the sticks: takes over where the command stands, hands back, and is not believed when silent."""

from dataclasses import replace

import numpy as np
import pytest

from physai_ros.robot.keyboard import HELD as KEY_HELD
from physai_ros.robot.keyboard import KeyboardJoy
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.robot.teleoperation import SILENT, JoyMapping, Teleoperator
from physai_ros.safety.limits import SafetyLimits

AXES, HELD = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0, 1]


@pytest.fixture(scope="module")
def kinematics():
    return Kinematics(RobotSpec.load("fr3_sim"))


def state_of(kinematics, sequence, positions):
    pose, zeros = kinematics.tool_pose(positions), np.zeros(7)
    return RobotState(
        stamp=sequence / 100,
        sequence=sequence,
        joint_names=kinematics.spec.joint_names,
        joint_positions=positions,
        joint_velocities=zeros,
        joint_torques=zeros,
        commanded_positions=positions,
        ee_position=pose.position,
        ee_orientation=np.array([1.0, 0, 0, 0]),
        ee_velocity=np.zeros(6),
        wrench=np.zeros(6),
        contact_forces=np.zeros(2),
        gripper_width=0.08,
        gripper_force=0.0,
        gripper_command=1.0,
        object_poses={},
    )


def test_the_tool_goes_where_the_stick_points_and_never_jumps(kinematics):
    spec, person = kinematics.spec, Teleoperator(kinematics, JoyMapping(), "anna")
    positions = spec.home_positions.copy()
    start, path = kinematics.tool_pose(positions).position, [positions]
    limits = SafetyLimits.from_spec(spec)
    for cycle in range(100):
        person.hear(AXES, HELD, cycle / 100)
        intervention = person.drive(state_of(kinematics, cycle, positions), cycle / 100, "e")
        assert intervention.enable and intervention.operator_name == "anna"
        assert intervention.action.episode_id == "e" and intervention.action.gripper_command == 1.0
        positions = intervention.action.reference_positions
        path.append(positions)
    moved = kinematics.tool_pose(positions).position - start
    assert moved[0] > 0.1 and np.abs(moved[1:]).max() < 0.01
    velocities = np.diff(np.array([path[0], *path]), axis=0) * 100
    assert (np.abs(velocities) <= limits.velocity + 1e-6).all()
    assert (np.abs(np.diff(velocities, axis=0)) * 100 <= spec.acceleration_limits + 1e-6).all()


def test_what_is_let_go_or_falls_silent_is_handed_back_once(kinematics):
    person = Teleoperator(kinematics, JoyMapping())
    state = state_of(kinematics, 1, kinematics.spec.home_positions)
    assert person.drive(state, 0.0) is None
    person.hear(AXES, HELD, 0.0)
    assert person.drive(state, 0.0).enable
    person.hear(AXES, [0] * 5, 0.01)
    released = person.drive(replace(state, sequence=2), 0.01)
    assert not released.enable
    np.testing.assert_array_equal(released.action.reference_positions, state.commanded_positions)
    assert person.drive(state, 0.02) is None
    person.hear(AXES, HELD, 1.0)
    assert person.drive(state, 1.0).enable
    assert not person.drive(state, 1.0 + SILENT + 0.01).enable


def test_the_gripper_goes_where_its_buttons_say_and_else_stays(kinematics):
    person = Teleoperator(kinematics, JoyMapping())
    state = state_of(kinematics, 1, kinematics.spec.home_positions)
    person.hear(AXES, HELD, 0.0)
    assert person.drive(state, 0.0).action.gripper_command == 1.0
    person.hear(AXES, [1, 0, 0, 0, 1], 0.01)
    assert person.drive(state, 0.01).action.gripper_command == -1.0
    person.hear(AXES, HELD, 0.02)
    assert person.drive(state, 0.02).action.gripper_command == -1.0


def test_a_mapping_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="expected six numbers"):
        JoyMapping(axes=(1, 2))


def test_keys_are_sticks_for_as_long_as_they_come(kinematics):
    keyboard, person = KeyboardJoy(), Teleoperator(kinematics, JoyMapping())
    assert not keyboard.press("x", 0.0)
    assert keyboard.state(0.0) == ([0.0] * 6, [0] * 5)
    keyboard.press("w", 0.0)
    keyboard.press("c", 0.1)
    assert keyboard.state(0.2) == ([0.0, 0.5, 0.0, 0.0, 0.0, 0.0], [1, 0, 0, 0, 1])
    keyboard.press("s", 0.3)
    assert keyboard.state(0.3)[0][1] == -0.5
    keyboard.press(" ", 0.4)
    axes, buttons = keyboard.state(0.4)
    assert axes == [0.0] * 6 and buttons[4] == 1
    person.hear(axes, buttons, 0.4)
    assert person.drive(state_of(kinematics, 1, kinematics.spec.home_positions), 0.4).enable
    assert keyboard.state(0.4 + KEY_HELD + 0.01) == ([0.0] * 6, [0] * 5)
