"""RobotAction, ActionChunk, Intervention and SafeCommand: message and dataclass."""

import numpy as np

from physai_ros import msg
from physai_ros.robot.action import ActionChunk, Intervention, RobotAction
from physai_ros.ros.arrays import fixed_field, number_field, numbers, rows
from physai_ros.ros.conversions_state import BASE_FRAME
from physai_ros.ros.stamps import seconds_of, set_time
from physai_ros.safety.command import CommandSource, SafeCommand, StopTrajectory


def robot_action_message(action: RobotAction) -> msg.RobotAction:
    """The message of one step."""
    message = msg.RobotAction()
    set_time(message.header.stamp, action.stamp)
    message.header.frame_id = BASE_FRAME
    message.sequence = action.sequence
    message.state_sequence = action.state_sequence
    message.episode_id = action.episode_id
    message.joint_names = list(action.joint_names)
    message.reference_positions = number_field(action.reference_positions)
    message.joint_delta = number_field(action.joint_delta)
    message.ee_delta = fixed_field(action.ee_delta, 6, "ee_delta")
    message.gripper_command = float(action.gripper_command)
    set_time(message.observation_stamp, action.observation_stamp)
    set_time(message.target_time, action.target_time)
    message.chunk_id = action.chunk_id
    message.step = action.step
    message.policy_version = action.policy_version
    message.value = float(action.value)
    message.uncertainty = float(action.uncertainty)
    return message


def robot_action(message: msg.RobotAction) -> RobotAction:
    """The step of a message."""
    return RobotAction(
        stamp=seconds_of(message.header.stamp),
        sequence=message.sequence,
        state_sequence=message.state_sequence,
        joint_names=tuple(message.joint_names),
        reference_positions=numbers(message.reference_positions),
        joint_delta=numbers(message.joint_delta),
        ee_delta=numbers(message.ee_delta),
        gripper_command=message.gripper_command,
        episode_id=message.episode_id,
        observation_stamp=seconds_of(message.observation_stamp),
        target_time=seconds_of(message.target_time),
        chunk_id=message.chunk_id,
        step=message.step,
        policy_version=message.policy_version,
        value=message.value,
        uncertainty=message.uncertainty,
    )


def action_chunk_message(chunk: ActionChunk) -> msg.ActionChunk:
    """The message of a whole prediction."""
    message = msg.ActionChunk()
    set_time(message.header.stamp, chunk.stamp)
    message.header.frame_id = BASE_FRAME
    message.chunk_id = chunk.chunk_id
    message.state_sequence = chunk.state_sequence
    message.episode_id = chunk.episode_id
    set_time(message.observation_stamp, chunk.observation_stamp)
    message.policy_version = chunk.policy_version
    message.step_duration = float(chunk.step_duration)
    message.steps = len(chunk.ee_deltas)
    message.ee_deltas = number_field(chunk.ee_deltas)
    message.gripper_commands = number_field(chunk.gripper_commands)
    message.value = float(chunk.value)
    message.uncertainty = float(chunk.uncertainty)
    return message


def action_chunk(message: msg.ActionChunk) -> ActionChunk:
    """The prediction of a message."""
    steps = message.steps
    if len(message.ee_deltas) != 6 * steps or len(message.gripper_commands) != steps:
        raise ValueError(
            f"action chunk of {steps} steps holds {len(message.ee_deltas)} displacements and "
            f"{len(message.gripper_commands)} gripper commands; expected {6 * steps} and {steps}"
        )
    return ActionChunk(
        stamp=seconds_of(message.header.stamp),
        chunk_id=message.chunk_id,
        state_sequence=message.state_sequence,
        step_duration=message.step_duration,
        ee_deltas=numbers(message.ee_deltas).reshape(steps, 6),
        gripper_commands=numbers(message.gripper_commands),
        episode_id=message.episode_id,
        observation_stamp=seconds_of(message.observation_stamp),
        policy_version=message.policy_version,
        value=message.value,
        uncertainty=message.uncertainty,
    )


def intervention_message(intervention: Intervention) -> msg.Intervention:
    """The message of a teleoperator's action."""
    message = msg.Intervention()
    set_time(message.header.stamp, intervention.stamp)
    message.header.frame_id = BASE_FRAME
    message.enable = bool(intervention.enable)
    message.lease = float(intervention.lease)
    message.operator_name = intervention.operator_name
    message.action = robot_action_message(intervention.action)
    return message


def intervention(message: msg.Intervention) -> Intervention:
    """The teleoperator's action of a message."""
    return Intervention(
        stamp=seconds_of(message.header.stamp),
        enable=message.enable,
        lease=message.lease,
        operator_name=message.operator_name,
        action=robot_action(message.action),
    )


def safe_command_message(command: SafeCommand) -> msg.SafeCommand:
    """The message of a permitted command with its stop."""
    message = msg.SafeCommand()
    set_time(message.header.stamp, command.stamp)
    message.header.frame_id = BASE_FRAME
    message.sequence = command.sequence
    message.state_sequence = command.state_sequence
    message.proposed_sequence = command.proposed_sequence
    message.episode_id = command.episode_id
    message.token = command.token
    message.joint_names = list(command.joint_names)
    message.positions = number_field(command.positions)
    message.velocities = number_field(command.velocities)
    message.gripper_command = float(command.gripper_command)
    message.valid_for = float(command.valid_for)
    message.source = int(command.source)
    message.altered = bool(command.altered)
    message.reasons = list(command.reasons)
    message.stop.time_step = float(command.stop.time_step)
    message.stop.samples = len(command.stop.positions)
    message.stop.positions = number_field(command.stop.positions)
    return message


def safe_command(message: msg.SafeCommand) -> SafeCommand:
    """The permitted command of a message."""
    stop = message.stop
    if stop.samples == 0 and len(stop.positions) == 0:
        path = np.zeros((0, len(message.joint_names)))
    else:
        path = rows(stop.positions, stop.samples, "stop.positions")
    return SafeCommand(
        stamp=seconds_of(message.header.stamp),
        sequence=message.sequence,
        state_sequence=message.state_sequence,
        proposed_sequence=message.proposed_sequence,
        joint_names=tuple(message.joint_names),
        positions=numbers(message.positions),
        velocities=numbers(message.velocities),
        gripper_command=message.gripper_command,
        valid_for=message.valid_for,
        source=CommandSource(message.source),
        stop=StopTrajectory(stop.time_step, path),
        token=message.token,
        episode_id=message.episode_id,
        altered=message.altered,
        reasons=tuple(message.reasons),
    )


TO_MESSAGE = {
    RobotAction: robot_action_message,
    ActionChunk: action_chunk_message,
    Intervention: intervention_message,
    SafeCommand: safe_command_message,
}
FROM_MESSAGE = {
    msg.RobotAction: robot_action,
    msg.ActionChunk: action_chunk,
    msg.Intervention: intervention,
    msg.SafeCommand: safe_command,
}
