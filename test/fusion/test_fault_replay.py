"""A recording with every kind of fault at a known instant: what each sense says at every instant, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.interfaces import Nodetype

from physai_ros.experience.messages import NANOSECONDS, deserialize, message_class, seconds_of, serialize, typestore
from physai_ros.experience.pictures import decode_picture
from physai_ros.experience.recording import EpisodeRecorder
from physai_ros.fusion.camera_timeline import DEPTH, CameraTimeline
from physai_ros.fusion.depth import depth_of
from physai_ros.fusion.intrinsics import Intrinsics
from physai_ros.fusion.joint_sources import JointSources
from physai_ros.fusion.senses import Senses
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.fusion.tactile import TactilePads
from physai_ros.fusion.wrist import WristSensor
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, ObjectStates, RobotState

SPEC = RobotSpec.load("fr3_sim")
BEGIN = 10.0  # [s], of cycle 0; a cycle is 10 ms
DRIVER, OBJECTS, WRENCH, JOINTS, TAXELS = "driver_state", "objects", "wrench", "hand/joint_states", "tactile"
PICTURES, DEPTHS, INFO = "camera/scene/compressed", "camera/scene/depth/image_raw", "camera/scene/depth/camera_info"
TYPES = {
    DRIVER: "physai_ros/msg/DriverState",
    OBJECTS: "physai_ros/msg/ObjectStates",
    WRENCH: "geometry_msgs/msg/WrenchStamped",
    JOINTS: "sensor_msgs/msg/JointState",
    TAXELS: "std_msgs/msg/Float32MultiArray",
    PICTURES: "sensor_msgs/msg/CompressedImage",
    DEPTHS: "sensor_msgs/msg/Image",
    INFO: "sensor_msgs/msg/CameraInfo",
}
# Every how many cycles each writes, and how long before the joint sample of that cycle [s].
RHYTHM = {
    INFO: (4, 0.006),
    DEPTHS: (4, 0.0055),
    PICTURES: (4, 0.005),
    OBJECTS: (5, 0.003),
    WRENCH: (1, 0.002),
    JOINTS: (2, 0.001),
    TAXELS: (2, 0.0005),
    DRIVER: (1, 0.0),
}
MODALITIES = ["joints", "wrench", "contacts", "gripper", "objects", f"joints/{JOINTS}", "camera/scene"]
MODALITIES += ["camera/scene/depth"]


Message = Any
"""A message of rosbags'; its class is made at run time."""


def blank(type_name: str) -> Message:
    """A message with nothing in it."""

    def empty(kind: tuple) -> object:
        node, what = kind
        if node == Nodetype.NAME:
            return blank(what)
        if node == Nodetype.BASE:
            return "" if what[0] == "string" else what[0] == "bool" if what[0] == "bool" else 0
        (element, name), size = what
        if element == Nodetype.BASE and name[0] != "string":
            return np.zeros(size, dtype=name[0])
        return []

    fields = typestore().fielddefs[type_name][1]
    return message_class(type_name)(**{name: empty(kind) for name, kind in fields})


def set_stamp(message: Message, stamp: float) -> None:
    nanoseconds = round(stamp * NANOSECONDS)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, NANOSECONDS)


def stamp_of(message: Message) -> float:
    return seconds_of(message.header.stamp.sec, message.header.stamp.nanosec)


