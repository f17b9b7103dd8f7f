"""Costs of success, and their paired ratios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.evaluation.learning_curves import crossing, final_success, paired_ratio

GRID = (0.5, 1.0, 2.0, 4.0)


def test_a_crossing_is_interpolated_in_the_logarithm_of_the_cost():
    found = crossing(GRID, (0.0, 0.4, 0.8, 0.9), 0.6)
    assert found.reached
    assert found.cost == pytest.approx(np.sqrt(2.0))


def test_noise_that_falls_again_is_no_second_crossing():
    assert final_success((0.2, 0.9, 0.7, 0.8)) == pytest.approx(0.8)
    assert crossing(GRID, (0.2, 0.9, 0.7, 0.8), 0.8).cost == pytest.approx(1.0)


def test_a_level_that_was_never_reached_says_so():
    found = crossing(GRID, (0.1, 0.2, 0.2, 0.3), 0.9)
    assert not found.reached
    assert found.cost == GRID[-1]


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_level_never_costs_less(success, one, other):
    low, high = sorted((one, other))
    assert crossing(GRID, success, low).cost <= crossing(GRID, success, high).cost


@pytest.mark.parametrize("grid", [(1.0, 1.0), (0.0, 1.0), (2.0, 1.0), (1.0,)])
def test_costs_that_do_not_rise_are_refused(grid):
    with pytest.raises(ValueError, match="expected as many"):
        crossing(grid, (0.1, 0.2), 0.5)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.2, 5.0))
def test_the_ratio_of_equal_pairs_is_that_ratio(value):
    found = paired_ratio({"a": [value] * 5, "b": [value] * 3}, resamples=100)
    assert np.allclose([found.ratio, found.lower, found.upper, found.worst], value)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        ratios = {task: np.exp(0.2 + 0.4 * generator.standard_normal(20)) for task in ("a", "b")}
        found = paired_ratio(ratios, resamples=500, seed=trial)
        covered += found.lower <= np.exp(0.2) <= found.upper
    assert 0.89 <= covered / 200 <= 0.99


def test_every_task_has_the_same_weight_and_the_worst_is_named():
    found = paired_ratio({"many": [4.0] * 50, "few": [1.0]}, resamples=100)
    assert found.ratio == pytest.approx(2.0)
    assert found.worst == pytest.approx(1.0)


@pytest.mark.parametrize("ratios", [{}, {"a": []}, {"a": [0.0]}, {"a": [np.nan]}])
def test_ratios_that_are_none_are_refused(ratios):
    with pytest.raises(ValueError, match="expected at least one"):
        paired_ratio(ratios)
