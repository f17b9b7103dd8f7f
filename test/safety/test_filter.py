"""Laws of the projection and of stops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.set_point import SetPoint
from physai_ros.robot.spec import RobotSpec
from physai_ros.safety.filter import SafetyFilter
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.stopping import StopPlanner, StopVerifier

SPEC = RobotSpec.load("fr3_sim")
KINEMATICS = Kinematics(SPEC)
LIMITS = SafetyLimits.from_spec(SPEC)
PERIOD = SPEC.control_period
FILTER = SafetyFilter(LIMITS, KINEMATICS, PERIOD)
PLANNER = StopPlanner(LIMITS, PERIOD)
VERIFIER = StopVerifier(LIMITS, KINEMATICS)
SEEDS = st.integers(0, 2**32 - 1)


def reachable(seed: int) -> SetPoint:
    """Set-point that the filter itself led to: a random walk of random haste from a random posture."""
    generator = np.random.default_rng(seed)
    span = LIMITS.position_upper - LIMITS.position_lower
    posture = LIMITS.position_lower + span * generator.uniform(0.02, 0.98, 7)
    set_point, goal = SetPoint.at_rest(posture), posture
    for cycle in range(int(generator.integers(1, 60))):
        if cycle % 15 == 0:
            goal = set_point.positions + generator.normal(0, generator.choice([0.01, 0.3, 3.0]), 7)
        positions = FILTER.project(goal, set_point).positions
        if positions is None:
            break
        set_point = set_point.followed_by(positions, PERIOD)
    return set_point


@settings(max_examples=70, deadline=None)
@given(SEEDS, st.sampled_from([1e-3, 1e-2, 1.0, 1e3]), st.floats(0.1, 1.0))
def test_what_comes_out_is_inside_every_joint_limit(seed, size, scale):
    set_point = reachable(seed)
    target = set_point.positions + np.random.default_rng(seed).normal(0, size, 7)
    positions = FILTER.project(target, set_point, scale).positions
    if positions is None:
        return
    velocities = (positions - set_point.positions) / PERIOD
    accelerations = (velocities - set_point.velocities) / PERIOD
    assert (np.abs(accelerations) <= LIMITS.acceleration + 1e-6).all()
    assert (np.abs(velocities) <= np.maximum(LIMITS.velocity * scale, np.abs(set_point.velocities)) + 1e-6).all()
    assert (positions >= np.minimum(LIMITS.position_lower, set_point.positions) - 1e-9).all()
    assert (positions <= np.maximum(LIMITS.position_upper, set_point.positions) + 1e-9).all()


@settings(max_examples=70, deadline=None)
@given(SEEDS, st.sampled_from([1e-3, 1e-2, 1.0]))
def test_a_permitted_target_is_its_own_projection(seed, size):
    set_point = reachable(seed)
    target = set_point.positions + np.random.default_rng(seed).normal(0, size, 7)
    first = FILTER.project(target, set_point).positions
    if first is None:
        return
    second = FILTER.project(first, set_point)
    assert second.positions is not None
    assert np.allclose(second.positions, first, atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_nothing_inside_the_limits_is_altered(seed):
    generator = np.random.default_rng(seed)
    set_point = SetPoint.at_rest(SPEC.home_positions + generator.uniform(-0.2, 0.2, 7))
    target = set_point.positions + generator.uniform(-1, 1, 7) * LIMITS.acceleration * PERIOD**2
    projection = FILTER.project(target, set_point)
    assert projection.reasons == ()
    assert (projection.positions == target).all()


@settings(max_examples=70, deadline=None)
@given(SEEDS)
def test_every_reachable_set_point_has_a_stop_inside_the_limits(seed):
    set_point = reachable(seed)
    stop = PLANNER.plan(set_point)
    assert stop is not None
    assert VERIFIER.problem(stop, set_point) != "position"
    path = np.concatenate([[set_point.positions], stop.positions])
    velocities = np.concatenate([[set_point.velocities], np.diff(path, axis=0) / PERIOD])
    assert (np.abs(np.diff(velocities, axis=0)) <= LIMITS.acceleration * PERIOD + 1e-6).all()
    assert (np.abs(velocities[-1]) <= LIMITS.acceleration * PERIOD + 1e-6).all()  # the next cycle is at rest


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_narrower_limits_never_permit_more(seed):
    narrow = SafetyFilter(
        SafetyLimits.from_spec(SPEC, velocity=LIMITS.velocity * 0.5, acceleration=LIMITS.acceleration * 0.5),
        KINEMATICS,
        PERIOD,
    )
    generator = np.random.default_rng(seed)
    set_point = SetPoint.at_rest(SPEC.home_positions + generator.uniform(-0.2, 0.2, 7))
    target = set_point.positions + generator.normal(0, 0.01, 7)
    wide_step = np.abs(FILTER.project(target, set_point).positions - set_point.positions)
    narrow_step = np.abs(narrow.project(target, set_point).positions - set_point.positions)
    assert (narrow_step <= wide_step + 1e-9).all()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (np.full(7, np.nan), "not_finite"),
        (np.full(7, np.inf), "not_finite"),
        (np.full(7, 1e300), "not_finite"),
        (np.zeros(6), "malformed"),
        (np.zeros((7, 1)), "malformed"),
        (np.zeros(7, dtype=complex), "malformed"),
        ([0.0] * 7, "malformed"),
        (np.array(["a"] * 7), "malformed"),
    ],
)
def test_what_is_no_target_is_refused_with_a_reason(target, reason):
    projection = FILTER.project(target, SetPoint.at_rest(SPEC.home_positions))
    assert projection.positions is None
    assert projection.reasons == (reason,)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_tool_comes_to_rest_at_a_wall(axis, side):
    limits = SafetyLimits.from_spec(
        SPEC, workspace_lower=np.array([0.3, -0.15, 0.25]), workspace_upper=np.array([0.55, 0.15, 0.5])
    )
    project = SafetyFilter(limits, KINEMATICS, PERIOD).project
    set_point, reference, reasons = SetPoint.at_rest(SPEC.home_positions), SPEC.home_positions, set()
    for _ in range(400):
        jacobian = KINEMATICS.jacobian(reference)[:3]
        push = np.zeros(3)
        push[axis] = side * 0.004
        reference = set_point.positions + np.linalg.pinv(jacobian) @ push
        projection = project(reference, set_point)
        assert projection.positions is not None, projection.reasons
        reasons |= set(projection.reasons)
        set_point = set_point.followed_by(projection.positions, PERIOD)
        tool = KINEMATICS.tool_pose(set_point.positions).position
        assert (tool > limits.workspace_lower - 2e-3).all()
        assert (tool < limits.workspace_upper + 2e-3).all()
    bound = limits.workspace_upper[axis] if side > 0 else limits.workspace_lower[axis]
    assert abs(tool[axis] - bound) < 2e-3
    assert "workspace" in reasons


def test_the_tool_keeps_its_speed_limit():
    limits = SafetyLimits.from_spec(SPEC, tool_speed=0.25)
    project = SafetyFilter(limits, KINEMATICS, PERIOD).project
    set_point, reasons, fastest = SetPoint.at_rest(SPEC.home_positions), set(), 0.0
    for cycle in range(300):
        goal = SPEC.home_positions + 1.0 * np.sin(cycle / 40.0) * np.array([1.0, 0.3, 0.5, 0.4, 1.0, 0.2, 1.0])
        projection = project(goal, set_point)
        assert projection.positions is not None, projection.reasons
        reasons |= set(projection.reasons)
        before = KINEMATICS.tool_pose(set_point.positions).position
        set_point = set_point.followed_by(projection.positions, PERIOD)
        after = KINEMATICS.tool_pose(set_point.positions).position
        fastest = max(fastest, float(np.linalg.norm(after - before)) / PERIOD)
    assert 0.24 < fastest < 0.275
    assert "tool_speed" in reasons
