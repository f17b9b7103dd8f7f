"""The stream of a graph becomes episodes on disk, without ROS."""

import errno
import os

import numpy as np
import pytest

from physai_ros.experience.cdr_columns import peek_u64
from physai_ros.experience.episode import Phase
from physai_ros.experience.episode_messages import messages_of, picture_message
from physai_ros.experience.messages import PICTURE_TYPE, serialize, time_of, typestore
from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.collector import PhysicalFeedbackCollector
from physai_ros.feedback.live import SETTLE, LiveRecording


@pytest.fixture
def live(tmp_path):
    return LiveRecording(PhysicalFeedbackCollector(EpisodeStore(tmp_path)), "/arm")


def feed(live, stream, steady=0.0):
    for topic, when, data in stream:
        live.add(topic, data, when, steady)


def ended(episode):
    """The stream of an episode, its context's last word at the end."""
    return list(messages_of(episode))


def test_an_episode_is_durable_before_it_is_given_out(live, make_episode):
    episode = make_episode("a", mode="timeout")
    feed(live, ended(episode))
    (summary,) = live.poll(0.01)  # the answer to the last sample is in, so that there is nothing to wait for
    assert live.poll(SETTLE) == []
    assert summary.failure_mode == "timeout"
    read = EpisodeStore(live._store.folder).read("a")
    for name, column in episode.series.items():
        np.testing.assert_array_equal(column, read.series[name])
    assert read.complete
    assert not live.recording


def test_samples_before_and_after_word_of_the_episode_are_in_it(live, make_episode):
    stream = ended(make_episode("a"))
    first = [entry for entry in stream if entry[0] == "episode"]
    rest = [entry for entry in stream if entry[0] != "episode"]
    feed(live, [*rest[:30], first[0], *rest[30:-40], first[1]])
    assert live.poll(0.01) == []
    feed(live, rest[-40:])
    (summary,) = live.poll(0.2)
    assert summary.samples == 600
    assert summary.lost_samples == 0


def test_lost_samples_are_counted_and_waited_for_no_longer_than_a_second(live, make_episode):
    stream = ended(make_episode("a", mode="timeout"))
    states = [i for i, entry in enumerate(stream) if entry[0] == "robot_state"]
    gone = {states[i] for i in (5, 6, 300, 599)}
    feed(live, [entry for i, entry in enumerate(stream) if i not in gone])
    assert live.poll(0.9) == []
    (summary,) = live.poll(SETTLE + 0.01)
    assert (summary.samples, summary.lost_samples) == (596, 4)
    assert live.lost_samples == 4


def test_an_episode_that_never_ended_is_not_complete(live, make_episode):
    feed(live, ended(make_episode("a"))[:-1])
    feed(live, ended(make_episode("b")))
    assert [(s.context.episode_id, s.complete) for s in live.poll(1.1)] == [("a", False), ("b", True)]
    feed(live, ended(make_episode("c"))[:-1])
    assert [(s.context.episode_id, s.complete) for s in live.close()] == [("c", False)]


def test_an_old_verdict_is_not_taken_for_this_episodes(live, make_episode):
    old = [e for e in messages_of(make_episode("old", success=True)) if e[0] == "task_outcome"]
    feed(live, old)
    stream = ended(make_episode("a", mode="timeout", start_sequence=1))
    feed(live, [stream[0], *old, *stream[1:]])
    (summary,) = live.poll(1.1)
    assert not summary.outcome.success


def test_the_rest_of_a_recovered_episode_is_left_out(live, make_episode):
    episode = make_episode("a")
    live._store.write(episode)
    feed(live, ended(episode))
    assert live.poll(1.1) == []
    feed(live, ended(make_episode("b")))
    assert [s.context.episode_id for s in live.poll(1.1)] == ["b"]


