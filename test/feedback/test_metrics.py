"""Laws of the metrics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.feedback.metrics import EpisodeMetrics, contact_profile, count_runs
from physai_ros.feedback.smoothness import log_dimensionless_jerk, spectral_arc_length
from physai_ros.robot.command import CommandSource

MEASURES = [log_dimensionless_jerk, spectral_arc_length]
forces = st.lists(st.floats(0, 200), min_size=2, max_size=40)


def motion(rate, seed, duration=3.0):
    """A reach (minimum jerk) with submovements of at most 4 Hz, the same one at any rate."""
    generator = np.random.default_rng(seed)
    times = np.arange(int(duration * rate) + 1) / rate
    share = times / duration
    velocity = np.outer(30 * share**2 * (1 - share) ** 2 / duration, generator.normal(size=3))
    envelope = np.sin(np.pi * share) ** 2
    for _ in range(3):
        wave = np.sin(2 * np.pi * generator.uniform(0.5, 4.0) * times + generator.uniform(0, 6))
        velocity += np.outer(envelope * wave, generator.normal(scale=0.1, size=3))
    return times, velocity


@pytest.mark.parametrize("measure", MEASURES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_smoothness_is_the_same_at_every_sampling_rate(measure, seed):
    values = np.array([measure(*motion(rate, seed)) for rate in (50, 100, 250, 1000)])
    assert np.isfinite(values).all()
    assert np.ptp(values) <= 0.02 * abs(values.mean())


@pytest.mark.parametrize("measure", MEASURES)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), offset=st.floats(0, 1e6), scale=st.floats(0.2, 5.0))
def test_smoothness_ignores_when_how_far_and_how_noisily_sampled(measure, seed, offset, scale):
    times, velocity = motion(200, seed)
    value = measure(times, velocity)
    assert measure(times + offset, velocity) == pytest.approx(value, rel=1e-4)
    assert measure(times, scale * velocity) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_shaky_movement_is_less_smooth(measure):
    times, velocity = motion(100, 3)
    shaken = velocity + 0.1 * np.sin(2 * np.pi * 5 * times)[:, None]
    assert measure(times, shaken) < measure(times, velocity) < 0


@pytest.mark.parametrize("measure", MEASURES)
def test_what_does_not_move_or_is_too_short_has_no_smoothness(measure):
    times, velocity = motion(100, 1)
    assert np.isnan(measure(times, 0 * velocity))
    assert np.isnan(measure(times[:6], velocity[:6]))
    assert np.isnan(measure(times[:0], velocity[:0]))


@given(forces, st.integers(1, 38), st.floats(0.0, 100.0))
def test_impulse_and_time_over_budget_add_over_segments(magnitudes, cut, budget):
    cut = min(cut, len(magnitudes) - 1)
    stamps = np.cumsum(np.linspace(0.005, 0.02, len(magnitudes)))
    force = np.outer(magnitudes, [0.6, 0.0, 0.8])
    whole = contact_profile(stamps, force, budget)
    parts = [contact_profile(stamps[s], force[s], budget) for s in (slice(0, cut + 1), slice(cut, None))]
    assert whole.impulse == pytest.approx(sum(p.impulse for p in parts), abs=1e-9)
    assert whole.time_over_budget == pytest.approx(sum(p.time_over_budget for p in parts), abs=1e-9)
    assert whole.peak == max(p.peak for p in parts)
    assert whole.mean <= whole.peak + 1e-9


def test_the_profile_of_a_ramp_is_known():
    stamps = np.linspace(0, 1, 11)
    profile = contact_profile(stamps, np.outer(stamps * 10, [1.0, 0, 0]), budget=7.5)
    assert profile.peak == pytest.approx(10.0)
    assert profile.mean == pytest.approx(5.0)
    assert profile.variance == pytest.approx(100 / 12)
    assert profile.impulse == pytest.approx(5.0)
    assert profile.time_over_budget == pytest.approx(0.25)


@given(st.lists(st.booleans(), max_size=30))
def test_runs_are_counted(flags):
    text = "".join("x" if f else " " for f in flags)
    assert count_runs(np.array(flags, dtype=bool)) == len(text.split())


def test_interventions_and_stops_are_counted(make_episode):
    episode = make_episode()
    source = episode.series["command_source"]
    source[100:150] = source[300:310] = CommandSource.OPERATOR
    source[400:405] = CommandSource.STOP
    metrics = EpisodeMetrics.of(episode, 40.0)
    assert (metrics.interventions, metrics.safety_stops) == (2, 1)
    assert metrics.intervention_seconds == pytest.approx(0.6)


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_a_short_episode_has_metrics(make_episode, samples):
    metrics = EpisodeMetrics.of(make_episode(seconds=samples / 100), 40.0)
    assert metrics.interventions == 0
    assert np.isnan(metrics.smoothness)
