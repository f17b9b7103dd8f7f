"""Adaptive domain randomization: laws of what is drawn and of how feedback moves it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.simulation.physics import ROBOT_SIM_PARAMS, PhysicsParameters
from physai_ros.transfer.parameter_space import RANDOMIZED, ParameterSpace
from physai_ros.transfer.randomization import (
    GAP_THRESHOLD,
    LEAST_SPREAD,
    MOST_SPREAD,
    AdaptiveDomainRandomization,
)
from physai_ros.transfer.truncated_normal import TruncatedNormal

FEW = ("object_mass_scale", "actuator_delay", "calibration_x")
unit = st.floats(0.0, 1.0)
points = st.lists(unit, min_size=3, max_size=3).map(np.array)


def of(point) -> dict[str, float]:
    return ParameterSpace(FEW).values(point)


@settings(deadline=None)
@given(st.lists(unit, min_size=len(RANDOMIZED), max_size=len(RANDOMIZED)).map(np.array))
def test_points_and_values_are_the_same_thing(point):
    space = ParameterSpace()
    values = space.values(point)
    PhysicsParameters().with_values(values)
    np.testing.assert_allclose(space.point(values), point, atol=1e-9)


def test_scales_vary_by_factors():
    space = ParameterSpace(("object_mass_scale", "calibration_x"))
    assert space.values(np.array([0.5, 0.5])) == pytest.approx({"object_mass_scale": 1.0, "calibration_x": 0.0})
    np.testing.assert_allclose(space.slope(np.array([0.5, 0.5])), [np.log(25.0), 0.1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.tuples(points, unit), max_size=8))
def test_what_is_drawn_is_inside_and_not_on_the_bounds(seed, feedback):
    randomization = AdaptiveDomainRandomization(FEW, seed=seed)
    for point, gap in feedback:
        randomization.update_from_physical_feedback(of(point), gap)
    for _ in range(20):
        for name, value in randomization.sample_parameters().items():
            _, low, high, _, _ = ROBOT_SIM_PARAMS[name]
            assert low < value < high
    assert all(0.0 <= mean <= 1.0 for mean in randomization.distribution.mean)
    assert all(LEAST_SPREAD - 1e-12 <= spread <= MOST_SPREAD + 1e-12 for spread in randomization.spread.values())


def test_no_mass_at_the_bounds():
    """A nominal value at its bound: as many draws near it as a normal's density has, and not half of all."""
    drawn = TruncatedNormal.independent(np.zeros(1), np.array([0.2]))
    generator = np.random.default_rng(0)
    points = np.array([drawn.draw(generator)[0] for _ in range(2000)])
    assert np.mean(points < 0.02) == pytest.approx(2 * 0.0398, abs=0.02)
    assert points.mean() == pytest.approx(drawn.expected()[0], abs=0.01)


def test_correlated_draws_keep_their_correlation_inside_the_cube():
    covariance = 0.0025 * np.array([[1.0, 0.9], [0.9, 1.0]])
    drawn, generator = TruncatedNormal(np.array([0.5, 0.95]), covariance), np.random.default_rng(0)
    points = np.array([drawn.draw(generator) for _ in range(300)])
    assert points.min() > 0.0 and points.max() < 1.0
    assert np.corrcoef(points.T)[0, 1] > 0.7


@settings(deadline=None)
@given(points, unit, unit)
def test_updates_are_monotone_in_the_gap(point, first, second):
    low, high = sorted((first, second))
    results = []
    for gap in (low, high):
        randomization = AdaptiveDomainRandomization(FEW)
        before = randomization.distribution
        randomization.update_from_physical_feedback(of(point), gap)
        towards = (randomization.distribution.mean - before.mean) * np.sign(point - before.expected())
        results.append((randomization.distribution.spread, towards))
    (narrow, near), (wide, far) = results
    assert (wide >= narrow - 1e-12).all()
    assert (far <= near + 1e-12).all()


@settings(deadline=None)
@given(points)
def test_the_threshold_parts_widening_from_tightening(point):
    for gap, sign in ((0.0, -1), (GAP_THRESHOLD, 0), (1.0, 1)):
        randomization = AdaptiveDomainRandomization(FEW)
        before = randomization.distribution.spread
        randomization.update_from_physical_feedback(of(point), gap)
        np.testing.assert_array_equal(np.sign(np.round(randomization.distribution.spread - before, 12)), sign)


