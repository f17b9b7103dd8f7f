"""Laws of the conversions: what goes to a message and over the wire comes back the same."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message

from physai_ros import msg
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.robot.action import ActionChunk, Intervention, RobotAction
from physai_ros.robot.state import DriverFault, DriverMode, DriverState, Modality, ObjectStates, RobotState
from physai_ros.ros.conversions import from_message, outcome_message, to_message
from physai_ros.ros.stamps import seconds_of, split_seconds
from physai_ros.safety.command import CommandSource, SafeCommand, StopTrajectory
from physai_ros.tasks.task import FAILURE_MODES, Outcome

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)
# A whole number of microseconds is an instant that messages hold exactly.
STAMPS = st.integers(0, 2_000_000_000_000_000).map(lambda microseconds: microseconds / 1_000_000)
COUNTS = st.integers(0, 2**63)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
NAMES = st.lists(TEXTS, max_size=4, unique=True).map(tuple)


def vectors(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=NUMBERS)


@st.composite
def driver_states(draw: st.DrawFn) -> DriverState:
    names = draw(NAMES)
    n = len(names)
    return DriverState(
        draw(STAMPS), draw(COUNTS), names, *(draw(vectors(n)) for _ in range(4)), draw(vectors(6)), draw(st.booleans()),
        draw(vectors(2)), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(st.sampled_from(DriverMode)),
        draw(st.sampled_from(DriverFault)), draw(TEXTS), *(draw(vectors(n)) for _ in range(4)), draw(NUMBERS),
        draw(COUNTS), draw(COUNTS), draw(st.booleans()),
    )  # fmt: skip


@st.composite
def object_states(draw: st.DrawFn) -> ObjectStates:
    names = draw(NAMES)
    return ObjectStates(draw(STAMPS), draw(COUNTS), names, draw(vectors(len(names), 3)), draw(vectors(len(names), 4)))


@st.composite
def robot_states(draw: st.DrawFn) -> RobotState:
    names = draw(NAMES)
    n = len(names)
    modalities = tuple(Modality(name, draw(st.booleans()), draw(NUMBERS), draw(TEXTS)) for name in draw(NAMES))
    return RobotState(
        draw(STAMPS), draw(COUNTS), names, *(draw(vectors(n)) for _ in range(4)), draw(vectors(3)), draw(vectors(4)),
        draw(vectors(6)), draw(vectors(6)), draw(vectors(2)), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS),
        {name: draw(vectors(7)) for name in draw(NAMES)}, modalities,
        further_joints={name: draw(vectors(3)) for name in (draw(NAMES) if n else ())},
    )  # fmt: skip


@st.composite
def robot_actions(draw: st.DrawFn) -> RobotAction:
    names = draw(NAMES)
    n = len(names)
    return RobotAction(
        draw(STAMPS), draw(COUNTS), draw(COUNTS), names, draw(vectors(n)), draw(vectors(n)), draw(vectors(6)),
        draw(NUMBERS), draw(TEXTS), draw(STAMPS), draw(STAMPS), draw(COUNTS), draw(st.integers(0, 2**32 - 1)),
        draw(TEXTS), draw(NUMBERS), draw(NUMBERS),
    )  # fmt: skip


@st.composite
def action_chunks(draw: st.DrawFn) -> ActionChunk:
    steps = draw(st.integers(0, 5))
    return ActionChunk(
        draw(STAMPS), draw(COUNTS), draw(COUNTS), draw(NUMBERS), draw(vectors(steps, 6)), draw(vectors(steps)),
        draw(TEXTS), draw(STAMPS), draw(TEXTS), draw(NUMBERS), draw(NUMBERS),
    )  # fmt: skip


@st.composite
def safe_commands(draw: st.DrawFn) -> SafeCommand:
    names = draw(st.lists(TEXTS, min_size=1, max_size=4).map(tuple))
    n = len(names)
    stop = StopTrajectory(draw(NUMBERS), draw(vectors(draw(st.integers(0, 4)), n)))
    return SafeCommand(
        draw(STAMPS), draw(COUNTS), draw(COUNTS), draw(COUNTS), names, draw(vectors(n)), draw(vectors(n)),
        draw(NUMBERS), draw(NUMBERS), draw(st.sampled_from(CommandSource)), stop, draw(TEXTS), draw(TEXTS),
        draw(st.booleans()), draw(NAMES),
    )  # fmt: skip


INTERVENTIONS = st.builds(Intervention, STAMPS, st.booleans(), NUMBERS, TEXTS, robot_actions())
CONTEXTS = st.builds(
    EpisodeContext, TEXTS, st.sampled_from(Phase), st.sampled_from(Purpose), TEXTS, TEXTS,
    st.lists(NUMBERS, max_size=4).map(tuple), TEXTS, COUNTS, TEXTS, TEXTS, COUNTS, TEXTS, STAMPS,
)  # fmt: skip
OUTCOMES = st.builds(
    Outcome, st.booleans(), st.booleans(), NUMBERS, st.sampled_from(FAILURE_MODES), TEXTS,
    st.dictionaries(TEXTS, NUMBERS, max_size=4),
)  # fmt: skip


def same(left: object, right: object) -> bool:
    """Equal in every bit that counts: NaN equals NaN, shapes and types are the same."""
    if type(left) is not type(right):
        return False
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, np.ndarray):
        return left.shape == right.shape and left.dtype == right.dtype and np.array_equal(left, right, equal_nan=True)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (left != left and right != right)  # noqa: PLR0124 - NaN


def over_the_wire(message: object) -> object:
    return deserialize_message(serialize_message(message), type(message))


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        driver_states(), object_states(), robot_states(), robot_actions(), action_chunks(), INTERVENTIONS,
        safe_commands(), CONTEXTS,
    )
)  # fmt: skip
def test_what_goes_over_the_wire_comes_back_the_same(value: object) -> None:
    assert same(from_message(over_the_wire(to_message(value))), value)


@settings(max_examples=30, deadline=None)
@given(OUTCOMES, STAMPS, TEXTS, COUNTS)
def test_an_outcome_comes_back_the_same(outcome: Outcome, stamp: float, episode_id: str, sequence: int) -> None:
    message = over_the_wire(outcome_message(outcome, stamp=stamp, episode_id=episode_id, state_sequence=sequence))
    assert same(from_message(message), outcome)
    assert (seconds_of(message.header.stamp), message.episode_id, message.state_sequence) == (
        stamp,
        episode_id,
        sequence,
    )


@given(st.floats(-(2.0**31), 2.0**31 - 1, allow_nan=False))
def test_an_instant_moves_by_half_a_nanosecond_at_most_and_only_once(instant: float) -> None:
    def there_and_back(value: float) -> float:
        message = msg.DriverState()
        message.header.stamp.sec, message.header.stamp.nanosec = split_seconds(value)
        return seconds_of(message.header.stamp)

    once = there_and_back(instant)
    assert abs(once - instant) <= 0.5e-9 + np.spacing(abs(instant))
    assert there_and_back(once) == once


@given(st.integers(0, 4 * 10**8))  # 46 days; a double resolves nanoseconds no longer than that
def test_the_instant_of_a_cycle_is_exact(cycle: int) -> None:
    sec, nanosec = split_seconds(cycle / 100)
    assert sec * 10**9 + nanosec == cycle * 10**7


@pytest.mark.parametrize("instant", [float("nan"), float("inf"), 1e12])
def test_an_instant_that_is_none_is_refused(instant: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        split_seconds(instant)


def test_further_joints_stand_behind_the_arms_which_alone_have_a_set_point() -> None:
    arm, rail = np.arange(2.0), np.array([0.5, np.nan, 3.0])
    state = RobotState(0.0, 1, ("a", "b"), arm, arm, arm, arm, *(np.zeros(n) for n in (3, 4, 6, 6, 0)), 0.0, 0.0, 0.0)
    state.further_joints = {"rail": rail}
    message = to_message(state)
    assert message.joint_names == ["a", "b", "rail"]
    assert message.joint_positions.tolist() == [0.0, 1.0, 0.5]
    assert message.commanded_positions.tolist() == [0.0, 1.0]
    message.joint_positions = [0.0, 1.0]  # whoever writes fewer numbers than names is read as far as he goes
    assert from_message(message).joint_names == ("a", "b")
    assert from_message(message).further_joints == {}


def test_quaternions_are_wxyz_inside_and_xyzw_outside() -> None:
    states = ObjectStates(0.0, 1, ("cube",), np.zeros((1, 3)), np.array([[0.1, 0.2, 0.3, 0.4]]))
    turn = to_message(states).poses[0].orientation
    assert (turn.w, turn.x, turn.y, turn.z) == (0.1, 0.2, 0.3, 0.4)


def test_messages_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names and 0 poses"):
        from_message(msg.ObjectStates(names=["a", "b"]))
    with pytest.raises(ValueError, match="expected 12 and 2"):
        from_message(msg.ActionChunk(steps=2))
    command = msg.SafeCommand(joint_names=["a", "b"])
    command.stop.samples = 2
    command.stop.positions = [0.0] * 3
    with pytest.raises(ValueError, match="multiple of its 2 rows"):
        from_message(command)
    with pytest.raises(TypeError, match="known are"):
        to_message(3)


@pytest.mark.parametrize("wrong", [1.0, np.zeros(5), np.zeros((1, 6))])
def test_a_displacement_of_another_length_never_reaches_the_middleware(wrong: object) -> None:
    action = RobotAction(0.0, 1, 1, ("a",), np.zeros(1), np.zeros(1), wrong)
    with pytest.raises(ValueError, match=r"ee_delta has the shape .*; expected \(6,\)"):
        to_message(action)
