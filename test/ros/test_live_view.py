"""What goes to Foxglove is what was published, with a definition that its readers can decode it by."""

import uuid

import pytest
import rclpy
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.context import Context
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from physai_ros import msg
from physai_ros.ros import qos
from physai_ros.ros.executor import ControlExecutor

foxglove = pytest.importorskip("foxglove", reason="foxglove-sdk is an optional extra")

from physai_ros.ros.live_view import TOPICS, LiveView  # noqa: E402


def test_messages_pass_as_they_are(tmp_path):
    context = Context()
    rclpy.init(context=context)
    node = Node("view", namespace=f"/view_{uuid.uuid4().hex[:8]}", context=context)
    executor = ControlExecutor(context=context)
    executor.add_node(node)
    own = foxglove.Context()
    path = tmp_path / "seen.mcap"
    with foxglove.open_mcap(path, context=own):
        view = LiveView(node, own)
        markers = node.create_publisher(MarkerArray, "markers", qos.EVENT)
        statuses = node.create_publisher(msg.SafetyStatus, "safety_status", qos.EVENT)
        for _ in range(1000):
            markers.publish(MarkerArray(markers=[Marker(ns="safety/state", id=7, text="STOPPED")]))
            statuses.publish(msg.SafetyStatus(state=msg.SafetyStatus.STOPPED, reasons=["emergency_stop"]))
            executor.spin_once(0.02)
            if view.passed["markers"] and view.passed["safety_status"]:
                break
        assert view.passed["markers"] and view.passed["safety_status"]
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    context.try_shutdown()
    seen = {}
    with path.open("rb") as file:
        for _, channel, _, message in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages():
            seen[channel.topic.rsplit("/", 1)[-1]] = message
    assert seen["markers"].markers[0].text == "STOPPED"
    assert seen["markers"].markers[0].id == 7
    assert list(seen["safety_status"].reasons) == ["emergency_stop"]
    assert set(view.passed) == set(TOPICS)
