"""Episodes from a rosbag2 of a user's own robot, MCAP or sqlite3, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError

from physai_ros.experience.bag_mapping import BagMapping
from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose
from physai_ros.experience.lerobot_layout import ExchangeError
from physai_ros.experience.messages import NANOSECONDS, seconds_of, typestore
from physai_ros.experience.pictures import Pictures, encode_picture, rgb_of
from physai_ros.experience.resampling import RobotStreams, Stream, resampled
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.robot.command import CommandSource
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec

_SHORTEST = 0.5  # [s] that an episode lasts; what is shorter is a switch that bounced


@dataclass
class _Series:
    """Rows of one signal as they come."""

    stamps: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, stamp: float, values: Any) -> None:  # noqa: ANN401 numbers or bytes
        self.stamps.append(stamp)
        self.values.append(values)

    def stream(self) -> Stream | None:
        if not self.stamps:
            return None
        return Stream(np.array(self.stamps), np.array(self.values, dtype=float).reshape(len(self.stamps), -1))


def import_bag(path: Path, mapping: BagMapping) -> Iterator[tuple[Episode, EpisodeSummary]]:
    """The episodes of a bag with their summaries, as the mapping reads it.

    Raises:
        ExchangeError: the bag cannot be read, or lacks what the mapping names.
    """
    path = Path(path)
    spec = RobotSpec.load(mapping.robot) if mapping.robot else None
    read = _read(path, mapping, spec)
    joints = read["joint_states"].stream()
    if joints is None:
        raise ExchangeError(f"{path}: no message on {mapping.topics['joint_states']} names the arm's joints")
    names = spec.joint_names if spec is not None else tuple(read["names"])
    count = len(names)
    columns = joints.values.reshape(len(joints.stamps), 3, count)
    grip = read["gripper"].stream()
    commanded = read["gripper_command"].stream()
    span = mapping.gripper.open - mapping.gripper.closed
    width = spec.gripper.max_width if spec is not None else 1.0
    streams = RobotStreams(
        names,
        Stream(joints.stamps, columns[:, 0]),
        joint_velocities=_known(joints.stamps, columns[:, 1]),
        joint_torques=_known(joints.stamps, columns[:, 2]),
        commands=read["command"].stream(),
        wrench=read["wrench"].stream(),
        gripper_width=grip and Stream(grip.stamps, (grip.values - mapping.gripper.closed) / span * width),
        gripper_command=commanded
        and Stream(commanded.stamps, np.clip(2.0 * (commanded.values - mapping.gripper.closed) / span - 1.0, -1, 1)),
        pictures={name: _pictures(read[f"camera {name}"]) for name in mapping.cameras},
    )
    kinematics = Kinematics(spec) if spec is not None else None
    rate = spec.control_rate if spec is not None else mapping.rate
    spans = _spans(read["episodes"], joints.stamps, mapping)
    if not spans:
        raise ExchangeError(f"{path}: no episode of {_SHORTEST} s or more; see split_gap and episode_topic")
    for index, (begin, end) in enumerate(spans):
        context, outcome = _told(mapping, path, index, end)
        source = CommandSource.POLICY if context.purpose == Purpose.TRAIN else CommandSource.OPERATOR
        episode = resampled(
            streams, context, outcome, begin=begin, end=end, rate=rate, kinematics=kinematics, source=source
        )
        yield episode, EpisodeSummary.of(episode)


def _read(path: Path, mapping: BagMapping, spec: RobotSpec | None) -> dict[str, Any]:
    names = list(spec.joint_names if spec is not None else mapping.joints)
    read: dict[str, Any] = {"names": names, "episodes": _Series()}
    read |= {name: _Series() for name in ("joint_states", "command", "wrench", "gripper", "gripper_command")}
    read |= {f"camera {name}": _Series() for name in mapping.cameras}
    wanted: dict[str, list[str]] = {}
    for name, topic in [*mapping.topics.items(), *((f"camera {n}", t) for n, t in mapping.cameras.items())]:
        wanted.setdefault(topic, []).append(name)
    if mapping.episode_topic:
        wanted.setdefault(mapping.episode_topic, []).append("episodes")
    try:
        with AnyReader([path], default_typestore=typestore()) as reader:
            there = {connection.topic for connection in reader.connections}
            missing = sorted(set(wanted) - there)
            if missing:
                raise ExchangeError(f"{path} has no topic {', '.join(missing)}; it has {', '.join(sorted(there))}")
            chosen = [connection for connection in reader.connections if connection.topic in wanted]
            for connection, log_time, data in reader.messages(connections=chosen):
                message = reader.deserialize(data, connection.msgtype)
                stamp = _stamp(message, log_time)
                for signal in wanted[connection.topic]:
                    _take(signal, message, connection.msgtype, stamp, read, mapping)
    except (AnyReaderError, ReaderError, OSError) as error:
        raise ExchangeError(f"{path} is no rosbag2 that can be read: {error}") from error
    return read


def _take(signal: str, message: Any, kind: str, stamp: float, read: dict[str, Any], mapping: BagMapping) -> None:  # noqa: ANN401
    """Put one message to its signal."""
    series, names = read[signal], read["names"]
    if signal == "joint_states":
        if not names:
            names.extend(name for name in message.name if name != mapping.gripper.joint)
        row = _joint_state(message, names)
        if row is not None:
            series.add(stamp, row)
    elif signal == "command":
        row = _command(message, kind, names)
        if row is not None:
            series.add(stamp, row)
    elif signal == "wrench":
        wrench = message.wrench if hasattr(message, "wrench") else message
        force, torque = wrench.force, wrench.torque
        series.add(stamp, [force.x, force.y, force.z, torque.x, torque.y, torque.z])
    elif signal in ("gripper", "gripper_command"):
        value = _gripper(message, mapping.gripper.joint)
        if value is not None:
            series.add(stamp, value)
    elif signal == "episodes":
        series.add(stamp, bool(message.data))
    elif kind == "sensor_msgs/msg/CompressedImage":
        series.add(stamp, message.data.tobytes())
    elif kind == "sensor_msgs/msg/Image":
        rgb = rgb_of(message.encoding, message.height, message.width, message.step, message.data)
        series.add(stamp, encode_picture(np.ascontiguousarray(rgb)))
    else:
        raise ExchangeError(f"{signal} is of type {kind}; expected sensor_msgs/msg/Image or CompressedImage")


def _joint_state(message: Any, names: list[str]) -> list[float] | None:  # noqa: ANN401
    """Positions, velocities and efforts of the joints, one after another; None where the message is of others."""
    given = {name: i for i, name in enumerate(message.name)}
    if not all(name in given for name in names):
        return None
    rows = [given[name] for name in names]
    parts = [message.position, message.velocity, message.effort]
    return [float(part[i]) if len(part) > i else np.nan for part in parts for i in rows]


def _command(message: Any, kind: str, names: list[str]) -> list[float] | None:  # noqa: ANN401
    """Commanded positions of the joints, of whichever type carries them; None where they are of others."""
    if kind == "trajectory_msgs/msg/JointTrajectory":
        points, given = message.points, list(message.joint_names)
        values = list(points[-1].positions) if len(points) else []
    elif kind == "sensor_msgs/msg/JointState":
        values, given = list(message.position), list(message.name)
    elif kind == "std_msgs/msg/Float64MultiArray":
        values, given = list(message.data), names
    else:
        raise ExchangeError(
            f"command is of type {kind}; expected trajectory_msgs/msg/JointTrajectory, sensor_msgs/msg/JointState or "
            "std_msgs/msg/Float64MultiArray"
        )
    if len(values) < len(given) or not all(name in given for name in names):
        return None
    return [float(values[given.index(name)]) for name in names]


def _gripper(message: Any, joint: str) -> float | None:  # noqa: ANN401
    if hasattr(message, "position") and hasattr(message, "name"):
        if joint and joint not in message.name:
            return None
        index = list(message.name).index(joint) if joint else 0
        return float(message.position[index]) if len(message.position) > index else None
    if hasattr(message, "data"):
        values = np.atleast_1d(np.asarray(message.data, dtype=float))
        return float(values[0]) if values.size else None
    raise ExchangeError("gripper takes sensor_msgs/msg/JointState, std_msgs/msg/Float64 or Float64MultiArray")


def _stamp(message: Any, log_time: int) -> float:  # noqa: ANN401
    """Instant of a message [s]: its own where it has one, else when it was recorded."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None or (stamp.sec == 0 and stamp.nanosec == 0):
        return log_time / NANOSECONDS
    return seconds_of(stamp.sec, stamp.nanosec)