@settings(deadline=None)
@given(points, unit)
def test_credit_spares_what_does_not_matter(point, gap):
    randomization = AdaptiveDomainRandomization(FEW)
    before = randomization.distribution
    randomization.update_from_physical_feedback(of(point), gap, {"actuator_delay": 0.4})
    after = randomization.distribution
    np.testing.assert_allclose(after.mean[[0, 2]], before.mean[[0, 2]], atol=1e-12)
    np.testing.assert_allclose(after.spread[[0, 2]], before.spread[[0, 2]], atol=1e-12)


def test_the_same_seed_and_feedback_give_the_same_stream():
    def stream(seed: int) -> list[float]:
        randomization = AdaptiveDomainRandomization(FEW, seed=seed)
        drawn = []
        for gap in (0.1, 0.9, 0.5):
            drawn.append(randomization.sample_parameters())
            randomization.update_from_physical_feedback(drawn[-1], gap)
        return [value for values in drawn for value in values.values()]

    assert stream(4) == stream(4) != stream(5)


def test_no_drift_when_real_equals_simulated():
    """The arm is the nominal one, at a bound of one parameter: means stay while spreads shrink."""
    ends = []
    for seed in range(20):
        randomization = AdaptiveDomainRandomization(FEW, seed=seed)
        nominal = randomization.space.nominal
        for _ in range(40):
            drawn = randomization.sample_parameters()
            randomization.update_from_physical_feedback(drawn, 0.0)
        ends.append(randomization.distribution.mean - nominal)
        assert (randomization.distribution.spread < 0.02).all()
    # The mean of one whose nominal value is its bound can only be pushed inwards: by little.
    assert np.abs(np.mean(ends, axis=0)[[0, 2]]).max() < 0.03
    assert np.mean(ends, axis=0)[1] < 0.06


def test_feedback_finds_the_arm():
    """Where one parameter is off and credit says which, its mean goes there and the others stay."""
    truth, before, after = 0.65, [], []
    for seed in range(5):
        randomization = AdaptiveDomainRandomization(FEW, seed=seed)
        before.append(abs(randomization.distribution.mean[2] - truth))
        for _ in range(200):
            drawn = randomization.sample_parameters()
            gap = min(1.0, 2.0 * abs(randomization.space.point(drawn)[2] - truth))
            randomization.update_from_physical_feedback(drawn, gap, {"calibration_x": 1.0})
        after.append(abs(randomization.distribution.mean[2] - truth))
        np.testing.assert_allclose(randomization.distribution.mean[:2], randomization.space.nominal[:2])
    assert np.mean(after) < 0.4 * np.mean(before)


def test_a_fit_takes_the_place_of_what_it_found():
    randomization = AdaptiveDomainRandomization(FEW)
    covariance = np.array([[0.0009, 0.0006], [0.0006, 0.0009]])
    randomization.centre_on(("actuator_delay", "calibration_x"), np.array([0.4, 0.6]), covariance)
    np.testing.assert_allclose(randomization.distribution.mean, [0.5, 0.4, 0.6])
    np.testing.assert_allclose(randomization.distribution.covariance[1:, 1:], covariance)
    randomization.widen(2.0)
    np.testing.assert_allclose(randomization.distribution.covariance[1:, 1:], 4.0 * covariance)
    assert randomization.distribution.entropy() < 0.0


def test_bad_feedback_is_refused_by_name():
    randomization = AdaptiveDomainRandomization(FEW)
    with pytest.raises(ValueError, match="the gap is 1.2"):
        randomization.update_from_physical_feedback(of(np.full(3, 0.5)), 1.2)
    with pytest.raises(ValueError, match="no value of 'actuator_delay'"):
        randomization.update_from_physical_feedback({"object_mass_scale": 1.0}, 0.5)
    with pytest.raises(ValueError, match="at least zero"):
        randomization.update_from_physical_feedback(of(np.full(3, 0.5)), 0.5, {"calibration_x": -1.0})
    with pytest.raises(ValueError, match="unknown physics parameter 'frction'"):
        AdaptiveDomainRandomization(("frction",))
    with pytest.raises(ValueError, match="'payload' is not randomized"):
        randomization.centre_on(("payload",), np.zeros(1), np.eye(1))
