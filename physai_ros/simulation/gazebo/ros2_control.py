"""The second route into Gazebo: the arm's URDF with what gz_ros2_control wants to know."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import SubElement

from physai_ros.robot.spec import RobotSpec

POSITION_GAIN = 0.5
"""Share of the position error that gz_ros2_control turns into a velocity in one update; its default of 0.1 lags."""


def controlled_urdf(spec: RobotSpec, controllers: str) -> str:
    """URDF of the arm with hardware `gz_ros2_control/GazeboSimSystem` and its plugin.

    Every joint starts at the home posture, fingers open, and is held there until a controller takes it.

    Args:
        spec: of the arm.
        controllers: path of the controller manager's parameters.
    """
    root = ElementTree.parse(spec.urdf_path).getroot()
    control = SubElement(root, "ros2_control", name="gazebo", type="system")
    SubElement(SubElement(control, "hardware"), "plugin").text = "gz_ros2_control/GazeboSimSystem"
    starts = dict(zip(spec.joint_names, spec.home_positions, strict=True))
    starts |= dict.fromkeys(spec.gripper.joints, spec.gripper.max_width / len(spec.gripper.joints))
    for name, start in starts.items():
        joint = SubElement(control, "joint", name=name)
        for interface in ("position", "velocity") if name in spec.joint_names else ("position",):
            SubElement(joint, "command_interface", name=interface)
        position = SubElement(joint, "state_interface", name="position")
        SubElement(position, "param", name="initial_value").text = repr(float(start))
        for interface in ("velocity", "effort"):
            SubElement(joint, "state_interface", name=interface)
    # Two fingers with a command each: no mimic, which physics engines treat differently.
    for joint in root.findall("joint"):
        mimic = joint.find("mimic")
        if mimic is not None and joint.get("name") in starts:
            joint.remove(mimic)
    plugin = SubElement(
        SubElement(root, "gazebo"),
        "plugin",
        filename="gz_ros2_control-system",
        name="gz_ros2_control::GazeboSimROS2ControlPlugin",
    )
    texts = {"parameters": controllers, "hold_joints": "true", "position_proportional_gain": repr(POSITION_GAIN)}
    for tag, text in texts.items():
        SubElement(plugin, tag).text = text
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
