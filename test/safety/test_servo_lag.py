"""An arm that follows late cuts corners, and what it would touch there is not permitted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.set_point import SetPoint
from physai_ros.safety.servo_lag import ServoLag
from physai_ros.safety.stopping import StopVerifier, hold_trajectory

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.001, 1.0), st.integers(1, 300))
def test_it_is_a_lag_of_first_order(seed, time_constant, count):
    generator = np.random.default_rng(seed)
    set_points, measured = generator.normal(size=(count, 7)), generator.normal(size=7)
    kept = np.exp(-0.01 / time_constant)
    expected, _ = lfilter([1.0 - kept], [1.0, -kept], set_points, axis=0, zi=kept * measured[np.newaxis])
    path = ServoLag(time_constant, 0.01).path(set_points, measured)
    np.testing.assert_allclose(path, expected, atol=1e-12)
    everywhere = np.concatenate([set_points, measured[np.newaxis]])
    assert (path <= everywhere.max(axis=0) + 1e-12).all()
    assert (path >= everywhere.min(axis=0) - 1e-12).all()


def test_an_arm_that_is_never_late_is_where_its_set_point_is():
    set_points = np.random.default_rng(0).normal(size=(80, 7))
    np.testing.assert_array_equal(ServoLag(0.0, 0.01).path(set_points, np.zeros(7)), set_points)


def clear_between(verifier, one, other):
    """Whether the straight way of the joints from one posture to the other keeps clear."""
    return all(min(verifier.clearance(one + share * (other - one))) > 0.0 for share in np.linspace(0.0, 1.0, 41))


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_whoever_comes_to_rest_on_a_clear_way_may(spec, kinematics, limits, seed):
    generator, verifier = np.random.default_rng(seed), StopVerifier(limits, kinematics)
    span = limits.position_upper - limits.position_lower
    measured = limits.position_lower + span * generator.uniform(0.1, 0.9, 7)
    rest = measured + generator.normal(0.0, 0.15, 7)
    if clear_between(verifier, measured, rest):
        stop = hold_trajectory(rest, spec.control_period)
        assert not verifier.problem(stop, SetPoint.at_rest(rest), measured=measured)


def test_whoever_would_touch_the_table_on_the_way_may_not_though_it_ends_above(spec, kinematics, limits):
    generator, verifier = np.random.default_rng(3), StopVerifier(limits, kinematics)
    seen = 0
    while seen < 20:
        low = _tool_at(kinematics, spec.home_positions + generator.normal(0.0, 0.1, 7), 0.008)
        turn = generator.normal(0.0, 0.3, 7)
        down = kinematics.jacobian(low)[2]
        turn -= down * (down @ turn) / (down @ down)  # at first neither up nor down
        measured, rest = low - turn, low + turn
        if min(verifier.clearance(measured)) > 0.0 and min(verifier.clearance(rest)) > 0.0:
            stop, start = hold_trajectory(rest, spec.control_period), SetPoint.at_rest(rest)
            assert not verifier.problem(stop, start)
            assert verifier.problem(stop, start, measured=measured).startswith("servo_lag ")
            seen += 1


def test_who_is_inside_may_leave_but_not_get_further_in(kinematics, limits, spec):
    verifier, period = StopVerifier(limits, kinematics), spec.control_period
    home = spec.home_positions
    low, deep = _tool_at(kinematics, home, 0.002), _tool_at(kinematics, home, -0.01)
    assert not verifier.problem(hold_trajectory(home, period), SetPoint.at_rest(home), measured=deep)
    assert verifier.problem(hold_trajectory(deep, period), SetPoint.at_rest(deep), measured=low).startswith(
        "servo_lag "
    )


def _tool_at(kinematics: Kinematics, posture: np.ndarray, height: float) -> np.ndarray:
    """The posture lowered until the tool is at this height [m]."""
    posture = posture.copy()
    for _ in range(200):
        down = np.clip(height - kinematics.tool_pose(posture).position[2], -0.01, 0.01)
        posture += np.linalg.pinv(kinematics.jacobian(posture)) @ np.array([0.0, 0.0, down, 0.0, 0.0, 0.0])
    return posture
