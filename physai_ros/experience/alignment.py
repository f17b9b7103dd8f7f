"""From the messages of a recording to an `Episode`: everything joined to the robot states by sequence."""

from __future__ import annotations

import numpy as np

from physai_ros.experience.annotations import LABEL_STAGE
from physai_ros.experience.cdr_columns import CdrColumns
from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose
from physai_ros.experience.messages import PICTURE_TYPE, TOPIC_TYPES, deserialize, seconds_of
from physai_ros.experience.pictures import Pictures
from physai_ros.experience.recording import RawRecording
from physai_ros.robot.command import CommandSource

STATE_COLUMNS = {
    "joint_positions": "joint_positions",
    "joint_velocities": "joint_velocities",
    "joint_torques": "joint_torques",
    "commanded_positions": "commanded_positions",
    "ee_position": "ee_pose.position",
    "ee_velocity": "ee_velocity",
    "wrench": "wrench",
    "contact_forces": "contact_forces",
}
_JOINT_COLUMNS = ("joint_positions", "joint_velocities", "joint_torques", "commanded_positions")
STATE_SCALARS = ("gripper_width", "gripper_force", "gripper_command")
_WXYZ = [3, 0, 1, 2]  # of an xyzw quaternion
_WIDTHS = {"ee_position": 3, "ee_velocity": 6, "wrench": 6}


def episode_of(recording: RawRecording) -> Episode:
    """The episode in the messages of a recording.

    Raises:
        CdrError, ValueError: the messages are none of ours.
    """
    context = _context(recording)
    outcome, last_sequence = _outcome(recording, context)
    states, rows, lost = _state_rows(recording, context, last_sequence)
    series, joint_names, object_names = _state_series(states, rows)
    _add_commands(recording, series, joint_names)
    stored = recording.summary or {}
    return Episode(
        context=context,
        outcome=outcome,
        joint_names=joint_names,
        object_names=object_names,
        series=series,
        lost_samples=lost,
        complete=bool(stored.get("complete", False)) and not recording.truncated,
        pictures=_pictures(recording),
    )


def _pictures(recording: RawRecording) -> dict[str, Pictures]:
    """Pictures by camera, in the order of exposure."""
    result: dict[str, Pictures] = {}
    for topic, messages in sorted(recording.topics.items()):
        if messages.type_name != PICTURE_TYPE:
            continue
        decoded = [deserialize(payload, PICTURE_TYPE) for payload in messages.payloads]
        stamps = np.array([seconds_of(m.header.stamp.sec, m.header.stamp.nanosec) for m in decoded], dtype=float)
        order = np.argsort(stamps, kind="stable")
        camera = topic.split("/")[-2]
        result[camera] = Pictures(stamps[order], [decoded[i].data.tobytes() for i in order])
    return result


def _context(recording: RawRecording) -> EpisodeContext:
    topic = recording.topics.get("episode")
    if topic is None or not topic.payloads:
        raise ValueError("there is no message on 'episode'")
    return context_of(topic.payloads[-1])


def context_of(data: bytes) -> EpisodeContext:
    """The context in a serialised message of `episode`."""
    message = deserialize(data, TOPIC_TYPES["episode"])
    return EpisodeContext(
        episode_id=message.episode_id,
        phase=Phase(message.phase),
        purpose=Purpose(message.purpose),
        task=message.task,
        instruction=message.instruction,
        goal=tuple(message.goal.tolist()),
        scenario_json=message.scenario_json,
        seed=message.seed,
        policy_version=message.policy_version,
        robot=message.robot,
        start_sequence=message.start_sequence,
        end_reason=message.end_reason,
        stamp=seconds_of(message.header.stamp.sec, message.header.stamp.nanosec),
    )


def _outcome(recording: RawRecording, context: EpisodeContext) -> tuple[EpisodeOutcome, int | None]:
    """The verdict, and the sequence that it was given on; an episode without a verdict is a failure, unknown as yet."""
    topic = recording.topics.get("task_outcome")
    by_label = context.end_reason.split()[:1] == ["label"]
    verdict, sequence, stage = None, None, ""
    for payload in topic.payloads if topic else ():
        message = deserialize(payload, TOPIC_TYPES["task_outcome"])
        if not concerns(message, context):
            continue
        # What a person says takes the place of what the task's test said.
        if message.done and (verdict is None or (by_label and message.stage == LABEL_STAGE)):
            given = int(message.state_sequence)
            sequence = given if given >= context.start_sequence and message.stage != LABEL_STAGE else None
            verdict = EpisodeOutcome(
                success=bool(message.success),
                reward=float(message.reward),
                failure_mode=message.failure_mode,
                stage=message.stage,
                evidence=dict(zip(message.evidence_names, message.evidence_values.tolist(), strict=True)),
                stamp=seconds_of(message.header.stamp.sec, message.header.stamp.nanosec),
            )
        stage = stage if message.done else message.stage
    return verdict or EpisodeOutcome(stage=stage, stamp=context.stamp), sequence