def _spans(switch: _Series, stamps: np.ndarray, mapping: BagMapping) -> list[tuple[float, float]]:
    """Begin and end [s] of every episode."""
    ordered = np.sort(stamps)
    if mapping.episode_topic:
        spans, begin = [], None
        for stamp, running in zip(switch.stamps, switch.values, strict=True):
            if running and begin is None:
                begin = stamp
            elif not running and begin is not None:
                spans.append((begin, stamp))
                begin = None
        if begin is not None:
            spans.append((begin, float(ordered[-1])))
        spans = [(max(a, float(ordered[0])), min(b, float(ordered[-1]))) for a, b in spans]
    else:
        cuts = np.flatnonzero(np.diff(ordered) > mapping.split_gap)
        edges = [0, *(cuts + 1).tolist(), len(ordered)]
        spans = [(float(ordered[a]), float(ordered[b - 1])) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return [(a, b) for a, b in spans if b - a >= _SHORTEST]


def _told(mapping: BagMapping, path: Path, index: int, end: float) -> tuple[EpisodeContext, EpisodeOutcome]:
    success = mapping.outcome == "success"
    context = EpisodeContext(
        episode_id=f"{mapping.prefix or path.stem}-{index:06d}",
        phase=Phase.ENDED,
        purpose=Purpose[mapping.purpose.upper()],
        task=mapping.task,
        instruction=mapping.instruction,
        scenario_json="{}",
        robot=mapping.robot,
        start_sequence=1,
        end_reason="outcome" if success else "",
        stamp=end,
    )
    return context, EpisodeOutcome(success, float(success), "none" if success else "unknown", stamp=end)


def _known(stamps: np.ndarray, values: np.ndarray) -> Stream | None:
    return Stream(stamps, values) if np.isfinite(values).all() else None


def _pictures(series: _Series) -> Pictures:
    order = np.argsort(series.stamps, kind="stable")
    return Pictures(np.array(series.stamps, dtype=float)[order], [series.values[i] for i in order])