def healthy(topic: str, cycle: int) -> Message:
    """What a writer writes in a cycle when nothing is wrong."""
    made = blank(TYPES[topic])
    if topic != TAXELS:
        set_stamp(made, BEGIN + cycle / 100 - RHYTHM[topic][1])
    turn = 0.1 * np.sin(cycle / 50)
    if topic == DRIVER:
        made.sequence, made.joint_names = cycle + 1, list(SPEC.joint_names)
        made.joint_positions = made.commanded_positions = SPEC.home_positions + turn
        made.joint_velocities = made.joint_torques = np.zeros(7)
        made.gripper_command = 1.0
    elif topic == OBJECTS:
        pose = blank("geometry_msgs/msg/Pose")
        pose.position.x, pose.position.z, pose.orientation.w = 0.4 + turn, 0.02, 1.0
        made.names, made.poses = ["cube"], [pose]
    elif topic == WRENCH:
        made.wrench.force.z = turn
    elif topic == JOINTS:
        made.name = [*SPEC.gripper.joints, "rail"]
        made.position, made.effort = np.array([0.02, 0.02, turn]), np.full(3, np.nan)
    elif topic == TAXELS:
        made.data = np.full(8, 0.5, dtype=np.float32)
    elif topic == PICTURES:
        made.format, made.data = "png", np.frombuffer(PNG, dtype=np.uint8)
    elif topic == DEPTHS:
        made.encoding, made.height, made.width, made.step = "16UC1", 6, 8, 16
        made.data = np.full(48, 700, dtype=np.uint16).view(np.uint8)
    elif topic == INFO:
        made.height, made.width, made.k = 6, 8, np.array([10.0, 0, 4, 0, 10, 3, 0, 0, 1])
    return made


PNG = cv2.imencode(".png", np.zeros((6, 8, 3), np.uint8))[1].tobytes()
Change = Callable[[Message], list[Message]]


class Fault(NamedTuple):
    """From a cycle on, `length` cycles long, a topic's messages are others.

    `expected` says of a modality from which to which cycle after the first it is invalid, the last not counted, and
    how its reason begins; `refused` are the reasons of messages that are refused, `lost` the cycles without a state.
    """

    topic: str
    length: int
    change: Change
    expected: tuple[tuple[str, int, int, str], ...] = ()
    refused: tuple[str, ...] = ()
    lost: tuple[int, ...] = ()


def with_fields(**fields: object) -> Change:
    """The message with other fields, by path with underscores doubled; a function makes a field of what it was."""

    def change(message: Message) -> list[Message]:
        for path, value in fields.items():
            *parents, name = path.split("__")
            owner = message
            for parent in parents:
                owner = owner[int(parent)] if parent.isdigit() else getattr(owner, parent)
            setattr(owner, name, value(getattr(owner, name)) if callable(value) else value)
        return [message]

    return change


def shifted(seconds: float) -> Change:
    def change(message: Message) -> list[Message]:
        set_stamp(message, stamp_of(message) + seconds)
        return [message]

    return change


def silent(_message: Message) -> list[Message]:
    return []


def twice(message: Message) -> list[Message]:
    return [message, copy.deepcopy(message)]


def swapped() -> Change:
    """The first of two comes behind the second."""
    held: list[Message] = []

    def change(message: Message) -> list[Message]:
        if not held:
            held.append(message)
            return []
        return [message, held.pop()]

    return change


def also(change: Change) -> Change:
    """What comes is followed by itself, changed."""
    return lambda message: [message, *change(copy.deepcopy(message))]