def concerns(outcome: object, context: EpisodeContext) -> bool:
    """Whether a message of `task_outcome` is about this episode; the topic is latched and repeats old ones."""
    if outcome.episode_id:
        return outcome.episode_id == context.episode_id
    return outcome.state_sequence >= context.start_sequence


def _state_rows(
    recording: RawRecording, context: EpisodeContext, last_sequence: int | None
) -> tuple[CdrColumns, np.ndarray, int]:
    """The robot states, the rows of them that belong to the episode, and how many samples are missing."""
    topic = recording.topics.get("robot_state")
    states = CdrColumns(TOPIC_TYPES["robot_state"], topic.payloads if topic else [])
    sequence = states.number("sequence", "u8")
    keep = sequence >= context.start_sequence
    if last_sequence is not None:
        keep &= sequence <= last_sequence
    elif context.phase == Phase.ENDED and states.count:
        # Messages queued at the end may have been taken after the word of it, so that their stamps count as well.
        ended = recording.topics["episode"].log_times[-1]
        keep &= (np.array(topic.log_times, dtype=np.uint64) <= ended) | (_stamps(states) <= context.stamp)
    rows = np.flatnonzero(keep)
    # In lock-step an unanswered measurement is sent again: the first of each counts.
    unique, first = np.unique(sequence[rows], return_index=True)
    if not len(unique):
        return states, rows, 0 if last_sequence is None else last_sequence - context.start_sequence + 1
    last = int(unique[-1]) if last_sequence is None else last_sequence
    return states, rows[first], last - context.start_sequence + 1 - len(unique)


