"""Laws of prioritised draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from physai_ros.training.priorities import PriorityIndex
from physai_ros.training.prioritized_replay import PrioritizedReplay

PRIORITY = st.one_of(st.just(0.0), st.floats(1e-100, 1e100), st.floats(0.1, 10.0))


def index_of(*parts: np.ndarray) -> PriorityIndex:
    index = PriorityIndex()
    for part in parts:
        index.insert(np.asarray(part, dtype=float))
    return index


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.5, 20.0), min_size=2, max_size=300), st.integers(0, 2**32 - 1))
def test_draws_come_as_often_as_their_priority_says(priorities, seed):
    indices, probabilities = index_of(priorities).draw(20000, np.random.default_rng(seed))
    expected = np.array(priorities) / np.sum(priorities)
    np.testing.assert_allclose(probabilities, expected[indices])
    # One failure in 10^9 examples by chance.
    assert chisquare(np.bincount(indices, minlength=len(priorities)), 20000 * expected).pvalue > 1e-9


@settings(deadline=None)
@given(st.lists(PRIORITY, min_size=1, max_size=400), st.integers(0, 2**32 - 1))
def test_what_has_no_priority_is_never_drawn(priorities, seed):
    index, generator = index_of(priorities), np.random.default_rng(seed)
    if not any(priorities):
        with pytest.raises(ValueError, match="above zero"):
            index.draw(1, generator)
        return
    indices, probabilities = index.draw(50, generator)
    assert (np.array(priorities)[indices] > 0).all()
    assert (probabilities > 0).all()


@settings(deadline=None)
@given(st.data(), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_an_update_is_visible_at_once(data, count, seed):
    index, generator = index_of(np.ones(count)), np.random.default_rng(seed)
    alone = data.draw(st.integers(0, count - 1))
    index.update(np.arange(count), np.zeros(count))
    index.update(np.array([alone]), np.array([3.0]))
    assert (index.draw(20, generator)[0] == alone).all()
    assert index.total == 3.0


@settings(deadline=None)
@given(st.lists(st.lists(PRIORITY, max_size=150), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_inserting_in_parts_is_inserting_at_once(parts, seed):
    whole, grown = index_of(sum(parts, [])), index_of(*parts)
    np.testing.assert_array_equal(whole.priorities, grown.priorities)
    if whole.total > 0:
        draws = [index.draw(30, np.random.default_rng(seed))[0] for index in (whole, grown)]
        np.testing.assert_array_equal(*draws)


def test_sums_do_not_drift_under_many_updates():
    generator = np.random.default_rng(0)
    index = index_of(generator.random(1000))
    for _ in range(2000):
        index.update(generator.integers(1000, size=64), generator.random(64) * 10.0 ** generator.integers(-9, 9))
    index.update(np.arange(1000), np.full(1000, 0.5))
    assert index.total == 500.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 1e200, 1e-200])
def test_a_priority_that_is_none_is_refused_and_nothing_changes(bad):
    replay = PrioritizedReplay()
    replay.insert({"x": np.arange(3)})
    with pytest.raises(ValueError, match="expected 0 or"):
        replay.insert({"x": np.arange(2)}, np.array([1.0, bad]))
    with pytest.raises(ValueError, match="expected 0 or"):
        replay.update(np.array([0, 1]), np.array([0.0, bad]))
    assert len(replay) == 3
    batch = replay.draw(100, np.random.default_rng(0))
    assert set(batch.rows["x"]) == {0, 1, 2}
    np.testing.assert_allclose(batch.probabilities, 1 / 3)


def test_what_does_not_fit_is_refused_and_rows_and_priorities_stay_equal_in_number():
    replay = PrioritizedReplay()
    replay.insert({"x": np.zeros((2, 3))})
    for rows, priorities in (({"x": np.zeros((2, 4))}, None), ({"x": np.zeros((2, 3))}, np.ones(1))):
        with pytest.raises(ValueError):
            replay.insert(rows, priorities)
    with pytest.raises(ValueError, match="one for each"):
        replay.update(np.array([0, 1]), np.ones(1))
    with pytest.raises(IndexError, match="expected 0 to 1"):
        replay.update(np.array([2]), np.ones(1))
    replay.insert({"x": np.ones((1, 3))}, np.array([1e6]))
    assert replay.draw(10, np.random.default_rng(0)).rows["x"].min() == 1.0


def test_a_sample_without_a_priority_is_seen_soon():
    replay = PrioritizedReplay()
    replay.insert({"x": np.arange(100)})
    replay.update(np.arange(100), np.full(100, 0.01))
    replay.update(np.array([5]), np.array([50.0]))
    replay.insert({"x": np.array([100])})
    assert np.mean(replay.draw(2000, np.random.default_rng(0)).rows["x"] == 100) > 0.4