def number(index: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def put(values: np.ndarray) -> np.ndarray:
        values = np.array(values)
        values[index] = value
        return values

    return put


NAN = float("nan")
ALL_BUT_JOINTS = ("wrench", "contacts", "gripper", "objects", f"joints/{JOINTS}", "camera/scene", "camera/scene/depth")
# By what a modality says when it lies far ahead of the joint sample, and when it lies far behind.
AHEAD = dict(zip(ALL_BUT_JOINTS, ("ahead:",) * 3 + ("stamp lies", "ahead:") + ("picture lies",) * 2, strict=True))
BEHIND = dict(zip(ALL_BUT_JOINTS, ("stale:",) * 3 + ("stamp is", "stale:") + ("picture is",) * 2, strict=True))
HAND = f"joints/{JOINTS}"
METRES = {"encoding": "32FC1", "step": 32}


def depths(millimetres: float) -> Change:
    return with_fields(**METRES, data=np.full(48, millimetres, dtype=np.float32).view(np.uint8))


def jumps(*cycles: int) -> tuple[tuple[str, int, int, str], ...]:
    return tuple(("joints", cycle, cycle + 1, "jump:") for cycle in cycles)


def hand(begin: int, end: int, reason: str) -> tuple[tuple[str, int, int, str], ...]:
    """The hand's joints are the gripper's opening."""
    return (HAND, begin, end, reason), ("gripper", begin, end, reason)


FAULTS = [
    Fault(WRENCH, 1, also(shifted(-0.9)), refused=("late",)),  # which needs a short memory, so it comes early
    # The driver's joints.
    Fault(DRIVER, 1, with_fields(joint_positions=number(2, NAN)), (("joints", 0, 1, "position of fr3_joint3 is not"),)),
    Fault(DRIVER, 2, with_fields(joint_velocities=number(6, NAN)), (("joints", 0, 2, "velocity of fr3_joint7"),)),
    Fault(DRIVER, 1, with_fields(joint_positions=lambda v: v[:6]), (("joints", 0, 1, "7 joint names with [6, 7"),)),
    Fault(DRIVER, 1, with_fields(joint_names=lambda v: [*v[:6], "elbow"]), (("joints", 0, 1, "joints missing: fr3"),)),
    Fault(DRIVER, 3, with_fields(joint_positions=np.degrees), (("joints", 0, 3, "units:"),)),
    Fault(DRIVER, 1, with_fields(joint_positions=number(0, 900.0)), (("joints", 0, 1, "range:"),)),
    Fault(DRIVER, 1, with_fields(joint_positions=lambda v: v + 0.4), jumps(0)),
    Fault(DRIVER, 3, with_fields(joint_positions=lambda v: v + 0.4), jumps(0, 3)),  # there and back
    Fault(DRIVER, 1, with_fields(gripper_force=NAN), (("gripper", 0, 1, "width, force or command is not finite"),)),
    Fault(DRIVER, 1, twice),
    Fault(DRIVER, 2, swapped(), lost=(0,)),
    Fault(
        DRIVER,
        1,
        shifted(-2.0),
        (("joints", 0, 1, "stamp went back"), *((name, 0, 1, why) for name, why in AHEAD.items())),
    ),
    Fault(
        DRIVER,
        1,
        shifted(2.0),
        (("joints", 1, 2, "stamp went back"), *((name, 0, 1, why) for name, why in BEHIND.items())),
    ),
    # Objects: each message is believed until the next, 5 cycles later.
    Fault(OBJECTS, 5, with_fields(poses__0__position__x=NAN), (("objects", 0, 5, "pose of cube is not"),)),
    Fault(OBJECTS, 5, with_fields(poses__0__orientation__w=0.0), (("objects", 0, 5, "pose of cube is not"),)),
    Fault(OBJECTS, 5, with_fields(names=["ball"]), (("objects", 0, 5, "not seen: cube"),)),
    Fault(OBJECTS, 5, with_fields(names=["cube", "ball"]), (("objects", 0, 5, "2 names with 1 poses"),)),
    Fault(OBJECTS, 5, with_fields(poses__0__position__x=400.0), (("objects", 0, 5, "units:"),)),
    Fault(OBJECTS, 5, with_fields(poses__0__position__x=6000.0), (("objects", 0, 5, "range:"),)),
    Fault(OBJECTS, 5, shifted(1.0), (("objects", 0, 5, "stamp lies"),)),
    Fault(OBJECTS, 10, swapped()),
    Fault(OBJECTS, 40, silent, (("objects", 20, 40, "stamp is"),)),
    # The wrist sensor: held for 50 ms.
    Fault(WRENCH, 1, with_fields(wrench__force__x=NAN), refused=("not finite",)),
    Fault(WRENCH, 10, with_fields(wrench__force__x=NAN), (("wrench", 4, 10, "not finite:"),), ("not finite",) * 10),
    Fault(WRENCH, 1, twice, refused=("duplicate",)),
    Fault(WRENCH, 2, swapped()),
    Fault(WRENCH, 10, silent, (("wrench", 4, 10, "stale:"),)),
    Fault(WRENCH, 5, shifted(5.0), (("wrench", 0, 5, "ahead:"),)),
    Fault(WRENCH, 5, shifted(-5.0), (("wrench", 0, 5, "stale:"),)),
    Fault(WRENCH, 1, shifted(0.305), (("wrench", 0, 21, "gap:"),)),  # until it is 0.1 s ahead
    # Further joints: held for 0.1 s; they are the gripper's fingers, too.
    Fault(JOINTS, 20, with_fields(position=number(1, NAN)), hand(8, 20, "not finite:"), ("not finite",) * 10),
    Fault(JOINTS, 20, with_fields(position=lambda v: v[:2]), hand(8, 20, "length:"), ("length",) * 10),
    Fault(JOINTS, 2, also(with_fields(name=lambda v: [*v[:2], "lift"])), refused=("names",)),
    Fault(JOINTS, 2, twice, refused=("duplicate",)),
    Fault(JOINTS, 4, swapped()),
    Fault(JOINTS, 20, silent, hand(8, 20, "stale:")),
    Fault(JOINTS, 2, shifted(5.0), hand(0, 2, "ahead:")),
    Fault(JOINTS, 10, with_fields(position=lambda v: 1e3 * v), (("gripper", 0, 10, "units:"),)),
    Fault(JOINTS, 10, with_fields(position=lambda v: v + 0.1), (("gripper", 0, 10, "range:"),)),
    # Taxels: held for 0.1 s.
    Fault(TAXELS, 20, with_fields(data=number(3, NAN)), (("contacts", 8, 20, "not finite:"),), ("not finite",) * 10),
    Fault(TAXELS, 20, with_fields(data=lambda v: v[:7]), (("contacts", 8, 20, "length:"),), ("length",) * 10),
    Fault(TAXELS, 20, with_fields(data=lambda v: 1e3 * v), (("contacts", 8, 20, "range:"),), ("range",) * 10),
    Fault(TAXELS, 20, silent, (("contacts", 8, 20, "stale:"),)),
    # Pictures: held for 0.25 s.
    Fault(PICTURES, 40, silent, (("camera/scene", 21, 40, "picture is"),)),
    Fault(PICTURES, 40, with_fields(data=lambda v: 0 * v[:9]), (("camera/scene", 21, 40, "9 bytes are"),), ("9",) * 10),
    Fault(PICTURES, 4, shifted(5.0), (("camera/scene", 0, 4, "picture lies"),)),
    Fault(PICTURES, 4, twice, refused=("dropped",)),
    Fault(PICTURES, 8, swapped(), refused=("dropped",)),
    Fault(DEPTHS, 40, silent, (("camera/scene/depth", 21, 40, "picture is"),)),
    Fault(DEPTHS, 40, depths(700.0), (("camera/scene/depth", 21, 40, "units:"),), ("units",) * 10),
    Fault(DEPTHS, 40, depths(NAN), (("camera/scene/depth", 21, 40, "not finite:"),), ("not finite",) * 10),
    Fault(DEPTHS, 40, with_fields(encoding="8UC1"), (("camera/scene/depth", 21, 40, "depth enc"),), ("depth",) * 10),
    Fault(DEPTHS, 4, shifted(5.0), (("camera/scene/depth", 0, 4, "picture lies"),)),
    Fault(DEPTHS, 4, twice, refused=("dropped",)),
    Fault(DEPTHS, 8, swapped(), refused=("dropped",)),
    Fault(INFO, 4, with_fields(width=16), (("camera/scene/depth", 0, 4, "calibration:"),)),
    Fault(INFO, 4, with_fields(k=np.zeros(9)), (("camera/scene/depth", 0, 4, "calibration:"),)),
    # A driver that starts again counts anew.
    Fault(DRIVER, 20, with_fields(sequence=lambda n: n % 20 + 1)),
]  # fmt: skip
BEFORE = 20  # cycles in which nothing but the driver is heard


def first_cycles() -> list[int]:
    """Cycle in which each fault begins, and the last of all: every fault is over for a while before the next."""
    starts = [2 * BEFORE]
    for fault in FAULTS:
        over = max([fault.length, *(end for _, _, end, _ in fault.expected)])
        starts.append(starts[-1] + 20 * (1 + over // 20))
    return starts


*STARTS, CYCLES = first_cycles()


def recorded(path: Path) -> Path:
    """The recording with all faults."""
    recorder = EpisodeRecorder(path)
    starts = dict(zip(STARTS, FAULTS, strict=True))
    active, began = FAULTS[0], CYCLES
    for cycle in range(CYCLES):
        if cycle in starts:
            active, began = starts[cycle], cycle
        for topic, (every, before) in RHYTHM.items():
            if cycle % every or (cycle < BEFORE and topic != DRIVER):
                continue
            messages = [healthy(topic, cycle)]
            if active.topic == topic and 0 <= cycle - began < active.length:
                messages = active.change(messages[0])
            when = round((BEGIN + cycle / 100 - before) * NANOSECONDS)
            for place, message in enumerate(messages):
                recorder.append(topic, TYPES[topic], when + place, serialize(message, TYPES[topic]))
    return recorder.finish({})


def made_senses() -> Senses:
    return Senses(
        StateFuser(SPEC, Kinematics(SPEC), ("cube",)),
        wrist=WristSensor(),
        joints=JointSources([JOINTS], timeout=0.1),
        tactile=TactilePads(2, timeout=0.1, largest=350.0),
        colour=CameraTimeline(("scene",), 6, 8),
        depth=CameraTimeline(("scene",), 6, 8, kind=DEPTH),
    )


def driver_state(message: Message) -> DriverState:
    named = ("joint_positions", "joint_velocities", "joint_torques", "commanded_positions", "contact_forces")
    named += ("sequence", "gripper_width", "gripper_force", "gripper_command")
    values = {name: getattr(message, name) for name in named}
    return DriverState(stamp=stamp_of(message), joint_names=tuple(message.joint_names), **values)


def object_states(message: Message) -> ObjectStates:
    positions = [[p.position.x, p.position.y, p.position.z] for p in message.poses]
    turns = [[p.orientation.w, p.orientation.x, p.orientation.y, p.orientation.z] for p in message.poses]
    return ObjectStates(stamp_of(message), message.sequence, tuple(message.names), np.array(positions), np.array(turns))


def replayed(path: Path, senses: Senses) -> Iterator[tuple[int, str, RobotState | str | None]]:
    """Cycle, topic, and the state or the reason of a refusal that each message makes, in the order of recording."""
    with open(path, "rb") as file:
        for _, channel, record in make_reader(file).iter_messages():
            topic = channel.topic.removeprefix("/")
            message = deserialize(record.data, TYPES[topic])
            cycle = round((record.log_time / NANOSECONDS + RHYTHM[topic][1] - BEGIN) * 100)
            yield cycle, topic, taken(senses, topic, message, record.log_time / NANOSECONDS)


def taken(senses: Senses, topic: str, message: Message, arrival: float) -> RobotState | str | None:
    if topic == DRIVER:
        return senses.take_driver_state(driver_state(message))
    if topic == OBJECTS:
        return senses.take_objects(object_states(message))
    if topic == WRENCH:
        force, torque = message.wrench.force, message.wrench.torque
        return senses.wrist.add(stamp_of(message), np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z]))
    if topic == JOINTS:
        values = message.position, message.velocity, message.effort
        return senses.joints.add(topic, stamp_of(message), message.name, *values)
    if topic == TAXELS:
        return senses.tactile.add(arrival, message.data)
    if topic == INFO:
        try:
            told = Intrinsics.of_camera_info(message.height, message.width, message.k)
        except ValueError as error:
            told = str(error)
        return senses.depth.add_calibration("scene", told)
    timeline = senses.colour if topic == PICTURES else senses.depth
    try:
        if topic == PICTURES:
            picture = decode_picture(message.data.tobytes())
        else:
            size = message.height, message.width, message.step
            picture = depth_of(message.encoding, *size, message.data.tobytes())
        return None if timeline.add_picture("scene", stamp_of(message), picture) else "dropped"
    except ValueError as error:
        timeline.refuse("scene", str(error))
        return str(error)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, RobotState | str | None]]:
    path = recorded(tmp_path_factory.mktemp("faults") / "faults.mcap")
    return list(replayed(path, made_senses()))


