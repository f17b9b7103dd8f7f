"""From an `Episode` to the messages that a live recording of it would hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from physai_ros.experience.alignment import STATE_COLUMNS, STATE_SCALARS
from physai_ros.experience.cdr_columns import encode_columns
from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase
from physai_ros.experience.messages import (
    NANOSECONDS,
    PICTURE_TYPE,
    TOPIC_TYPES,
    message_class,
    picture_topic,
    serialize,
    time_of,
)
from physai_ros.robot.command import CommandSource

OPERATOR_LEASE = 0.2
_XYZW = [1, 2, 3, 0]  # of a wxyz quaternion


def messages_of(episode: Episode) -> list[tuple[str, int, bytes]]:
    """Topic, log time [ns] and CDR bytes of every message that tells the episode, in the order of time."""
    series, context = episode.series, episode.context
    stamps = [time_of(float(stamp)) for stamp in series["stamp"]]
    nanoseconds = [sec * NANOSECONDS + nanosec for sec, nanosec in stamps]
    first = nanoseconds[0] if nanoseconds else max(0, round(context.stamp * NANOSECONDS))
    last = nanoseconds[-1] if nanoseconds else first
    operator = series["command_source"] == CommandSource.OPERATOR
    stream: list[tuple[str, int, bytes]] = []
    if context.phase == Phase.ENDED:
        begin = replace(context, phase=Phase.RUNNING, end_reason="", stamp=first / NANOSECONDS)
        stream.append(("episode", first, _context_message(begin)))
    else:
        stream.append(("episode", first, _context_message(context)))
    stream += _stamped("robot_state", nanoseconds, _state_messages(episode))
    stream += _stamped("proposed_action", nanoseconds, _action_messages(episode, "proposed_action"), ~operator)
    stream += _stamped("intervention", nanoseconds, _action_messages(episode, "intervention"), operator)
    stream += _stamped("safe_command", nanoseconds, _command_messages(episode))
    if episode.outcome != EpisodeOutcome(stamp=context.stamp):
        sequence = int(series["sequence"][-1]) if nanoseconds else context.start_sequence
        stream.append(("task_outcome", last, _outcome_message(episode, sequence)))
    for camera, pictures in episode.pictures.items():
        topic = picture_topic(camera)
        for stamp, data in zip(pictures.stamps.tolist(), pictures.encoded, strict=True):
            sec, nanosec = time_of(stamp)
            # One from before the first sample belongs to the episode all the same: it is what was seen at its start.
            when = min(max(sec * NANOSECONDS + nanosec, first), last)
            stream.append((topic, when, picture_message(camera, stamp, data)))
    if context.phase == Phase.ENDED:
        stream.append(("episode", last, _context_message(context)))
    return sorted(stream, key=lambda entry: entry[1])


def picture_message(camera: str, stamp: float, data: bytes) -> bytes:
    """CDR bytes of the message of a compressed picture, exposed at `stamp` [s]."""
    sec, nanosec = time_of(stamp)
    return serialize(
        message_class(PICTURE_TYPE)(
            header=_new(
                "std_msgs/msg/Header",
                stamp=_new("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec),
                frame_id=f"{camera}_optical_frame",
            ),
            format="png" if data.startswith(b"\x89PNG") else "jpeg",
            data=np.frombuffer(data, dtype=np.uint8),
        ),
        PICTURE_TYPE,
    )


def _stamped(
    topic: str, log_times: list[int], payloads: list[bytes], chosen: np.ndarray | None = None
) -> list[tuple[str, int, bytes]]:
    rows = range(len(log_times)) if chosen is None else np.flatnonzero(chosen).tolist()
    return [(topic, log_times[i], payloads[i]) for i in rows]


def _stamp_columns(series: dict[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    stamps = np.array([time_of(float(stamp)) for stamp in series["stamp"]], dtype=np.int64).reshape(-1, 2)
    return {f"{prefix}header.stamp.sec": stamps[:, 0], f"{prefix}header.stamp.nanosec": stamps[:, 1]}


def _state_messages(episode: Episode) -> list[bytes]:
    series = episode.series
    joints, pads, objects = len(episode.joint_names), series["contact_forces"].shape[1], len(episode.object_names)
    pose = _pose()
    template = message_class(TOPIC_TYPES["robot_state"])(
        header=_header(),
        sequence=0,
        joint_names=list(episode.joint_names),
        joint_positions=np.zeros(joints),
        joint_velocities=np.zeros(joints),
        joint_torques=np.zeros(joints),
        commanded_positions=np.zeros(joints),
        ee_pose=pose,
        ee_velocity=_new("geometry_msgs/msg/Twist", linear=_vector(), angular=_vector()),
        wrench=_new("geometry_msgs/msg/Wrench", force=_vector(), torque=_vector()),
        contact_forces=np.zeros(pads),
        gripper_width=0.0,
        gripper_force=0.0,
        gripper_command=0.0,
        object_names=list(episode.object_names),
        object_poses=[pose] * objects,
        modalities=[],
    )
    columns = {path: series[column] for column, path in STATE_COLUMNS.items()}
    columns |= {column: series[column] for column in STATE_SCALARS} | {"sequence": series["sequence"]}
    columns["ee_pose.orientation"] = series["ee_orientation"][:, _XYZW]
    columns["object_poses"] = series["object_poses"][:, :, [0, 1, 2, 4, 5, 6, 3]].reshape(len(episode), objects * 7)
    return _encode("robot_state", template, columns | _stamp_columns(series))


def _command_messages(episode: Episode) -> list[bytes]:
    series, joints = episode.series, len(episode.joint_names)
    template = message_class(TOPIC_TYPES["safe_command"])(
        header=_header(),
        sequence=0,
        state_sequence=0,
        proposed_sequence=0,
        episode_id=episode.context.episode_id,
        token="",
        joint_names=list(episode.joint_names),
        positions=np.zeros(joints),
        velocities=np.zeros(0),
        gripper_command=0.0,
        valid_for=0.0,
        source=0,
        altered=False,
        reasons=[],
        stop=_new("physai_ros/msg/StopTrajectory", time_step=0.0, samples=0, positions=np.zeros(0)),
    )
    columns = {
        "sequence": series["sequence"],
        "state_sequence": series["sequence"],
        "positions": series["command_positions"],
        "gripper_command": series["action_gripper"],
        "source": series["command_source"],
        "altered": series["command_altered"],
    }
    return _encode("safe_command", template, columns | _stamp_columns(series))


def _action_messages(episode: Episode, topic: str) -> list[bytes]:
    series, context = episode.series, episode.context
    action = message_class(TOPIC_TYPES["proposed_action"])(
        header=_header(),
        sequence=0,
        state_sequence=0,
        episode_id=context.episode_id,
        joint_names=list(episode.joint_names),
        reference_positions=np.zeros(len(episode.joint_names)),
        joint_delta=np.zeros(0),
        ee_delta=np.zeros(6),
        gripper_command=0.0,
        observation_stamp=_time(),
        target_time=_time(),
        chunk_id=0,
        step=0,
        policy_version="" if topic == "intervention" else context.policy_version,
        value=0.0,
        uncertainty=0.0,
    )
    prefix = "action." if topic == "intervention" else ""
    columns = {
        f"{prefix}sequence": series["sequence"],
        f"{prefix}state_sequence": series["sequence"],
        f"{prefix}reference_positions": series["command_positions"],
        f"{prefix}ee_delta": series["action_ee_delta"],
        f"{prefix}gripper_command": series["action_gripper"],
        f"{prefix}value": series["action_value"],
        f"{prefix}uncertainty": series["action_uncertainty"],
    }
    columns |= _stamp_columns(series, prefix)
    if topic == "intervention":
        columns |= _stamp_columns(series)
        action = message_class(TOPIC_TYPES["intervention"])(
            header=_header(), enable=True, lease=OPERATOR_LEASE, operator_name="", action=action
        )
    return _encode(topic, action, columns)


def _context_message(context: EpisodeContext) -> bytes:
    fields = dict(context.__dict__)
    stamp = fields.pop("stamp")
    fields["goal"] = np.array(context.goal, dtype=float)
    fields["phase"], fields["purpose"] = int(context.phase), int(context.purpose)
    return serialize(
        message_class(TOPIC_TYPES["episode"])(header=_header(stamp), **fields),
        TOPIC_TYPES["episode"],
    )


def _outcome_message(episode: Episode, sequence: int) -> bytes:
    outcome = episode.outcome
    message = message_class(TOPIC_TYPES["task_outcome"])(
        header=_header(outcome.stamp),
        episode_id=episode.context.episode_id,
        state_sequence=sequence,
        done=True,
        success=outcome.success,
        reward=outcome.reward,
        failure_mode=outcome.failure_mode,
        stage=outcome.stage,
        evidence_names=list(outcome.evidence),
        evidence_values=np.array(list(outcome.evidence.values()), dtype=float),
    )
    return serialize(message, TOPIC_TYPES["task_outcome"])


def _encode(topic: str, template: object, columns: dict[str, np.ndarray]) -> list[bytes]:
    return encode_columns(TOPIC_TYPES[topic], serialize(template, TOPIC_TYPES[topic]), columns)


def _new(type_name: str, **fields: object) -> object:
    return message_class(type_name)(**fields)


def _time(seconds: float = 0.0) -> object:
    sec, nanosec = time_of(seconds)
    return _new("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)


def _header(stamp: float = 0.0) -> object:
    return _new("std_msgs/msg/Header", stamp=_time(stamp), frame_id="base_link")


def _vector() -> object:
    return _new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)


def _pose() -> object:
    return _new(
        "geometry_msgs/msg/Pose",
        position=_new("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
        orientation=_new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
