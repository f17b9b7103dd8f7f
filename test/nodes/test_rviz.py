"""What the RViz file shows is what the running graph publishes, in type and quality of service."""

import yaml
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from visualization_msgs.msg import MarkerArray

from physai_ros.robot.share import share_path
from physai_ros.ros import qos

TYPES = {
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/RobotModel": "std_msgs/msg/String",
}


def displays() -> list[dict]:
    content = yaml.safe_load(share_path("config", "rviz", "physai.rviz").read_text())
    manager = content["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "base_link"
    assert manager["Views"]["Current"]["Class"] == "rviz_default_plugins/Orbit"
    return manager["Displays"]


def test_every_topic_of_the_file_is_published_by_the_running_graph(graph, tmp_path):
    shown = [(d, d.get("Topic") or d["Description Topic"]) for d in displays() if d["Class"] in TYPES]
    assert len(shown) == len(displays()) - 1  # all but the grid
    graph.start("driver_node", camera_rate=5.0)
    graph.start("safety_monitor")
    graph.start("sparse_trainer", store=tmp_path / "e", registry=tmp_path / "r", checkpoint=tmp_path / "c.safetensors")
    graph.bring_up("driver_node", "safety_monitor", "sparse_trainer")
    for display, topic in shown:
        name = f"{graph.namespace}/{topic['Value']}"
        assert not topic["Value"].startswith("/")
        graph.wait(lambda name=name: graph.node.get_publishers_info_by_topic(name))
        for info in graph.node.get_publishers_info_by_topic(name):
            assert info.topic_type == TYPES[display["Class"]]
            offered, asked = info.qos_profile, topic
            reliable = offered.reliability == ReliabilityPolicy.RELIABLE
            latched = offered.durability == DurabilityPolicy.TRANSIENT_LOCAL
            assert reliable or asked["Reliability Policy"] == "Best Effort"
            assert latched or asked["Durability Policy"] == "Volatile"
    for display, topic in shown:
        if display["Class"].endswith("MarkerArray"):
            heard = graph.hear(MarkerArray, topic["Value"], qos.EVENT)
            graph.wait(lambda heard=heard: heard)
            assert {m.header.frame_id for m in heard[-1].markers} == {"base_link"}
