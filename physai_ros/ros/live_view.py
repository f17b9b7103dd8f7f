"""The running graph for Foxglove, in a browser or on a desktop: its messages as they are, over a websocket."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from physai_ros.experience.messages import message_definition
from physai_ros.ros import qos

TOPICS: dict[str, tuple[str, QoSProfile]] = {
    "markers": ("visualization_msgs/msg/MarkerArray", qos.EVENT),
    "learning_markers": ("visualization_msgs/msg/MarkerArray", qos.EVENT),
    "camera/scene/image_raw": ("sensor_msgs/msg/Image", qos.SENSOR),
    "joint_states": ("sensor_msgs/msg/JointState", qos.SENSOR),
    "robot_description": ("std_msgs/msg/String", qos.LATCHED),
    "safety_status": ("physai_ros/msg/SafetyStatus", qos.EVENT),
    "training_status": ("physai_ros/msg/TrainingStatus", qos.EVENT),
    "episode": ("physai_ros/msg/EpisodeContext", qos.LATCHED),
    "task_outcome": ("physai_ros/msg/TaskOutcome", qos.LATCHED),
}
"""What is shown, relative names: type, and how it is listened to."""


class LiveViewError(RuntimeError):
    """The viewer's library is missing; the message says how to install it."""


class LiveView:
    """Passes serialized messages on to Foxglove, each topic with the definition of its type; nothing is decoded.

    Fields of ours that RViz shows as markers are markers here too. It listens for as long as it lives: use it on a node
    of its own, whose executor is spun by whoever made it.
    """

    def __init__(self, node: Node, context: Any = None) -> None:  # noqa: ANN401 - foxglove.Context
        """`context` is Foxglove's, None for its default one, which `foxglove.start_server` serves.

        Raises:
            LiveViewError: foxglove-sdk is not installed.
        """
        foxglove = foxglove_library()
        self.passed = dict.fromkeys(TOPICS, 0)
        for topic, (type_name, profile) in TOPICS.items():
            schema = foxglove.Schema(
                name=type_name, encoding="ros2msg", data=message_definition(type_name).encode("utf-8")
            )
            name = node.resolve_topic_name(topic)
            channel = foxglove.Channel(name, schema=schema, message_encoding="cdr", context=context)
            package, _, kind = type_name.partition("/msg/")
            message_type = getattr(importlib.import_module(f"{package}.msg"), kind)
            node.create_subscription(message_type, topic, partial(self._pass_on, topic, channel), profile, raw=True)

    def _pass_on(self, topic: str, channel: Any, data: bytes) -> None:  # noqa: ANN401 - foxglove.Channel
        channel.log(data)
        self.passed[topic] += 1


def foxglove_library() -> Any:  # noqa: ANN401 - a module
    """The module `foxglove`; raises LiveViewError where it is not installed."""
    try:
        return importlib.import_module("foxglove")
    except ImportError as error:
        raise LiveViewError("the live view needs foxglove-sdk; install it: pip install 'physai_ros[view]'") from error
