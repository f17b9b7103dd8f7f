"""A driver's measurement as `sensor_msgs/JointState`, for what shows the arm."""

from __future__ import annotations

from sensor_msgs.msg import JointState

from physai_ros.robot.state import DriverState
from physai_ros.ros.arrays import number_field
from physai_ros.ros.stamps import set_time


def joint_state_message(state: DriverState, fingers: tuple[str, ...] = ()) -> JointState:
    """Joints of the arm, and fingers that share the gripper's opening [m]."""
    message = JointState(name=[*state.joint_names, *fingers])
    set_time(message.header.stamp, state.stamp)
    share = state.gripper_width / max(len(fingers), 1)
    message.position = number_field([*state.joint_positions, *[share] * len(fingers)])
    message.velocity = number_field([*state.joint_velocities, *[0.0] * len(fingers)])
    message.effort = number_field([*state.joint_torques, *[0.0] * len(fingers)])
    return message
