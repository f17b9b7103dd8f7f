"""Files of episodes: round trips, cuts, other readers."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from physai_ros.experience.episode import Phase, Purpose
from physai_ros.experience.episode_file import read_episode, write_episode
from physai_ros.experience.episode_messages import messages_of
from physai_ros.experience.messages import PICTURE_TYPE, TOPIC_TYPES, deserialize, seconds_of, serialize, time_of
from physai_ros.experience.pictures import Pictures, encode_picture
from physai_ros.experience.recording import EpisodeRecorder, RecordingError
from physai_ros.experience.summary import EpisodeSummary

shapes = st.fixed_dictionaries(
    {
        "samples": st.integers(1, 30),
        "joints": st.integers(1, 8),
        "pads": st.integers(0, 3),
        "objects": st.integers(0, 3),
        "seed": st.integers(0, 2**32),
        "purpose": st.sampled_from(Purpose),
        "instruction": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
        "lost": st.lists(st.integers(0, 29), max_size=3, unique=True).map(tuple),
    }
)


@settings(deadline=None, max_examples=40)
@given(shapes)
def test_what_is_written_is_read_back_to_the_last_bit(make_episode, same, shape):
    if set(range(shape["samples"])) <= set(shape["lost"]):
        shape["lost"] = ()
    episode = make_episode(**shape)
    with tempfile.TemporaryDirectory() as folder:
        path = write_episode(Path(folder) / "e.mcap", episode)
        same(episode, read_episode(path))


@given(st.floats(0, 4e9))
def test_an_instant_comes_back_within_half_a_nanosecond(seconds):
    assert abs(seconds_of(*time_of(seconds)) - seconds) <= 0.5e-9 + np.spacing(seconds)


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_an_instant_on_the_wire_is_a_float_and_back(sec, nanosec):
    seconds = seconds_of(sec, nanosec)
    assert seconds_of(*time_of(seconds)) == seconds


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0, 1))
def test_a_file_cut_off_anywhere_holds_the_beginning(make_episode, share):
    episode = make_episode(samples=120)
    with tempfile.TemporaryDirectory() as folder:
        recorder = EpisodeRecorder(Path(folder) / "e.mcap", flush_period=float("inf"))
        flushed = [(0, 0)]
        states = 0
        for index, (topic, log_time, data) in enumerate(messages_of(episode)):
            recorder.append(topic, TOPIC_TYPES[topic], log_time, data)
            states += topic == "robot_state"
            if index % 20 == 0:
                recorder.flush()
                flushed.append((recorder.partial.stat().st_size, states))
        whole = recorder.finish(EpisodeSummary.of(episode).to_dict()).read_bytes()
        cut = Path(folder) / "cut.mcap"
        length = int(share * (len(whole) - 1))
        cut.write_bytes(whole[:length])
        certain = max(count for size, count in flushed if size <= length)
        if length < flushed[1][0]:
            with pytest.raises(RecordingError):
                read_episode(cut)
            return
        part = read_episode(cut)
        assert len(part) >= certain
        assert not part.complete
        for name, column in part.series.items():
            if not len(part) or name.startswith(("command_", "action_")):
                continue  # the last sample's answer may lie behind the cut
            np.testing.assert_array_equal(column, episode.series[name][: len(part)])


def test_the_plain_mcap_reader_and_rosbags_read_the_file(make_episode, tmp_path):
    episode = make_episode(samples=25)
    picture = encode_picture(np.full((24, 32, 3), 90, dtype=np.uint8))
    episode.pictures = {"wrist": Pictures(episode.series["stamp"][::5], [picture] * 5)}
    path = write_episode(tmp_path / "e.mcap", episode)
    expected = episode.series["joint_positions"]
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        by_mcap = [m.decoded_message for m in reader.iter_decoded_messages(topics=["/robot_state"])]
        assert reader.get_summary().statistics.message_count > 50
    np.testing.assert_array_equal([m.joint_positions for m in by_mcap], expected)
    with AnyReader([path]) as reader:
        assert {c.msgtype for c in reader.connections} <= {*TOPIC_TYPES.values(), PICTURE_TYPE}
        pictures = [c for c in reader.connections if c.topic == "/camera/wrist/compressed"]
        seen = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(connections=pictures)]
        states = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages() if c.topic.endswith("robot_state")
        ]
    np.testing.assert_array_equal([m.joint_positions for m in states], expected)
    assert [(m.format, m.data.tobytes()) for m in seen] == [("jpeg", picture)] * 5
    assert len(read_episode(path).pictures) == 0
    assert read_episode(path, pictures=True).pictures["wrist"].encoded == [picture] * 5


def test_joints_beside_the_arms_stay_in_the_file_and_out_of_the_episode(make_episode, same, tmp_path):
    episode, kind = make_episode(samples=20), TOPIC_TYPES["robot_state"]
    recorder = EpisodeRecorder(tmp_path / "e.mcap")
    for index, (topic, log_time, data) in enumerate(messages_of(episode)):
        if topic == "robot_state" and index > 10:  # they were heard of later
            state = deserialize(data, kind)
            state.joint_names = [*state.joint_names, "rail"]
            for name in ("joint_positions", "joint_velocities", "joint_torques"):
                setattr(state, name, np.append(getattr(state, name), 0.5))
            data = serialize(state, kind)
        recorder.append(topic, TOPIC_TYPES[topic], log_time, data)
    recorder.finish(EpisodeSummary.of(episode).to_dict())
    same(episode, read_episode(tmp_path / "e.mcap"))


def test_what_lies_outside_the_episode_is_trimmed_and_repeats_count_once(make_episode, tmp_path):
    episode = make_episode(samples=50)
    start = episode.context.start_sequence + 10
    stream = []
    for topic, log_time, data in messages_of(episode):
        stream.append((topic, log_time, data))
        if topic == "robot_state":
            stream.append((topic, log_time, data))  # lock-step repeats what is not answered
    shifted = make_episode(samples=1, start_sequence=start, stamp=episode.context.stamp)
    contexts = [entry for entry in messages_of(shifted) if entry[0] == "episode"]
    recorder = EpisodeRecorder(tmp_path / "e.mcap")
    for topic, log_time, data in [contexts[0], *(e for e in stream if e[0] != "episode"), contexts[1]]:
        recorder.append(topic, TOPIC_TYPES[topic], log_time, data)
    recorder.finish({})
    read = read_episode(tmp_path / "e.mcap")
    np.testing.assert_array_equal(read.series["sequence"], episode.series["sequence"][10:])
    np.testing.assert_array_equal(read.series["action_ee_delta"], episode.series["action_ee_delta"][10:])
    assert read.lost_samples == 0


def test_a_label_takes_the_place_of_the_tests_verdict(make_episode, tmp_path):
    episode = make_episode(end_reason="label")
    stream = list(messages_of(episode))
    verdict = deserialize(next(d for t, _, d in stream if t == "task_outcome"), TOPIC_TYPES["task_outcome"])
    label = replace(verdict, success=False, failure_mode="unknown", stage="label", state_sequence=0)
    recorder = EpisodeRecorder(tmp_path / "e.mcap")
    for topic, when, data in [
        *stream,
        ("task_outcome", stream[-1][1], serialize(label, TOPIC_TYPES["task_outcome"])),
    ]:
        recorder.append(topic, TOPIC_TYPES[topic], when, data)
    recorder.finish({})
    read = read_episode(tmp_path / "e.mcap")
    assert not read.outcome.success
    assert len(read) == len(episode)


def test_an_unfinished_episode_says_so(make_episode, tmp_path):
    episode = make_episode(phase=Phase.RUNNING, end_reason="")
    episode.complete = False
    assert not read_episode(write_episode(tmp_path / "e.mcap", episode)).complete


def test_another_file_is_refused_in_one_line(tmp_path):
    foreign = tmp_path / "e.mcap"
    foreign.write_bytes(b"not at all")
    with pytest.raises(RecordingError, match="is no MCAP file"):
        read_episode(foreign)
    with pytest.raises(RecordingError, match="No such file"):
        read_episode(tmp_path / "none.mcap")


def test_an_episode_is_written_once(make_episode, tmp_path):
    write_episode(tmp_path / "e.mcap", make_episode())
    with pytest.raises(RecordingError, match="exists"):
        write_episode(tmp_path / "e.mcap", make_episode())
