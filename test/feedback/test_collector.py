"""Records, statistics and learning health."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.collector import PhysicalFeedbackCollector, Share
from physai_ros.feedback.health import HealthState, assess_health


def test_an_episode_is_executed_judged_kept_and_counted(make_episode, tmp_path):
    store = EpisodeStore(tmp_path)
    collector = PhysicalFeedbackCollector(store)
    outcomes = [(True, "none"), (False, "timeout"), (False, "never heard of"), (True, "none")]
    for number, (success, mode) in enumerate(outcomes):
        record = collector.execute_and_evaluate(
            lambda n=number, s=success, m=mode: make_episode(f"{n:06d}", s, m, policy_version=f"{n // 2:06d}")
        )
        assert store.read(record.episode_id).outcome.success == record.success
    assert collector.statistics("task")["reach"][:3] == (2, 4, 0.5)
    assert {k: v.count for k, v in collector.statistics("policy_version").items()} == {"000000": 1, "000001": 1}
    modes = collector.statistics("failure_mode")
    assert {k: v.count for k, v in modes.items()} == {"none": 2, "timeout": 1, "unknown": 1}
    assert sum(v.count for v in modes.values()) == len(collector.records)
    with pytest.raises(ValueError, match="choose task"):
        collector.statistics("weather")


def test_records_come_back_from_the_store(make_episode, tmp_path):
    collector = PhysicalFeedbackCollector(EpisodeStore(tmp_path))
    for number in range(3):
        collector.add(make_episode(f"{number}", number == 1))
    again = PhysicalFeedbackCollector(EpisodeStore(tmp_path))
    assert again.load() == 3
    assert again.load() == 0
    for first, second in zip(collector.records, again.records, strict=True):
        assert repr(first) == repr(second)  # NaN is not equal to itself


@given(st.integers(0, 60), st.integers(1, 60))
def test_intervals_hold_the_rate_and_the_exact_one_is_wider(count, episodes):
    count = min(count, episodes)
    wilson, exact = Share.of(count, episodes), Share.of(count, episodes, "exact")
    for share in (wilson, exact):
        assert 0.0 <= share.lower <= share.rate + 1e-12
        assert share.rate - 1e-12 <= share.upper <= 1.0
    assert exact.upper - exact.lower >= wilson.upper - wilson.lower - 0.02
    mirrored = Share.of(episodes - count, episodes)
    assert mirrored.lower == pytest.approx(1 - wilson.upper, abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "state"),
    [
        ([0] * 5, HealthState.NOT_STARTED),
        ([0] * 15 + [1, 0] * 4 + [1] * 17, HealthState.LEARNING),
        ([1] * 60, HealthState.LEARNING),
        ([1] * 18 + [0, 0] + [1] * 18 + [0, 0], HealthState.LEARNING),  # there is little left to learn
        ([1] * 16 + [0] * 4 + [1] * 16 + [0] * 4, HealthState.STUCK),
        ([0, 0, 1] * 20, HealthState.STUCK),
        ([1] * 20 + [0] * 20, HealthState.BROKEN),
    ],
)
def test_health_is_read_off_the_trend(make_episode, successes, state):
    collector = PhysicalFeedbackCollector()
    for number, success in enumerate(successes):
        collector.add(make_episode(str(number), bool(success), seconds=0.1))
    assert assess_health(collector.records).state == state


def test_losing_samples_is_broken(make_episode):
    collector = PhysicalFeedbackCollector()
    for number in range(20):
        episode = make_episode(str(number), True, seconds=0.1)
        episode.lost_samples = 5
        collector.add(episode)
    health = assess_health(collector.records)
    assert health.state == HealthState.BROKEN
    assert health.advice
