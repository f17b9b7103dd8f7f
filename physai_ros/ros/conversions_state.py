"""DriverState, ObjectStates and RobotState: message and dataclass."""

import numpy as np

from physai_ros import msg
from physai_ros.robot.state import DriverFault, DriverMode, DriverState, Modality, ObjectStates, RobotState
from physai_ros.ros.arrays import number_field, numbers
from physai_ros.ros.geometry import (
    pose_message,
    pose_numbers,
    poses_array,
    set_twist,
    set_wrench,
    twist_array,
    wrench_array,
)
from physai_ros.ros.stamps import seconds_of, set_time

BASE_FRAME = "base_link"


def driver_state_message(state: DriverState) -> msg.DriverState:
    """The message of a driver's state."""
    message = msg.DriverState()
    set_time(message.header.stamp, state.stamp)
    message.header.frame_id = BASE_FRAME
    message.sequence = state.sequence
    message.joint_names = list(state.joint_names)
    message.joint_positions = number_field(state.joint_positions)
    message.joint_velocities = number_field(state.joint_velocities)
    message.joint_torques = number_field(state.joint_torques)
    message.commanded_positions = number_field(state.commanded_positions)
    set_wrench(message.wrench, state.wrench)
    message.wrench_valid = bool(state.wrench_valid)
    message.contact_forces = number_field(state.contact_forces)
    message.gripper_width = float(state.gripper_width)
    message.gripper_force = float(state.gripper_force)
    message.gripper_command = float(state.gripper_command)
    message.mode = int(state.mode)
    message.fault = int(state.fault)
    message.fault_text = state.fault_text
    message.enforced_position_lower = number_field(state.enforced_position_lower)
    message.enforced_position_upper = number_field(state.enforced_position_upper)
    message.enforced_velocity = number_field(state.enforced_velocity)
    message.enforced_effort = number_field(state.enforced_effort)
    message.command_timeout = float(state.command_timeout)
    message.command_sequence = state.command_sequence
    message.commands_refused = state.commands_refused
    message.lock_step = bool(state.lock_step)
    return message


def driver_state(message: msg.DriverState) -> DriverState:
    """The driver's state of a message."""
    return DriverState(
        stamp=seconds_of(message.header.stamp),
        sequence=message.sequence,
        joint_names=tuple(message.joint_names),
        joint_positions=numbers(message.joint_positions),
        joint_velocities=numbers(message.joint_velocities),
        joint_torques=numbers(message.joint_torques),
        commanded_positions=numbers(message.commanded_positions),
        wrench=wrench_array(message.wrench),
        wrench_valid=message.wrench_valid,
        contact_forces=numbers(message.contact_forces),
        gripper_width=message.gripper_width,
        gripper_force=message.gripper_force,
        gripper_command=message.gripper_command,
        mode=DriverMode(message.mode),
        fault=DriverFault(message.fault),
        fault_text=message.fault_text,
        enforced_position_lower=numbers(message.enforced_position_lower),
        enforced_position_upper=numbers(message.enforced_position_upper),
        enforced_velocity=numbers(message.enforced_velocity),
        enforced_effort=numbers(message.enforced_effort),
        command_timeout=message.command_timeout,
        command_sequence=message.command_sequence,
        commands_refused=message.commands_refused,
        lock_step=message.lock_step,
    )


def object_states_message(states: ObjectStates) -> msg.ObjectStates:
    """The message of object poses."""
    message = msg.ObjectStates()
    set_time(message.header.stamp, states.stamp)
    message.header.frame_id = BASE_FRAME
    message.sequence = states.sequence
    message.names = list(states.names)
    message.poses = [
        pose_message(position, quaternion)
        for position, quaternion in zip(states.positions.tolist(), states.quaternions_wxyz.tolist(), strict=True)
    ]
    return message


