"""Widening under a constraint: as far as the policy bears it, on the word of enough episodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.transfer.truncated_normal import TruncatedNormal
from physai_ros.transfer.widening import FACTORS, bearable_factor, expected_success

OLD = TruncatedNormal.independent(np.array([0.5, 0.4]), np.array([0.1, 0.1]))
POINTS = np.array([OLD.draw(np.random.default_rng(seed)) for seed in range(60)])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), min_size=60, max_size=60))
def test_under_the_same_distribution_success_is_the_share(successes):
    assert expected_success(OLD, OLD, POINTS, successes) == pytest.approx(np.mean(successes))


def test_a_policy_that_bears_everything_is_given_more_and_one_that_fails_less():
    assert bearable_factor(OLD, POINTS, [True] * 60, 0.8) > 1.0
    assert bearable_factor(OLD, POINTS, [False] * 60, 0.8) == FACTORS[0]


def test_failures_at_the_rim_stop_the_widening():
    near = np.abs(POINTS - OLD.mean).max(axis=1) < 0.12
    bearable = bearable_factor(OLD, POINTS, near, 0.8)
    assert bearable < bearable_factor(OLD, POINTS, [True] * 60, 0.8)
    narrow = TruncatedNormal.independent(OLD.mean, 0.7 * OLD.spread)
    assert expected_success(OLD, narrow, POINTS, near) > np.mean(near)


def test_too_few_witnesses_are_not_believed():
    far = TruncatedNormal.independent(np.array([0.95, 0.95]), np.array([0.02, 0.02]))
    assert np.isnan(expected_success(OLD, far, POINTS, [True] * 60))


def test_outcomes_must_match_the_episodes():
    with pytest.raises(ValueError, match="60 points and 2 outcomes"):
        bearable_factor(OLD, POINTS, [True, False], 0.8)
