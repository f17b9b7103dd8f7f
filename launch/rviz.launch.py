"""RViz beside a running graph, with robot_state_publisher where the arm's own package does not run one."""

import os

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from physai_ros.deployment.ros_launch import declared, is_true, rviz_node
from physai_ros.robot.spec import RobotSpec

ARGUMENTS = {
    "namespace": ("physai", "Namespace of the graph."),
    "use_sim_time": ("false", "Whether RViz follows /clock instead of the system's."),
    "robot": ("fr3_sim", "Robot configuration whose URDF is shown."),
    "state_publisher": ("true", "Whether to start robot_state_publisher, for the model; the markers need no TF."),
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, RViz and what publishes the robot's model."""
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=_made)])


def _made(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    actions: list[LaunchDescriptionEntity] = [rviz_node()]
    if is_true(context, "state_publisher"):
        urdf = RobotSpec.load(LaunchConfiguration("robot").perform(context)).urdf_path
        actions.append(
            Node(
                package="robot_state_publisher",
                executable="robot_state_publisher",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    {
                        "robot_description": urdf.read_text(encoding="utf-8"),
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    }
                ],
                output="both",
                cwd=os.fspath(urdf.parent),
            )
        )
    return actions
