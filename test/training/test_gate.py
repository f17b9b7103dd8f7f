"""The gate: it converges, starves nothing, and knows its probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.training.gate import GateConfig, SparseGate


@settings(max_examples=12, deadline=None)
@given(
    start=st.floats(-14, 14),
    target=st.sampled_from([0.02, 0.06, 0.2, 0.5]),
    shape=st.sampled_from([0.2, 1.0, 5.0]),
    seed=st.integers(0, 100),
)
def test_the_measured_rate_converges_from_any_start_and_under_drift(start, target, shape, seed):
    gate = SparseGate(GateConfig(target_activation_rate=target))
    gate.log_gain = start
    generator = np.random.default_rng(seed)
    rates = []
    for step in range(200):
        scores = generator.random(4000) ** shape * (0.5 if step > 100 else 1.0)
        rates.append(gate.select(scores, 1, generator).counts.mean())
    assert abs(np.mean(rates[60:100]) - target) < 0.01
    assert abs(np.mean(rates[140:]) - target) < 0.01


def test_the_floor_reaches_every_sample():
    gate = SparseGate(GateConfig(target_activation_rate=0.06, exploration_floor=0.3))
    generator = np.random.default_rng(0)
    scores = np.zeros(500)
    scores[:250] = 1.0
    reached = np.zeros(500, dtype=int)
    for _ in range(60):
        selection = gate.select(scores, 16, generator)
        reached += selection.counts
        assert selection.probabilities.min() >= gate.floor
    assert reached.min() > 0
    assert reached[:250].mean() > 3 * reached[250:].mean()


def test_weighted_by_their_probability_the_selected_estimate_the_mean_of_all():
    gate = SparseGate(GateConfig(target_activation_rate=0.2))
    generator = np.random.default_rng(1)
    loss = generator.exponential(size=2000)
    estimates = []
    for _ in range(800):
        selection = gate.select(loss / loss.max(), 1, generator)
        estimates.append((loss / selection.probabilities * selection.counts).sum() / len(loss))
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - loss.mean()) < 4 * error


@settings(max_examples=12, deadline=None)
@given(looks=st.integers(1, 40), floor=st.floats(0.0, 1.0), seed=st.integers(0, 100))
def test_a_sample_passes_as_often_as_expected_up_to_one(looks, floor, seed):
    generator = np.random.default_rng(seed)
    selection = SparseGate(GateConfig(exploration_floor=floor)).select(generator.random(700), looks, generator)
    assert np.abs(selection.counts - looks * selection.probabilities).max() <= 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_stops_nothing(bad):
    scores = np.random.default_rng(0).random(1000)
    scores[0] = bad
    assert np.isfinite(SparseGate().select(scores, 16, np.random.default_rng(0)).probabilities).all()


def test_nothing_offered_gives_nothing():
    assert not len(SparseGate().select(np.zeros(0), 16, np.random.default_rng(0)).counts)


@pytest.mark.parametrize("kwargs", [{"target_activation_rate": 0.0}, {"exploration_floor": 1.5}, {"score_cap": 0.0}])
def test_impossible_settings_are_refused(kwargs):
    with pytest.raises(ValueError, match="expected"):
        GateConfig(**kwargs)
