"""What passes between Gazebo and ROS: one list, for the world's SDF, for ros_gz_bridge and for the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import yaml

from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.task import Task

WORLD = "physai"
CONTROL_SERVICE = f"/world/{WORLD}/control"
POSE_SERVICE = f"/world/{WORLD}/set_pose"
SERVICES = (
    (CONTROL_SERVICE, "ros_gz_interfaces/srv/ControlWorld"),
    (POSE_SERVICE, "ros_gz_interfaces/srv/SetEntityPose"),
)
"""Services that ros_gz_bridge passes on, with their ROS type; they keep their name."""


@dataclass(frozen=True)
class Bridged:
    """One topic: relative ROS name, Gazebo name, both types, and who writes; `source` is the joint, link or object."""

    ros_topic_name: str
    gz_topic_name: str
    ros_type_name: str
    gz_type_name: str
    direction: Literal["GZ_TO_ROS", "ROS_TO_GZ"]
    source: str = ""

    def entry(self) -> dict[str, str]:
        """The entry of ros_gz_bridge's configuration file."""
        names = ("ros_topic_name", "gz_topic_name", "ros_type_name", "gz_type_name", "direction")
        return {name: getattr(self, name) for name in names}


def bridged_topics(spec: RobotSpec, task: Task) -> tuple[Bridged, ...]:
    """Every topic of an arm and a task's objects."""
    up, down = "GZ_TO_ROS", "ROS_TO_GZ"
    base = f"/{spec.name}"
    topics = [
        Bridged("/clock", "/clock", "rosgraph_msgs/msg/Clock", "gz.msgs.Clock", up),
        Bridged("gazebo/joint_states", f"{base}/joint_states", "sensor_msgs/msg/JointState", "gz.msgs.Model", up),
        Bridged("gazebo/wrist", f"{base}/wrist", "geometry_msgs/msg/WrenchStamped", "gz.msgs.Wrench", up),
    ]
    for joint in (*spec.joint_names, *spec.gripper.joints):
        topics.append(
            Bridged(
                f"gazebo/{joint}/command",
                f"{base}/{joint}/command",
                "std_msgs/msg/Float64",
                "gz.msgs.Double",
                down,
                joint,
            )
        )
    for joint in spec.gripper.joints:
        topics.append(
            Bridged(
                f"gazebo/{joint}/wrench",
                f"{base}/{joint}/wrench",
                "geometry_msgs/msg/WrenchStamped",
                "gz.msgs.Wrench",
                up,
                joint,
            )
        )
    for item in task.objects:
        topics.append(
            Bridged(
                f"gazebo/{item.name}/pose",
                f"/model/{item.name}/pose",
                "geometry_msgs/msg/PoseStamped",
                "gz.msgs.Pose",
                up,
                item.name,
            )
        )
    topics.append(
        Bridged(
            "gazebo/contacts", f"{base}/contacts", "ros_gz_interfaces/msg/Contacts", "gz.msgs.Contacts", up, "fingers"
        )
    )
    topics += [
        Bridged("camera/scene/image_raw", "/camera/scene/image", "sensor_msgs/msg/Image", "gz.msgs.Image", up, "scene"),
        Bridged(
            "camera/scene/camera_info",
            "/camera/scene/camera_info",
            "sensor_msgs/msg/CameraInfo",
            "gz.msgs.CameraInfo",
            up,
            "scene",
        ),
    ]
    return tuple(topics)


def bridge_yaml(topics: Sequence[Bridged]) -> str:
    """Configuration file of ros_gz_bridge's parameter_bridge."""
    return yaml.safe_dump([topic.entry() for topic in topics], sort_keys=False, width=120)


def service_arguments() -> list[str]:
    """Command-line arguments of parameter_bridge for the services."""
    return [f"{name}@{kind}" for name, kind in SERVICES]
