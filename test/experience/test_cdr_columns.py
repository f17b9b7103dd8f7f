"""Columns of serialised messages are what decoding them one by one gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.experience.cdr_columns import CdrColumns, CdrError, encode_columns
from physai_ros.experience.messages import deserialize, message_class, serialize

ACTION = "physai_ros/msg/RobotAction"
STATE = "physai_ros/msg/RobotState"
numbers = st.lists(st.floats(width=64, allow_nan=False), max_size=9).map(lambda v: np.array(v, dtype=float))
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def header(sec=0, nanosec=0, frame="base_link"):
    stamp = message_class("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
    return message_class("std_msgs/msg/Header")(stamp=stamp, frame_id=frame)


@st.composite
def actions(draw):
    time = message_class("builtin_interfaces/msg/Time")(sec=3, nanosec=4)
    return message_class(ACTION)(
        header=header(draw(st.integers(0, 2**31 - 1)), draw(st.integers(0, 10**9 - 1)), draw(words)),
        sequence=draw(st.integers(0, 2**64 - 1)),
        state_sequence=draw(st.integers(0, 2**64 - 1)),
        episode_id=draw(words),
        joint_names=draw(st.lists(words, max_size=4)),
        reference_positions=draw(numbers),
        joint_delta=draw(numbers),
        ee_delta=np.arange(6.0),
        gripper_command=draw(st.floats(-1, 1)),
        observation_stamp=time,
        target_time=time,
        chunk_id=draw(st.integers(0, 2**64 - 1)),
        step=draw(st.integers(0, 2**32 - 1)),
        policy_version=draw(words),
        value=draw(st.floats(width=64, allow_nan=False)),
        uncertainty=0.5,
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(actions(), min_size=1, max_size=6))
def test_columns_hold_what_decoding_one_by_one_gives(messages):
    payloads = [serialize(message, ACTION) for message in messages]
    columns = CdrColumns(ACTION, payloads)
    decoded = [deserialize(payload, ACTION) for payload in payloads]
    for name, dtype in (("sequence", "u8"), ("chunk_id", "u8"), ("step", "u4"), ("gripper_command", "f8")):
        assert columns.number(name, dtype).tolist() == [getattr(m, name) for m in decoded]
    assert columns.number("header.stamp.nanosec", "i8").tolist() == [m.header.stamp.nanosec for m in decoded]
    assert columns.number("value").tolist() == [m.value for m in decoded]
    for name in ("joint_names",):
        assert columns.strings(name) == [tuple(getattr(m, name)) for m in decoded]
    assert columns.strings("policy_version") == [(m.policy_version,) for m in decoded]
    for name in ("reference_positions", "joint_delta", "ee_delta"):
        for row, message in zip(columns.numbers(name), decoded, strict=True):
            given_values = getattr(message, name)
            np.testing.assert_array_equal(row[: len(given_values)], given_values)
            assert np.isnan(row[len(given_values) :]).all()


@settings(deadline=None, max_examples=30)
@given(actions(), st.integers(1, 5))
def test_encoding_columns_is_the_inverse_of_reading_them(template, count):
    generator = np.random.default_rng(count)
    columns = {
        "sequence": generator.integers(0, 2**62, (count, 1)).astype("u8"),
        "ee_delta": generator.normal(size=(count, 6)),
        "reference_positions": generator.normal(size=(count, len(template.reference_positions))),
        "observation_stamp": generator.integers(0, 10**9, (count, 2)).astype("u8"),
    }
    read = CdrColumns(ACTION, encode_columns(ACTION, serialize(template, ACTION), columns))
    for path, values in columns.items():
        np.testing.assert_array_equal(read.numbers(path, values.dtype.str[1:]), values)
    assert read.strings("joint_names") == [tuple(template.joint_names)] * count


def test_no_message_of_the_type_is_refused():
    with pytest.raises(CdrError, match="RobotState"):
        CdrColumns(STATE, [b"\x00\x01\x00\x00" + b"\x01" * 20])
    with pytest.raises(CdrError, match="header"):
        CdrColumns(STATE, [b"nonsense"])


def test_a_column_of_another_width_is_refused():
    time = message_class("builtin_interfaces/msg/Time")(sec=3, nanosec=4)
    template = message_class("std_msgs/msg/Header")(stamp=time, frame_id="")
    with pytest.raises(CdrError, match="3 numbers a message, expected 2"):
        encode_columns("std_msgs/msg/Header", serialize(template, "std_msgs/msg/Header"), {"stamp": np.zeros((1, 3))})
