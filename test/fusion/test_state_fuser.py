"""Laws of the fusion: order and extras do not matter, what is broken is named and keeps its last good value."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import rotation_matrix
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, ObjectStates

SPEC = RobotSpec.load("fr3_sim")
KINEMATICS = Kinematics(SPEC)
SEEDS = st.integers(0, 2**32 - 1)


def driver_state(seed: int = 0, sequence: int = 1, **changes: object) -> DriverState:
    generator = np.random.default_rng(seed)
    draw = lambda: generator.uniform(-0.2, 0.2, 7)  # noqa: E731
    home = SPEC.home_positions
    state = DriverState(sequence / 100, sequence, SPEC.joint_names, home + draw(), draw(), draw(), home + draw())
    return replace(
        state,
        **{"wrench": generator.normal(size=6), "wrench_valid": True, "contact_forces": generator.uniform(size=2)}
        | changes,
    )


def objects(sequence: int = 1, **changes: object) -> ObjectStates:
    poses = ObjectStates(sequence / 100, sequence, ("cube",), np.array([[0.4, 0.1, 0.02]]), np.array([[1.0, 0, 0, 0]]))
    return replace(poses, **changes)


def fuser() -> StateFuser:
    return StateFuser(SPEC, KINEMATICS, ("cube",))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.permutations(range(8)))
def test_the_order_of_joints_and_further_joints_in_a_message_do_not_matter(seed: int, order: list[int]) -> None:
    state = driver_state(seed)
    names = (*state.joint_names, "gripper_finger")
    columns = {"joint_names": tuple(names[i] for i in order)}
    for name in ("joint_positions", "joint_velocities", "joint_torques", "commanded_positions"):
        columns[name] = np.append(getattr(state, name), 0.01)[list(order)]
    straight = fuser().fuse(state, objects(), state.stamp)
    shuffled = fuser().fuse(replace(state, **columns), objects(), state.stamp)
    for name in ("joint_positions", "joint_velocities", "joint_torques", "commanded_positions", "ee_position"):
        assert np.array_equal(getattr(straight, name), getattr(shuffled, name))
    assert straight.modalities == shuffled.modalities


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_pose_and_velocity_of_the_tool_are_those_of_the_joints(seed: int) -> None:
    state = driver_state(seed)
    fused = fuser().fuse(state, objects(), state.stamp)
    pose = KINEMATICS.tool_pose(state.joint_positions)
    assert np.array_equal(fused.ee_position, pose.position)
    assert np.allclose(rotation_matrix(fused.ee_orientation), pose.rotation)
    step = 1e-6
    moved = KINEMATICS.tool_pose(state.joint_positions + step * state.joint_velocities)
    assert np.allclose(fused.ee_velocity[:3], (moved.position - pose.position) / step, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_asking_twice_gives_the_same_state(seed: int) -> None:
    machine, state = fuser(), driver_state(seed)
    first, second = (machine.fuse(state, objects(), state.stamp) for _ in range(2))
    assert np.array_equal(first.joint_positions, second.joint_positions)
    assert np.array_equal(first.object_poses["cube"], second.object_poses["cube"])
    assert first.modalities == second.modalities


BROKEN = [
    ("joints", {"joint_positions": np.full(7, np.nan)}, {}, "position of fr3_joint1 is not finite"),
    ("joints", {"joint_velocities": np.r_[np.zeros(6), np.inf]}, {}, "velocity of fr3_joint7 is not finite"),
    ("joints", {"joint_names": SPEC.joint_names[:6] + ("other",)}, {}, "joints missing: fr3_joint7"),
    ("joints", {"joint_positions": np.zeros(3)}, {}, "7 joint names with"),
    ("joints", {"stamp": -1.0}, {}, "old; at most 0.05 s"),
    ("joints", {"stamp": 9.0}, {}, "ahead; check the clocks"),
    ("wrench", {"wrench_valid": False}, {}, "the driver has no valid wrench"),
    ("wrench", {"wrench": np.full(6, np.nan)}, {}, "not six finite numbers"),
    ("contacts", {"contact_forces": np.zeros(0)}, {}, "not sensed"),
    ("contacts", {"contact_forces": np.array([1.0, np.nan])}, {}, "not finite"),
    ("gripper", {"gripper_width": np.nan}, {}, "not finite"),
    ("objects", {}, {"positions": np.full((1, 3), np.nan)}, "pose of cube"),
    ("objects", {}, {"quaternions_wxyz": np.zeros((1, 4))}, "pose of cube"),
    ("objects", {}, {"names": ("ball",)}, "not seen: cube"),
    ("objects", {}, {"names": ("cube", "ball")}, "2 names with 1 poses"),
    ("objects", {}, {"stamp": -1.0}, "old; at most 0.25 s"),
]


@pytest.mark.parametrize(("modality", "driver_change", "object_change", "reason"), BROKEN)
def test_what_is_broken_is_named_and_keeps_its_last_good_value(modality, driver_change, object_change, reason) -> None:
    machine = fuser()
    good = machine.fuse(driver_state(1, 1), objects(1), 0.01)
    assert all(each.valid for each in good.modalities)
    broken = machine.fuse(driver_state(1, 2, **driver_change), objects(2, **object_change), 0.02)
    judged = broken.modality(modality)
    assert not judged.valid
    assert reason in judged.reason
    for name in ("joint_positions", "joint_velocities", "wrench", "contact_forces"):
        assert np.array_equal(getattr(broken, name), getattr(good, name))
    assert np.array_equal(broken.object_poses["cube"], good.object_poses["cube"])
    assert broken.gripper_width == good.gripper_width
    after = machine.fuse(driver_state(1, 3), objects(3), 0.03)
    assert after.modality(modality).valid


def test_a_clock_that_jumps_back_costs_one_sample() -> None:
    machine = fuser()
    machine.fuse(driver_state(1, 1, stamp=5.0), None, 5.0)
    jumped = machine.fuse(driver_state(1, 2), None, 0.01)
    assert "stamp went back by" in jumped.modality("joints").reason
    assert machine.fuse(driver_state(1, 3), None, 0.02).modality("joints").valid


def test_before_anything_was_seen_values_are_nan_and_missing_objects_are_named() -> None:
    state = fuser().fuse(driver_state(joint_positions=np.full(7, np.nan)), None, 0.01)
    assert np.isnan(state.joint_positions).all()
    assert np.isnan(state.ee_position).all()
    assert np.isnan(state.object_poses["cube"]).all()
    assert state.modality("objects").reason == "none reported of: cube"
    assert "fused are: joints, wrench" in state.modality("camera/wrist").reason


def test_a_task_without_objects_needs_none() -> None:
    assert StateFuser(SPEC, KINEMATICS).fuse(driver_state(), None, 0.01).modality("objects").valid


def test_a_driver_that_starts_again_is_a_new_one() -> None:
    machine = fuser()
    machine.fuse(driver_state(1, 500), objects(500), 5.0)
    state = machine.fuse(driver_state(1, 1, joint_positions=np.full(7, np.nan)), None, 0.01)
    assert np.isnan(state.joint_positions).all()


def test_degrees_millimetres_and_what_is_out_of_range_are_named_as_such():
    made = fuser()
    degrees = driver_state(joint_positions=np.degrees(SPEC.home_positions))
    joints = made.fuse(degrees, objects(), degrees.stamp).modality("joints")
    assert not joints.valid
    assert joints.reason.startswith("units:")
    beyond = SPEC.home_positions.copy()
    beyond[0] = 900.0
    wild = driver_state(sequence=2, joint_positions=beyond)
    assert made.fuse(wild, objects(2), wild.stamp).modality("joints").reason.startswith("range:")
    state = driver_state(sequence=3)
    far = objects(3, positions=np.array([[400.0, 100.0, 20.0]]))
    assert made.fuse(state, far, state.stamp).modality("objects").reason.startswith("units:")


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 6), st.sampled_from([-1.0, 1.0]))
def test_a_sensor_that_jumps_is_named_once_and_then_lived_with(seed: int, joint: int, sign: float) -> None:
    made, state = fuser(), driver_state(seed)
    made.fuse(state, objects(), state.stamp)
    jumped = state.joint_positions.copy()
    jumped[joint] += sign * 0.4
    after = [replace(state, stamp=(1 + i) / 100, sequence=1 + i, joint_positions=jumped) for i in (1, 2)]
    first, second = (made.fuse(each, objects(each.sequence), each.stamp) for each in after)
    assert first.modality("joints").reason.startswith("jump:")
    np.testing.assert_array_equal(first.joint_positions, state.joint_positions)
    assert second.modality("joints").valid
    # Where the set-point moves along, somebody has put the arm there.
    moved = replace(
        state, stamp=0.04, sequence=4, joint_positions=jumped - 1e-3, commanded_positions=state.commanded_positions
    )
    reset = replace(moved, stamp=0.05, sequence=5, joint_positions=state.joint_positions)
    reset.commanded_positions = state.commanded_positions + (state.joint_positions - moved.joint_positions)
    assert made.fuse(moved, objects(4), moved.stamp).modality("joints").valid
    assert made.fuse(reset, objects(5), reset.stamp).modality("joints").valid
