"""What is broken on purpose is named within one evaluation period, and nothing is where nothing is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from physai_ros.experience.annotations import Label
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.pictures import Pictures, encode_picture
from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.broken import PERIOD
from physai_ros.feedback.collector import PhysicalFeedbackCollector, with_metrics
from physai_ros.feedback.health import HealthState, TrainingFigures, assess_health
from physai_ros.tasks.reach import Reach


def moving(make, index, success=True, **context: object):
    """An arm that swings its joints, each in its own way, before a camera, and is 50 ms behind its commands."""
    episode = make(f"{index:06d}", success=success, seconds=3.0, **context)
    series, generator = episode.series, np.random.default_rng(index)
    time = series["stamp"] - series["stamp"][0]
    phase = generator.uniform(0, 6, 7)
    swing = lambda t: 0.3 * np.sin(np.outer(t, np.arange(1, 8) * 0.7) + phase) + np.linspace(-1, 1, 7)  # noqa: E731
    series["command_positions"][:] = swing(time)
    series["joint_positions"][:] = swing(time - 0.05)
    series["ee_velocity"][:, 0] = 0.1
    stamps = series["stamp"][::10]
    noise = generator.integers(0, 60, (len(stamps), 40, 60, 3)).astype(np.uint8)
    episode.pictures = {"scene": Pictures(stamps, [encode_picture(60 + cv2.GaussianBlur(n, (0, 0), 1)) for n in noise])}
    return episode


def darkened(episode):
    for pictures in episode.pictures.values():
        pictures.encoded = [encode_picture(pictures.rgb(i) // 255) for i in range(len(pictures))]
    return episode


def swapped(episode):
    positions = episode.series["joint_positions"]
    positions[:, [2, 4]] = positions[:, [4, 2]]
    return episode


def stale(episode):
    for pictures in episode.pictures.values():
        pictures.encoded = [pictures.encoded[0]] * len(pictures)
    return episode


def silent(episode):
    for pictures in episode.pictures.values():
        pictures.stamps, pictures.encoded = pictures.stamps[:3], pictures.encoded[:3]
    return episode


def blurred(episode):
    for pictures in episode.pictures.values():
        frames = [cv2.GaussianBlur(pictures.rgb(i), (0, 0), 6) for i in range(len(pictures))]
        pictures.encoded = [encode_picture(frame) for frame in frames]
    return episode


BROKEN = {
    "is dark": darkened,
    "joints 3 and 5 are swapped": swapped,
    "stands": stale,
    "is silent": silent,
    "is blurred": blurred,
}


def records_of(episodes, task=lambda _: None):
    collector = PhysicalFeedbackCollector(task=task)
    return [collector.add(episode) for episode in episodes]


@pytest.fixture(scope="module")
def sound(make_episode):
    """Records of a dozen episodes in which nothing is wrong."""
    return records_of([moving(make_episode, i) for i in range(12)])


@pytest.mark.parametrize("what", BROKEN)
def test_broken_signals_are_named_within_one_evaluation_period(make_episode, sound, what):
    records = sound
    assert assess_health(records).state != HealthState.BROKEN
    broken = records_of([BROKEN[what](moving(make_episode, 12 + i)) for i in range(PERIOD)])
    health = assess_health([*records, *broken])
    assert health.state == HealthState.BROKEN
    assert what in health.evidence
    assert health.evidence.count(";") == 0, "one fault, one finding"
    assert health.advice
    # A single one of them is chance.
    assert assess_health([*records, broken[0]]).state != HealthState.BROKEN


def test_pictures_that_were_never_light_are_dark(make_episode):
    records = records_of([darkened(moving(make_episode, i)) for i in range(PERIOD)])
    assert "is dark" in assess_health(records).evidence


def reaching(make, index, at_goal, success, **context: object):
    """An arm that goes to its goal or elsewhere, and what the detector says of it."""
    episode = make(f"{index:06d}", success=success, mode="timeout", seconds=2.0, goal=(0.5, 0.1, 0.3), **context)
    episode.series["ee_position"][:] = (0.5, 0.1, 0.3) if at_goal else (0.3, -0.2, 0.5)
    return episode


@pytest.mark.parametrize("says", ["always success", "always failure"])
def test_a_success_detector_that_lies_is_named(make_episode, says):
    honest = records_of([reaching(make_episode, i, i % 2 == 0, i % 2 == 0) for i in range(12)], lambda _: Reach())
    assert assess_health(honest).state != HealthState.BROKEN
    lies = says == "always success"
    lying = records_of([reaching(make_episode, 12 + i, not lies, lies) for i in range(PERIOD)], lambda _: Reach())
    health = assess_health([*honest, *lying])
    assert health.state == HealthState.BROKEN
    assert "success detector is wrong in 5 of 5" in health.evidence
    assert ("5 false successes" if lies else "5 false failures") in health.evidence


def test_labels_of_a_person_tell_on_the_detector(make_episode, sound, tmp_path):
    store = EpisodeStore(tmp_path)
    collector = PhysicalFeedbackCollector(store)
    for i in range(PERIOD):
        collector.add(moving(make_episode, 20 + i, success=True))
        store.annotations.label(f"{20 + i:06d}", Label.parse("failure"))
    said = PhysicalFeedbackCollector(store)
    said.load()
    health = assess_health([*sound, *said.records])
    assert "that a person judged: 5 false successes" in health.evidence
    told = with_metrics(replace(said.records[0], metrics={}), tmp_path)
    assert told.metrics["detected_success"] == 1.0


def test_successes_without_a_grasp_are_doubted_where_demonstrations_had_one(make_episode):
    def grasping(index, **context: object) -> Episode:
        episode = moving(make_episode, index, **context)
        episode.series["gripper_command"][100:200] = -1.0
        episode.series["gripper_width"][105:200] = 0.04
        episode.series["contact_forces"][105:200] = 5.0
        return episode

    shown = records_of([grasping(i, purpose=Purpose.DEMONSTRATE) for i in range(4)])
    assert assess_health([*shown, *records_of([grasping(4 + i) for i in range(PERIOD)])]).state != HealthState.BROKEN
    health = assess_health([*shown, *records_of([moving(make_episode, 4 + i) for i in range(PERIOD)])])
    assert "without a grasp" in health.evidence


@pytest.mark.parametrize(
    ("figures", "state"),
    [
        (TrainingFigures(loss=float("inf")), HealthState.BROKEN),
        (TrainingFigures(gradient_norm=1e9), HealthState.BROKEN),
        (TrainingFigures(activation_rate=0.0, offered=5000), HealthState.BROKEN),
        (TrainingFigures(gradient_norm=0.0, offered=5000), HealthState.STUCK),
        (TrainingFigures(value_spread=0.0, offered=5000), HealthState.STUCK),
        (TrainingFigures(loss=0.1, activation_rate=0.06, offered=5000), HealthState.NOT_STARTED),
        (TrainingFigures(), HealthState.NOT_STARTED),
    ],
)
def test_the_trainers_own_figures_are_heeded(figures, state):
    assert assess_health([], training=figures).state == state
