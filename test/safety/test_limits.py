"""One profile, narrower than the arm's own limits, checked against the driver."""

import numpy as np
import pytest

from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits


def test_limits_lie_inside_the_arms_own(spec):
    limits = SafetyLimits.from_spec(spec, position_margin=0.05, velocity_margin=0.1)
    assert np.allclose(limits.velocity, 0.9 * spec.velocity_limits)
    assert np.allclose(limits.position_lower, spec.position_lower + 0.05)
    assert np.allclose(limits.position_upper, spec.position_upper - 0.05)
    with pytest.raises(ValueError, match="read-only"):
        limits.velocity[0] = 99.0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"velocity": np.full(7, 100.0)}, "100.*2.62"),
        ({"position_upper": np.full(7, 9.0)}, "9.*2.7437"),
        ({"acceleration": np.zeros(7)}, "above zero"),
        ({"force_budget": -1.0}, "force_budget is -1"),
        ({"tool_speed": float("nan")}, "tool_speed"),
        ({"workspace_lower": np.array([0.0, 0.0, 2.0])}, "2.*1.3.*z"),
        ({"velocity": np.ones(6)}, "expected 7"),
        ({"speed": 1.0}, "unknown limit 'speed'; known are"),
    ],
)
def test_what_cannot_be_is_refused_with_both_numbers(spec, override, said):
    with pytest.raises(SafetyConfigurationError, match=said):
        SafetyLimits.from_spec(spec, **override)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command_timeout": float("inf")}, "inf s of silence, expected at most 0.1"),
        ({"command_timeout": 0.2}, "0.2 s of silence, expected at most 0.1"),
        ({"enforced_velocity": np.full(7, 1.0)}, "2.489, beyond the driver's 1"),
        ({"enforced_position_upper": np.ones(3)}, "3 numbers"),
        ({"joint_names": ("a", "b")}, "the driver's joints are a, b"),
    ],
)
def test_a_driver_that_does_not_fit_is_refused(loop, limits, changes, said):
    with pytest.raises(SafetyConfigurationError, match=said):
        limits.check_driver(loop.state(**changes))


def test_a_driver_without_time_out_can_be_accepted_in_writing(loop, spec):
    limits = SafetyLimits.from_spec(spec, sink_without_timeout="bench with an operator at the switch")
    limits.check_driver(loop.state(command_timeout=float("inf")))


def test_the_drivers_order_of_joints_does_not_matter(loop, limits, spec):
    names = spec.joint_names[::-1]
    limits.check_driver(loop.state(joint_names=names, enforced_velocity=spec.velocity_limits[::-1]))
    with pytest.raises(SafetyConfigurationError, match="fr3_joint"):
        limits.check_driver(loop.state(joint_names=names, enforced_velocity=spec.velocity_limits))
