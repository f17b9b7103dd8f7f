"""Streams of a robot that somebody else recorded, each in its own rhythm, as an episode on our grid of instants."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome
from physai_ros.experience.pictures import Pictures
from physai_ros.robot.command import CommandSource
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import quaternion_wxyz, vector_from_rotation

POLICY_STEP = 0.1  # [s] that the intent of one policy step spans, as in a recording of our own


@dataclass(frozen=True)
class Stream:
    """One signal: `values` (n, width) at `stamps` (n,) [s]."""

    stamps: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        if len(self.stamps) != len(self.values):
            raise ValueError(f"{len(self.stamps)} stamps of {len(self.values)} values")

    def at(self, instants: np.ndarray) -> np.ndarray:
        """Values (m, width) at the instants (m,), straight between samples and held beyond them."""
        order = np.argsort(self.stamps, kind="stable")
        stamps, values = self.stamps[order], self.values[order]
        return np.stack([np.interp(instants, stamps, column) for column in values.T], axis=1)

    def held_at(self, instants: np.ndarray) -> np.ndarray:
        """Values (m, width) of the newest sample by each instant, of the first before it: for what is commanded."""
        order = np.argsort(self.stamps, kind="stable")
        newest = np.searchsorted(self.stamps[order], instants + 1e-9, side="right") - 1
        return self.values[order][np.maximum(newest, 0)]


@dataclass
class RobotStreams:
    """What was recorded of a robot; all but the joints may be missing.

    `joint_positions` and `commands` (n_joints wide) [rad], `joint_velocities` [rad/s], `joint_torques` [N m], `wrench`
    (6) [N, N m], `gripper_width` (1) [m], `gripper_command` (1) in -1 ... 1, `pictures` by camera.
    """

    joint_names: tuple[str, ...]
    joint_positions: Stream
    joint_velocities: Stream | None = None
    joint_torques: Stream | None = None
    commands: Stream | None = None
    wrench: Stream | None = None
    gripper_width: Stream | None = None
    gripper_command: Stream | None = None
    pictures: dict[str, Pictures] = field(default_factory=dict)


def resampled(
    streams: RobotStreams,
    context: EpisodeContext,
    outcome: EpisodeOutcome,
    *,
    begin: float,
    end: float,
    rate: float,
    kinematics: Kinematics | None = None,
    source: CommandSource = CommandSource.OPERATOR,
) -> Episode:
    """The episode from `begin` to `end` [s], `rate` samples a second; without `kinematics` the tool stays unknown.

    Where no command was recorded, what the joints did next stands for it. `source` is who drove.
    """
    count = max(1, int((end - begin) * rate + 1e-6) + 1)
    stamps = begin + np.arange(count) / rate
    joints = len(streams.joint_names)
    positions = streams.joint_positions.at(stamps)
    if streams.commands is not None:
        commands = streams.commands.at(stamps)
    else:
        commands = np.vstack([positions[1:], positions[-1:]])
    velocities = (
        streams.joint_velocities.at(stamps)
        if streams.joint_velocities is not None
        else (np.gradient(positions, 1.0 / rate, axis=0) if count > 1 else np.zeros_like(positions))
    )

    def optional(stream: Stream | None, width: int, missing: float = np.nan) -> np.ndarray:
        return np.full((count, width), missing) if stream is None else stream.at(stamps)

    width = optional(streams.gripper_width, 1)[:, 0]
    if streams.gripper_command is not None:
        grip = streams.gripper_command.held_at(stamps)[:, 0]
    else:
        grip = _grip_of(width)
    series = {
        "stamp": stamps,
        "sequence": np.arange(count) + context.start_sequence,
        "joint_positions": positions,
        "joint_velocities": velocities,
        "joint_torques": optional(streams.joint_torques, joints),
        "commanded_positions": commands,
        **_tool(kinematics, positions, velocities),
        "wrench": optional(streams.wrench, 6),
        "contact_forces": np.zeros((count, 0)),
        "gripper_width": width,
        "gripper_force": np.full(count, np.nan),
        "gripper_command": grip,
        "object_poses": np.zeros((count, 0, 7)),
        "command_source": np.full(count, source, dtype=np.uint8),
        "command_positions": commands,
        "command_altered": np.zeros(count, dtype=bool),
        "action_ee_delta": _intent(kinematics, commands, max(1, round(POLICY_STEP * rate))),
        "action_gripper": grip,
        "action_value": np.full(count, np.nan),
        "action_uncertainty": np.full(count, np.nan),
    }
    pictures = {name: _within(pictures, begin, end) for name, pictures in streams.pictures.items()}
    pictures = {name: each for name, each in pictures.items() if len(each)}
    return Episode(context, outcome, streams.joint_names, (), series, pictures=pictures)


def _grip_of(width: np.ndarray) -> np.ndarray:
    """Command (n,) in -1 ... 1 that stands for how wide the fingers went; open where nothing is known of them."""
    known = np.isfinite(width)
    span = np.ptp(width[known]) if known.any() else 0.0
    return np.where(known & (span > 0), 2.0 * (width - np.nanmin(width, initial=np.inf)) / (span or 1.0) - 1.0, 1.0)


def _tool(kinematics: Kinematics | None, positions: np.ndarray, velocities: np.ndarray) -> dict[str, np.ndarray]:
    if kinematics is None:
        widths = {"ee_position": 3, "ee_orientation": 4, "ee_velocity": 6}
        return {name: np.full((len(positions), width), np.nan) for name, width in widths.items()}
    poses = [kinematics.tool_pose_and_jacobian(row) for row in positions]
    return {
        "ee_position": np.array([pose.position for pose, _ in poses]),
        "ee_orientation": np.array([quaternion_wxyz(pose.rotation) for pose, _ in poses]),
        "ee_velocity": np.array([jacobian @ row for (_, jacobian), row in zip(poses, velocities, strict=True)]),
    }


def _intent(kinematics: Kinematics | None, commands: np.ndarray, step: int) -> np.ndarray:
    """Tool displacement (n, 6) of the policy step that each sample lies in, from the commands at its two ends."""
    count = len(commands)
    if kinematics is None:
        return np.full((count, 6), np.nan)
    starts = np.arange(0, count, step)
    poses = [kinematics.tool_pose(commands[i]) for i in [*starts.tolist(), count - 1]]
    deltas = [
        np.concatenate([b.position - a.position, vector_from_rotation(b.rotation @ a.rotation.T)])
        for a, b in zip(poses[:-1], poses[1:], strict=True)
    ]
    return np.repeat(np.array(deltas), step, axis=0)[:count]


def _within(pictures: Pictures, begin: float, end: float) -> Pictures:
    """The pictures exposed from `begin` to `end` [s], and the newest before, which is what was seen at the start."""
    first = max(0, int(pictures.newest_at(np.array([begin]))[0]))
    last = int(np.searchsorted(pictures.stamps, end, side="right"))
    return Pictures(pictures.stamps[first:last], pictures.encoded[first:last])