def object_states(message: msg.ObjectStates) -> ObjectStates:
    """The object poses of a message."""
    if len(message.names) != len(message.poses):
        raise ValueError(f"objects: {len(message.names)} names and {len(message.poses)} poses; expected as many")
    poses = poses_array(message.poses)
    return ObjectStates(
        stamp=seconds_of(message.header.stamp),
        sequence=message.sequence,
        names=tuple(message.names),
        positions=poses[:, :3].copy(),
        quaternions_wxyz=poses[:, 3:].copy(),
    )


def robot_state_message(state: RobotState) -> msg.RobotState:
    """The message of one fused state; images travel in `observation` and are left out.

    Further joints stand behind the arm's, without a set-point: `commanded_positions` has as many as the arm.
    """
    message = msg.RobotState()
    set_time(message.header.stamp, state.stamp)
    message.header.frame_id = BASE_FRAME
    message.sequence = state.sequence
    message.joint_names = [*state.joint_names, *state.further_joints]
    measured = (state.joint_positions, state.joint_velocities, state.joint_torques)
    if state.further_joints:
        further = np.array(list(state.further_joints.values())).T
        measured = [np.concatenate(columns) for columns in zip(measured, further, strict=True)]
    message.joint_positions, message.joint_velocities, message.joint_torques = map(number_field, measured)
    message.commanded_positions = number_field(state.commanded_positions)
    message.ee_pose = pose_message(state.ee_position.tolist(), state.ee_orientation.tolist())
    set_twist(message.ee_velocity, state.ee_velocity)
    set_wrench(message.wrench, state.wrench)
    message.contact_forces = number_field(state.contact_forces)
    message.gripper_width = float(state.gripper_width)
    message.gripper_force = float(state.gripper_force)
    message.gripper_command = float(state.gripper_command)
    message.object_names = list(state.object_poses)
    poses = [pose.tolist() for pose in state.object_poses.values()]
    message.object_poses = [pose_message(pose[:3], pose[3:]) for pose in poses]
    message.modalities = [_modality_message(modality) for modality in state.modalities]
    return message


def robot_state(message: msg.RobotState) -> RobotState:
    """The fused state of a message."""
    pose = np.array(pose_numbers(message.ee_pose))
    poses = poses_array(message.object_poses)
    names, commanded = tuple(message.joint_names), numbers(message.commanded_positions)
    count = len(commanded) or len(names)
    measured = [numbers(each) for each in (message.joint_positions, message.joint_velocities, message.joint_torques)]
    further = {}
    if len(names) > count and all(len(each) == len(names) for each in measured):
        further = dict(zip(names[count:], np.array([each[count:] for each in measured]).T, strict=True))
    return RobotState(
        stamp=seconds_of(message.header.stamp),
        sequence=message.sequence,
        joint_names=names[:count],
        joint_positions=measured[0][:count],
        joint_velocities=measured[1][:count],
        joint_torques=measured[2][:count],
        commanded_positions=commanded,
        ee_position=pose[:3],
        ee_orientation=pose[3:],
        ee_velocity=twist_array(message.ee_velocity),
        wrench=wrench_array(message.wrench),
        contact_forces=numbers(message.contact_forces),
        gripper_width=message.gripper_width,
        gripper_force=message.gripper_force,
        gripper_command=message.gripper_command,
        object_poses=dict(zip(message.object_names, poses, strict=True)),
        modalities=tuple(Modality(m.name, m.valid, m.age, m.reason) for m in message.modalities),
        further_joints=further,
    )


def _modality_message(modality: Modality) -> msg.Modality:
    message = msg.Modality()
    message.name = modality.name
    message.valid = bool(modality.valid)
    message.age = float(modality.age)
    message.reason = modality.reason
    return message


TO_MESSAGE = {
    DriverState: driver_state_message,
    ObjectStates: object_states_message,
    RobotState: robot_state_message,
}
FROM_MESSAGE = {
    msg.DriverState: driver_state,
    msg.ObjectStates: object_states,
    msg.RobotState: robot_state,
}