def _state_series(
    states: CdrColumns, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[str, ...], tuple[str, ...]]:
    # Further joints stand behind the arm's, which alone have a set-point; an episode is the arm's.
    arm = states.numbers("commanded_positions").shape[1] or states.numbers("joint_positions").shape[1]
    names = [each[:arm] for each in states.strings("joint_names")]
    joint_names = names[rows[0]] if len(rows) else ()
    series = {"stamp": _stamps(states)[rows], "sequence": states.number("sequence", "i8")[rows]}
    for column, path in STATE_COLUMNS.items():
        series[column] = states.numbers(path)[rows] if len(rows) else np.zeros((0, _WIDTHS.get(column, 0)))
    for column in _JOINT_COLUMNS:
        series[column] = _by_name(series[column][:, :arm], [names[i] for i in rows], joint_names)
    orientation = states.numbers("ee_pose.orientation")[rows] if len(rows) else np.zeros((0, 4))
    series["ee_orientation"] = orientation[:, _WXYZ]
    for column in STATE_SCALARS:
        series[column] = states.number(column)[rows]
    objects = states.strings("object_names")
    object_names = objects[rows[0]] if len(rows) else ()
    poses = states.numbers("object_poses")[rows]
    poses = poses.reshape(len(rows), poses.shape[1] // 7, 7)[:, :, [0, 1, 2, 6, 3, 4, 5]]
    series["object_poses"] = _by_name(poses, [objects[i] for i in rows], object_names)
    return series, joint_names, object_names


def _by_name(values: np.ndarray, names: list[tuple[str, ...]], wanted: tuple[str, ...]) -> np.ndarray:
    """Values (n, k, ...) put into the order of `wanted`, row by row; what a row does not name is NaN."""
    result = np.full((len(names), len(wanted), *values.shape[2:]), np.nan)
    for given in dict.fromkeys(names):
        alike = [i for i, row in enumerate(names) if row == given]
        for target, name in enumerate(wanted):
            if name in given and given.index(name) < values.shape[1]:
                result[alike, target] = values[alike, given.index(name)]
    return result


def _add_commands(recording: RawRecording, series: dict[str, np.ndarray], joint_names: tuple[str, ...]) -> None:
    """Join what was permitted, and what was meant by whoever was in control, to the samples."""
    count = len(series["stamp"])
    commands, command_rows = _columns(recording, "safe_command")
    position_of = {int(n): i for i, n in reversed(list(enumerate(commands.number("state_sequence", "u8"))))}
    answered = np.array([position_of.get(int(n), -1) for n in series["sequence"]], dtype=int)
    has = answered >= 0
    rows = answered[has]
    source = np.full(count, CommandSource.HOLD, dtype=np.uint8)
    source[has] = commands.number("source", "u1")[rows]
    altered = np.zeros(count, dtype=bool)
    altered[has] = commands.number("altered", "u1")[rows] != 0
    positions = series["commanded_positions"].copy()
    if len(rows):
        names = commands.strings("joint_names")
        positions[has] = _by_name(commands.numbers("positions")[rows], [names[i] for i in rows], joint_names)
    proposed = np.zeros(count, dtype=np.uint64)
    proposed[has] = commands.number("proposed_sequence", "u8")[rows]
    when = np.full(count, np.iinfo(np.int64).max)
    when[has] = np.array(command_rows, dtype=np.int64)[rows] if len(rows) else 0
    series["command_source"], series["command_positions"], series["command_altered"] = source, positions, altered

    series["action_ee_delta"] = np.zeros((count, 6))
    series["action_gripper"] = series["gripper_command"].copy()
    series["action_value"] = np.full(count, np.nan)
    series["action_uncertainty"] = np.full(count, np.nan)
    operator = source == CommandSource.OPERATOR
    for topic, prefix, theirs in (("proposed_action", "", ~operator), ("intervention", "action.", operator)):
        actions, log_times = _columns(recording, topic)
        matches = _match(
            actions.number(f"{prefix}sequence", "u8"),
            actions.number(f"{prefix}state_sequence", "u8"),
            log_times,
            np.where(theirs, proposed, 0),
            series["sequence"],
            when,
        )
        found = matches >= 0
        intent = found & theirs
        if intent.any():
            series["action_ee_delta"][intent] = actions.numbers(f"{prefix}ee_delta")[matches[intent]]
            series["action_gripper"][intent] = actions.number(f"{prefix}gripper_command")[matches[intent]]
        # The policy goes on predicting while an operator is in control, so its value is of use there, too.
        predicted = found if topic == "proposed_action" else intent & np.isnan(series["action_value"])
        for column in ("value", "uncertainty") if predicted.any() else ():
            series[f"action_{column}"][predicted] = actions.number(f"{prefix}{column}")[matches[predicted]]


def _match(
    sequences: np.ndarray,
    state_sequences: np.ndarray,
    log_times: list[int],
    proposed: np.ndarray,
    samples: np.ndarray,
    when: np.ndarray,
) -> np.ndarray:
    """Row of the action behind each sample (n,), -1 for none.

    That is the action that the command says it answers, else the one made for this very state. A writer that restarted
    counts anew; then it is the newest that came before the command.
    """
    by_sequence: dict[int, list[int]] = {}
    for row, sequence in enumerate(sequences.tolist()):
        by_sequence.setdefault(sequence, []).append(row)
    by_state = {n: row for row, n in reversed(list(enumerate(state_sequences.tolist())))}
    result = np.full(len(samples), -1)
    for i, (answered, sample, limit) in enumerate(zip(proposed.tolist(), samples.tolist(), when.tolist(), strict=True)):
        rows = by_sequence.get(answered, []) if answered else []
        if len(rows) > 1:
            rows = [row for row in rows if log_times[row] <= limit] or rows
        result[i] = rows[-1] if rows else by_state.get(sample, -1)
    return result


def _columns(recording: RawRecording, topic: str) -> tuple[CdrColumns, list[int]]:
    messages = recording.topics.get(topic)
    if messages is None:
        return CdrColumns(TOPIC_TYPES[topic], []), []
    return CdrColumns(TOPIC_TYPES[topic], messages.payloads), messages.log_times


def _stamps(columns: CdrColumns) -> np.ndarray:
    sec = columns.number("header.stamp.sec", "i8").tolist()
    nanosec = columns.number("header.stamp.nanosec", "i8").tolist()
    return np.array([seconds_of(s, n) for s, n in zip(sec, nanosec, strict=True)], dtype=float)
