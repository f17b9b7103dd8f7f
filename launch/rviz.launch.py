"""RViz beside a running graph, with robot_state_publisher where the arm's own package does not run one."""

import os

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from physai_ros.deployment.ros_launch import rviz_node
from physai_ros.robot.spec import RobotSpec


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, RViz and what publishes the robot's model."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="physai", description="Namespace of the graph."),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                description="Whether RViz follows /clock instead of the system's.",
            ),
            DeclareLaunchArgument(
                "robot", default_value="fr3_sim", description="Robot configuration whose URDF is shown."
            ),
            DeclareLaunchArgument(
                "state_publisher",
                default_value="true",
                description="Whether to start robot_state_publisher, for the model; the markers need no TF.",
            ),
            OpaqueFunction(function=_made),
        ]
    )


def _made(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    actions: list[LaunchDescriptionEntity] = [rviz_node()]
    if LaunchConfiguration("state_publisher").perform(context).lower() in ("true", "1"):
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
