"""Joints beside the driver's: whoever reports them, they are merged by name, and each says what is wrong with it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.fusion.joint_sources import JointSource, JointSources
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, RobotState

SPEC = RobotSpec.load("fr3_sim")
KINEMATICS = Kinematics(SPEC)
FINGERS = SPEC.gripper.joints
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.permutations(["rail", "lift", "head"]), st.floats(0.0, 0.99))
def test_what_moves_steadily_is_read_exactly_whatever_the_order_of_names(
    seed: int, order: list[str], at: float
) -> None:
    generator = np.random.default_rng(seed)
    start, speed = {n: generator.normal() for n in order}, {n: generator.normal() for n in order}
    source = JointSource(timeout=0.3)
    for stamp in np.linspace(0.0, 1.0, 11):
        positions, velocities = [start[n] + speed[n] * stamp for n in order], [speed[n] for n in order]
        assert source.add(stamp, order, np.array(positions), np.array(velocities)) == ""
    for name, reading in source.readings(at).items():
        np.testing.assert_allclose(reading.values, [start[name] + speed[name] * at, speed[name], np.nan])
        assert (reading.age, reading.reason) == (0.0, "")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["good", "stale", "never"]), min_size=1, max_size=4))
def test_of_several_that_name_a_joint_the_first_that_can_be_used_counts(kinds: list[str]) -> None:
    topics = [f"source_{index}" for index in range(len(kinds))]
    sources = JointSources(topics, timeout=0.1)
    for index, (topic, kind) in enumerate(zip(topics, kinds, strict=True)):
        if kind != "never":
            sources.add(topic, 1.0 if kind == "good" else 0.5, ["rail"], np.array([index]))
    merged = sources.reading(1.05)
    assert [modality.valid for modality in merged.modalities] == [kind == "good" for kind in kinds]
    heard = [index for index, kind in enumerate(kinds) if kind != "never"]
    if heard:
        first = kinds.index("good") if "good" in kinds else heard[0]
        assert merged.joints["rail"].values[0] == first
        assert bool(merged.joints["rail"].reason) == ("good" not in kinds)
    else:
        assert merged.joints == {}


def test_efforts_that_are_not_measured_are_nan_and_those_that_were_must_go_on() -> None:
    source = JointSource(timeout=0.1)
    assert source.add(0.0, ["a", "b"], np.zeros(2), (), np.array([np.nan, 1.0])) == ""
    np.testing.assert_array_equal(source.readings(0.0)["a"].values, [0.0, np.nan, np.nan])
    np.testing.assert_array_equal(source.readings(0.0)["b"].values, [0.0, np.nan, 1.0])
    assert source.add(0.01, ["a", "b"], np.zeros(2), (), np.array([2.0, np.nan])).startswith("not finite")
    assert source.add(0.02, ["a", "b"], np.zeros(2), np.ones(2), np.array([2.0, 3.0])) == ""
    np.testing.assert_array_equal(source.readings(0.02)["a"].values, [0.0, np.nan, np.nan])


def test_two_writers_on_one_topic_may_not_report_one_joint_at_a_time() -> None:
    source = JointSource(timeout=0.1)
    assert source.add(0.0, ["rail"], np.zeros(1)) == ""
    assert source.add(0.0, ["left", "right"], np.ones(2)) == ""
    assert source.add(0.05, ["rail", "lift"], np.ones(2)).startswith("names: rail comes in messages of rail")
    assert source.readings(0.05)["rail"].values[0] == 0.0
    assert source.add(0.2, ["rail", "lift"], np.ones(2)) == ""  # the first has fallen silent
    assert source.readings(0.2)["rail"].values[0] == 1.0
    assert source.modality("joints/all", source.readings(0.2)).reason.startswith("stale")  # left and right are


@pytest.mark.parametrize(
    ("names", "positions", "reason"),
    [
        (["a", "b"], [0.0], "length: 2 joint names with 1 positions"),
        ([], [], "length: 0 joint names"),
        (["a", "a"], [0.0, 1.0], "names: one of a, a comes twice"),
        (["a"], [np.nan], "not finite"),
    ],
)
def test_what_cannot_be_used_is_named(names: list[str], positions: list[float], reason: str) -> None:
    source = JointSource(timeout=0.1)
    assert source.add(0.0, names, np.array(positions)).startswith(reason)
    assert source.modality("joints/a", source.readings(0.0)).reason.startswith(reason)


def test_names_that_never_stay_the_same_are_not_remembered_without_end() -> None:
    source = JointSource(timeout=0.1)
    reasons = [source.add(0.0, [f"joint_{index}"], np.zeros(1)) for index in range(20)]
    assert reasons[:16] == [""] * 16
    assert all(reason.startswith("names: ") for reason in reasons[16:])


def driver_state(**changes: object) -> DriverState:
    home, still = SPEC.home_positions, np.zeros(7)
    state = DriverState(1.0, 1, SPEC.joint_names, home, still, still, home)
    return replace(state, **changes)


def fused(state: DriverState, *samples: tuple[str, list[str], list[float]], moving: bool = True) -> RobotState:
    """The state with samples of 10 ms before from sources."""
    topics = list(dict.fromkeys(topic for topic, _, _ in samples))
    sources = JointSources(topics, timeout=0.25)
    for topic, names, positions in samples:
        rest = (np.full(len(names), 0.1), np.full(len(names), 0.2)) if moving else ()
        sources.add(topic, state.stamp - 0.01, names, np.array(positions), *rest)
    return StateFuser(SPEC, KINEMATICS).fuse(state, None, state.stamp, sources=sources)


def test_the_arms_joints_are_the_drivers_and_others_are_named_beside_them() -> None:
    names = (*SPEC.joint_names, "rail")
    columns = [np.append(values, 0.5) for values in (SPEC.home_positions, np.zeros(7), np.zeros(7))]
    state = driver_state(
        joint_names=names,
        joint_positions=columns[0],
        joint_velocities=columns[1],
        joint_torques=columns[2],
        commanded_positions=columns[0],
    )
    made = fused(state, ("a", ["rail", "fr3_joint1", "lift"], [9.0, 9.0, 0.3]), ("b", ["lift", "head"], [8.0, 0.4]))
    assert made.joint_names == SPEC.joint_names
    np.testing.assert_array_equal(made.joint_positions, SPEC.home_positions)
    assert {name: values[0] for name, values in made.further_joints.items()} == {"rail": 0.5, "lift": 0.3, "head": 0.4}
    assert [each.name for each in made.modalities[-2:]] == ["joints/a", "joints/b"]
    assert made.modality("joints").valid
    assert made.modality("joints/a").age == pytest.approx(0.01)


def test_a_joint_of_the_arm_that_the_driver_lacks_is_taken_from_a_source() -> None:
    kept = [0, 1, 2, 4, 5, 6]
    fields = ("joint_positions", "joint_velocities", "joint_torques", "commanded_positions")
    whole = driver_state()
    state = replace(
        whole,
        joint_names=tuple(SPEC.joint_names[i] for i in kept),
        **{name: getattr(whole, name)[kept] for name in fields},
    )
    home = float(SPEC.home_positions[3])
    made = fused(state, ("elbow", ["fr3_joint4"], [home]))
    assert made.modality("joints").valid
    assert made.modality("joints").age == pytest.approx(0.01)
    np.testing.assert_array_equal(made.joint_positions, SPEC.home_positions)
    np.testing.assert_array_equal(made.commanded_positions, SPEC.home_positions)
    assert (made.joint_velocities[3], made.joint_torques[3]) == (0.1, 0.2)
    assert made.further_joints == {}
    assert fused(state).modality("joints").reason == "joints missing: fr3_joint4"
    still = fused(state, ("elbow", ["fr3_joint4"], [home]), moving=False)
    assert still.modality("joints").reason == "velocity of fr3_joint4 is not finite"
    assert fused(state, ("elbow", ["fr3_joint4"], [np.degrees(home)])).modality("joints").reason.startswith("range:")


@pytest.mark.parametrize(("left", "reason"), [(0.02, ""), (20.0, "units:"), (0.2, "range:"), (-9.0, "range:")])
def test_the_gripper_opens_as_far_as_its_fingers_say(left: float, reason: str) -> None:
    made = fused(driver_state(gripper_width=0.0), ("hand", [*FINGERS], [left, left]))
    gripper = made.modality("gripper")
    assert gripper.reason.startswith(reason)
    assert gripper.valid == (not reason)
    if not reason:
        assert (made.gripper_width, gripper.age) == (2 * left, pytest.approx(0.01))


def test_without_all_fingers_the_gripper_is_the_drivers() -> None:
    made = fused(driver_state(gripper_width=0.07), ("hand", [FINGERS[0]], [0.01]))
    assert made.gripper_width == 0.07
    assert made.modality("gripper").valid