def expected_reasons() -> dict[tuple[str, int], str]:
    """How the reason begins, by modality and cycle; of what is not in it nothing is wrong."""
    nothing_yet = {"objects": "none reported", "wrench": "missing:", "contacts": "missing:", HAND: "missing:"}
    nothing_yet |= {"camera/scene": "no picture yet", "camera/scene/depth": "no picture yet"}
    expected = {(name, cycle): why for name, why in nothing_yet.items() for cycle in range(BEFORE)}
    for start, fault in zip(STARTS, FAULTS, strict=True):
        for name, begin, end, why in fault.expected:
            expected |= {(name, start + cycle): why for cycle in range(begin, end)}
    return expected


def test_every_modality_says_at_every_instant_what_is_wrong_and_nothing_else(replay) -> None:
    expected = expected_reasons()
    wrong = []
    for cycle, _, state in replay:
        if not isinstance(state, RobotState):
            continue
        assert [each.name for each in state.modalities] == MODALITIES
        for each in state.modalities:
            why = expected.get((each.name, cycle), "")
            if each.valid == bool(why) or not each.reason.startswith(why) or bool(each.reason) != bool(why):
                wrong.append((cycle, each.name, f"expected '{why}'", each.reason))
    assert not wrong


def test_every_joint_sample_makes_one_state_but_for_what_comes_again_or_was_overtaken(replay) -> None:
    made = [cycle for cycle, _, state in replay if isinstance(state, RobotState)]
    lost = {start + cycle for start, fault in zip(STARTS, FAULTS, strict=True) for cycle in fault.lost}
    assert made == [cycle for cycle in range(CYCLES) if cycle not in lost]


def test_what_is_refused_is_refused_for_its_own_reason_and_nothing_else_is(replay) -> None:
    refused = [(cycle, topic, why) for cycle, topic, why in replay if isinstance(why, str) and why]
    for fault, (begin, end) in zip(FAULTS, pairwise([*STARTS, CYCLES]), strict=True):
        reasons = [(topic, why) for cycle, topic, why in refused if begin <= cycle < end]
        assert [topic for topic, _ in reasons] == [fault.topic] * len(fault.refused), (fault, reasons)
        for kind, (_, why) in zip(fault.refused, reasons, strict=True):
            assert why.startswith(kind), fault


def test_what_is_invalid_keeps_its_last_good_values(replay) -> None:
    for cycle, _, state in replay:
        if isinstance(state, RobotState) and cycle >= BEFORE:
            held = [state.joint_positions, state.ee_position, state.wrench, state.contact_forces]
            held += [state.object_poses["cube"], [state.gripper_width], state.further_joints["rail"][:1]]
            assert np.isfinite(np.concatenate(held)).all(), cycle
            assert abs(state.gripper_width - 0.04) < 1e-9, cycle
            assert (np.abs(state.joint_positions - SPEC.home_positions) < 0.51).all(), cycle