def test_a_full_disk_is_counted_and_said_and_ends(live, make_episode, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        feed(live, ended(make_episode("a")))
        assert live.poll(1.1) == []
    assert "No space left on device" in live.error
    assert live.unwritten_episodes == 1
    feed(live, ended(make_episode("b")))
    ids = [(s.context.episode_id, s.complete) for s in live.poll(1.1)]
    assert ids == [("a", False), ("b", True)]  # what was cut off came back when there was space
    assert live.error == ""


@pytest.mark.parametrize("topic", ["robot_state", "task_outcome", "episode"])
def test_garbage_on_the_wire_hurts_nobody(live, make_episode, topic):
    stream = ended(make_episode("a"))
    feed(live, [stream[0], (topic, stream[0][1], b"\0\1\0\0rubbish"), *stream[1:]])
    (summary,) = live.poll(1.1)
    assert summary.samples == 600


def test_contexts_that_are_no_episode_start_nothing(live, make_episode):
    feed(live, [e for e in messages_of(make_episode("", phase=Phase.IDLE)) if e[0] == "episode"])
    assert not live.recording


def image(stamp, level, width=32, height=24):
    kind = typestore().types
    sec, nanosec = time_of(stamp)
    header = kind["std_msgs/msg/Header"](
        stamp=kind["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec), frame_id="scene_optical_frame"
    )
    data = np.full(3 * width * height, level, dtype=np.uint8)
    message = kind["sensor_msgs/msg/Image"](
        header=header, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=data
    )
    return serialize(message, "sensor_msgs/msg/Image")


def test_pictures_are_compressed_and_every_stream_says_what_it_lost(live, make_episode):
    episode = make_episode("a", mode="timeout", seconds=3.0)
    stamps = episode.series["stamp"]
    raw = "sensor_msgs/msg/Image"
    live.add_picture("scene", image(stamps[0] - 0.5, 10), raw, 0)  # too old, and replaced by the next
    live.add_picture("scene", image(stamps[0] - 0.1, 20), raw, 0)
    stream = ended(episode)
    commands = [i for i, entry in enumerate(stream) if entry[0] == "safe_command"]
    gone = {commands[i] for i in (50, 51, 52)}
    for number, (topic, when, data) in enumerate(stream):
        if number not in gone:
            live.add(topic, data, when, 0.0)
        if topic == "robot_state":
            at = live.streams["robot_state"]["messages"] - 1
            if at % 10 == 0 and at not in (100, 110):
                live.add_picture("scene", image(stamps[at], 100 + at // 10), raw, when)
    live.add_picture("wrist", b"rubbish", raw, 0)
    (summary,) = live.poll(1.1)
    assert summary.streams["safe_command"] == {"messages": 297, "lost": 3}
    assert summary.streams["robot_state"] == {"messages": 300, "lost": 0}
    assert summary.streams["camera/scene/compressed"] == {"messages": 29, "lost": 2}
    read = live._store.read("a", pictures=True)
    pictures = read.pictures["scene"]
    assert len(pictures) == 29
    assert abs(int(pictures.rgb(0).mean()) - 20) <= 2 and abs(int(pictures.rgb(1).mean()) - 100) <= 2
    assert pictures.stamps[1] == stamps[0]
    assert summary.metrics["brightness/scene"] > 50


def test_a_picture_that_comes_behind_word_of_the_end_is_of_the_episode_that_it_shows(live, make_episode):
    episode = make_episode("a", mode="timeout", seconds=1.0)
    feed(live, ended(episode))
    end = live._context.stamp
    for stamp, level in ((end - 0.02, 50), (end + 0.02, 60)):
        live.add_picture("scene", image(stamp, level), "sensor_msgs/msg/Image", 0)
    (summary,) = live.poll(1.1)
    assert summary.streams["camera/scene/compressed"]["messages"] == 1
    assert abs(int(live._store.read("a", pictures=True).pictures["scene"].rgb(0).mean()) - 50) <= 2
    feed(live, ended(make_episode("b", mode="timeout", seconds=1.0)))
    live.poll(2.2)
    assert abs(int(live._store.read("b", pictures=True).pictures["scene"].rgb(0).mean()) - 60) <= 2


def test_a_camera_that_sends_rubbish_or_little_hurts_nobody(live, make_episode):
    stream = ended(make_episode("a", seconds=1.0))
    live.add(*stream[0][:1], stream[0][2], stream[0][1], 0.0)
    for level in (10, 20):  # two at one instant
        live.add_picture("scene", image(5.0, level), "sensor_msgs/msg/Image", stream[0][1])
    live.add_picture("wrist", picture_message("wrist", 5.2, b"rubbish"), PICTURE_TYPE, stream[0][1])
    feed(live, stream[1:])
    (summary,) = live.poll(1.1)
    assert summary.samples == 100
    assert "brightness/scene" in summary.metrics and "brightness/wrist" not in summary.metrics
    assert live._store.read("a", pictures=True).pictures["wrist"].encoded == [b"rubbish"]


def test_a_clock_that_jumps_costs_no_sample(live, make_episode):
    episode, jumped = make_episode("a", mode="timeout"), make_episode("a", mode="timeout")
    jumped.series["stamp"][300:] -= 1000.0
    late = {peek_u64(data, 0): data for topic, _, data in messages_of(jumped) if topic == "robot_state"}
    stream = [
        (topic, when, late[peek_u64(data, 0)] if topic == "robot_state" else data)
        for topic, when, data in messages_of(episode)
    ]
    feed(live, stream)
    (summary,) = live.poll(1.1)
    assert (summary.samples, summary.lost_samples, summary.complete) == (600, 0, True)
    assert live._store.problems() == {}
