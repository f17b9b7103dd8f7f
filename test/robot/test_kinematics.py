"""Kinematics: laws of the arm's geometry, and agreement with MuJoCo on the same URDF."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physai_ros.robot.cartesian_reference import CartesianReference
from physai_ros.robot.kinematics import Kinematics, ToolPose
from physai_ros.robot.rotation import quaternion_wxyz, rotation_from_vector, rotation_matrix, vector_from_rotation
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.model import build_model

SPEC = RobotSpec.load("fr3_sim")
KINEMATICS = Kinematics(SPEC)
MODEL = build_model(SPEC, ())
DATA = mujoco.MjData(MODEL)
SHARES = hnp.arrays(float, 7, elements=st.floats(0.0, 1.0))
VECTORS = hnp.arrays(float, 3, elements=st.floats(-1.5, 1.5))


def joints(shares: np.ndarray) -> np.ndarray:
    return SPEC.position_lower + shares * (SPEC.position_upper - SPEC.position_lower)


@given(SHARES)
def test_pinocchio_and_mujoco_put_the_tool_in_one_place(shares):
    positions = joints(shares)
    for name, position in zip(SPEC.joint_names, positions, strict=True):
        DATA.joint(name).qpos[0] = position
    mujoco.mj_kinematics(MODEL, DATA)
    pose = KINEMATICS.tool_pose(positions)
    tool = DATA.body(SPEC.tool_frame)
    np.testing.assert_allclose(tool.xpos, pose.position, atol=1e-6)
    np.testing.assert_allclose(tool.xmat.reshape(3, 3), pose.rotation, atol=1e-6)


def test_joint_limits_are_the_same_everywhere():
    for index, name in enumerate(SPEC.joint_names):
        joint = MODEL.joint(name)
        np.testing.assert_allclose(joint.range, [SPEC.position_lower[index], SPEC.position_upper[index]])
        np.testing.assert_allclose(
            MODEL.actuator(name).forcerange, [-SPEC.effort_limits[index], SPEC.effort_limits[index]]
        )


@given(SHARES, st.integers(0, 6))
def test_jacobian_is_the_derivative_of_the_pose(shares, joint):
    positions, step = joints(shares), 1e-6
    ahead, behind = positions.copy(), positions.copy()
    ahead[joint] += step
    behind[joint] -= step
    first, last = KINEMATICS.tool_pose(behind), KINEMATICS.tool_pose(ahead)
    linear = (last.position - first.position) / (2 * step)
    angular = vector_from_rotation(last.rotation @ first.rotation.T) / (2 * step)
    column = KINEMATICS.jacobian(positions)[:, joint]
    np.testing.assert_allclose(np.concatenate([linear, angular]), column, atol=1e-5)


@given(hnp.arrays(float, 3, elements=st.floats(-0.08, 0.08)))
def test_steps_towards_a_pose_get_there(offset):
    start = KINEMATICS.tool_pose(SPEC.home_positions)
    target = ToolPose(start.position + offset, start.rotation)
    positions = SPEC.home_positions
    for _ in range(60):
        positions = KINEMATICS.step_towards(positions, target)
        assert (positions >= SPEC.position_lower).all() and (positions <= SPEC.position_upper).all()
    assert np.linalg.norm(KINEMATICS.tool_pose(positions).position - target.position) < 1e-3


@given(VECTORS)
def test_rotations_go_there_and_back(vector):
    rotation = rotation_from_vector(vector)
    np.testing.assert_allclose(vector_from_rotation(rotation), vector, atol=1e-9)
    np.testing.assert_allclose(rotation_matrix(quaternion_wxyz(rotation)), rotation, atol=1e-9)


@settings(max_examples=20)
@given(hnp.arrays(float, 3, elements=st.floats(-0.02, 0.02)))
def test_cartesian_reference_plays_a_displacement_in_one_step(displacement):
    reference = CartesianReference(KINEMATICS, cycles_per_step=10)
    reference.reset(SPEC.home_positions)
    start = KINEMATICS.tool_pose(SPEC.home_positions).position
    reference.begin_step(np.concatenate([displacement, np.zeros(3)]))
    held = SPEC.home_positions
    for _ in range(18):  # a policy step, and the time to come to rest
        held = reference.advance(held)
    np.testing.assert_allclose(KINEMATICS.tool_pose(held).position, start + displacement, atol=1e-3)


def test_reference_does_not_run_away_from_a_held_arm():
    reference = CartesianReference(KINEMATICS, cycles_per_step=10, leash=0.05)
    reference.reset(SPEC.home_positions)
    start = KINEMATICS.tool_pose(SPEC.home_positions).position
    for _ in range(20):
        reference.begin_step(np.array([0.0, 0.0, -0.02, 0.0, 0.0, 0.0]))
        for _ in range(10):
            reference.advance(SPEC.home_positions)
    assert np.linalg.norm(reference.commanded_pose.position - start) == pytest.approx(0.05, abs=1e-6)


DISPLACEMENTS = hnp.arrays(float, (6, 6), elements=st.floats(-1.0, 1.0)).map(
    lambda shares: shares * np.array([0.025, 0.025, 0.025, 0.12, 0.12, 0.12])
)


@settings(max_examples=40, deadline=None)
@given(SHARES, DISPLACEMENTS)
def test_references_keep_the_limits_of_velocity_and_acceleration(shares, displacements):
    reference = CartesianReference(KINEMATICS, cycles_per_step=10)
    held = joints(0.1 + 0.8 * shares)
    reference.reset(held)
    path = [held, held]
    for displacement in displacements:
        reference.begin_step(displacement)
        for _ in range(10):
            path.append(reference.advance(path[-1]))
    velocities = np.diff(path, axis=0) / SPEC.control_period
    accelerations = np.diff(velocities, axis=0) / SPEC.control_period
    assert (np.abs(velocities) <= SPEC.velocity_limits * (1 + 1e-9)).all()
    assert (np.abs(accelerations) <= SPEC.acceleration_limits + 1e-6).all()


def test_a_reference_goes_on_from_what_was_permitted():
    reference = CartesianReference(KINEMATICS, cycles_per_step=10)
    held = SPEC.home_positions.copy()
    reference.reset(held)
    path = [held, held]
    for cycle in range(60):
        if cycle % 10 == 0:
            reference.begin_step(np.array([0.02, 0.01, 0.0, 0.0, 0.0, 0.1]))
        proposed = reference.advance(path[-1])
        step = proposed - path[-1]
        path.append(path[-1] + 0.5 * step if 20 <= cycle < 30 else proposed)
    velocities = np.diff(path, axis=0) / SPEC.control_period
    after = np.diff(velocities[31:], axis=0) / SPEC.control_period
    assert (np.abs(after) <= SPEC.acceleration_limits + 1e-6).all()
