"""The observation: a function of three states, of one shape whatever is unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.observation import ObservationEncoder
from physai_ros.robot.kinematics import ToolPose
from physai_ros.robot.rotation import rotation_from_vector

AXES, SCALE = (0, 1, 2, 5), (0.025, 0.025, 0.025, 0.12)
GOAL = np.array([0.5, -0.1, 0.02])


@pytest.fixture
def encoder(kinematics, features) -> ObservationEncoder:
    return ObservationEncoder(kinematics, features, AXES, SCALE)


def test_it_is_a_function_of_the_last_three_steps(encoder, make_state, spec):
    generator = np.random.default_rng(0)
    states = [make_state(10 * i, spec.home_positions + 0.02 * generator.normal(size=7)) for i in range(6)]
    for state in states:
        long = encoder.encode(state, GOAL)
    encoder.reset()
    for state in states[3:]:
        short = encoder.encode(state, GOAL)
    np.testing.assert_array_equal(long, short)


@settings(max_examples=30, deadline=None)
@given(
    field=st.sampled_from(
        ["ee_position", "ee_orientation", "ee_velocity", "wrench", "contact_forces", "gripper_width"]
    ),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_what_is_not_finite_changes_a_mask_and_never_the_shape(kinematics, features, make_state, field, value):
    encoder = ObservationEncoder(kinematics, features, AXES, SCALE)
    good = encoder.encode(make_state(), GOAL)
    encoder.reset()
    bad_value = value if field == "gripper_width" else np.full_like(getattr(make_state(), field), value)
    bad = encoder.encode(make_state(**{field: bad_value}), GOAL)
    assert bad.shape == good.shape
    assert np.isfinite(bad).all()
    assert good[-5:].min() == 1.0
    assert bad[-5:].min() == 0.0


def test_the_last_action_is_what_moved_the_set_point(encoder, make_state, kinematics, spec):
    """Encode after a displacement by `action * scale` shows that action."""
    q = spec.home_positions.copy()
    encoder.encode(make_state(0, q), GOAL)
    action = np.array([0.5, -0.4, 0.3, 0.6])
    pose = kinematics.tool_pose(q)
    turn = rotation_from_vector(np.array([0, 0, action[3] * SCALE[3]]))
    target = ToolPose(pose.position + action[:3] * np.array(SCALE[:3]), turn @ pose.rotation)
    for _ in range(200):
        q = kinematics.step_towards(q, target)
    vector = encoder.encode(make_state(10, q), GOAL)
    # Seventeen numbers of the pose and two of the gripper come first.
    np.testing.assert_allclose(vector[19:23], action, atol=0.02)


def test_without_pads_there_is_still_an_observation(encoder, make_state):
    assert (
        encoder.encode(make_state(contact_forces=np.zeros(0)), GOAL).shape == encoder.encode(make_state(), GOAL).shape
    )
