"""The teleoperator as a process: what a gamepad says becomes interventions, and stops when it is let go."""

import numpy as np
from sensor_msgs.msg import Joy

from physai_ros import msg
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message


def test_a_held_switch_drives_and_a_released_one_hands_back(graph):
    spec = RobotSpec.load("fr3_sim")
    pose, still = Kinematics(spec).tool_pose(spec.home_positions), np.zeros(7)
    state = RobotState(
        stamp=0.01,
        sequence=1,
        joint_names=spec.joint_names,
        joint_positions=spec.home_positions,
        joint_velocities=still,
        joint_torques=still,
        commanded_positions=spec.home_positions,
        ee_position=pose.position,
        ee_orientation=np.array([1.0, 0, 0, 0]),
        ee_velocity=np.zeros(6),
        wrench=np.zeros(6),
        contact_forces=np.zeros(2),
        gripper_width=0.08,
        gripper_force=0.0,
        gripper_command=1.0,
        object_poses={},
    )
    heard = graph.hear(msg.Intervention, "intervention", qos.INTERVENTION)
    joy = graph.node.create_publisher(Joy, "joy", qos.SENSOR_WRITER)
    states = graph.node.create_publisher(msg.RobotState, "robot_state", qos.CONTROL_WRITER)
    graph.start("teleoperator", operator_name="anna")
    graph.bring_up("teleoperator")

    def said(buttons: list[int], enable: bool) -> bool:
        joy.publish(Joy(axes=[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], buttons=buttons))
        states.publish(to_message(state))
        return bool(heard) and heard[-1].enable == enable

    graph.wait(lambda: said([0, 0, 0, 0, 1], True))
    intervention = from_message(heard[-1])
    assert intervention.operator_name == "anna"
    assert intervention.action.ee_delta[0] > 0
    graph.wait(lambda: said([0, 0, 0, 0, 0], False))
