"""A bag of somebody else's robot, in both storages, becomes episodes."""

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from physai_ros.experience.bag_import import import_bag
from physai_ros.experience.bag_mapping import BagMapping, MappingError
from physai_ros.experience.episode import Purpose
from physai_ros.experience.lerobot_layout import ExchangeError
from physai_ros.experience.messages import time_of, typestore
from physai_ros.experience.pictures import encode_picture

JOINTS = [f"fr3_joint{i}" for i in range(1, 8)]
HOME = np.array([0, -0.7, 0, -2.3, 0, 1.6, 0.8])
MAPPING = """
robot: fr3_sim
task: pick_place
instruction: put the cube on the plate
topics:
  joint_states: /joint_states
  command: /arm_controller/joint_trajectory
  wrench: /wrench
  gripper: /joint_states
cameras: {front: /front/image_raw, wrist: /wrist/compressed}
gripper: {joint: finger, closed: 0.0, open: 0.04}
"""


def make(kind, **values: object):
    return typestore().types[kind](**values)


def header(stamp):
    sec, nanosec = time_of(stamp)
    return make(
        "std_msgs/msg/Header", stamp=make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec), frame_id="base"
    )


def joint_state(stamp, positions, width):
    # In an order of its own, with a joint that is none of the arm's.
    return make(
        "sensor_msgs/msg/JointState",
        header=header(stamp),
        name=["finger", *JOINTS[::-1]],
        position=np.array([width, *positions[::-1]]),
        velocity=np.zeros(0),
        effort=np.zeros(0),
    )


def trajectory(stamp, positions):
    point = make(
        "trajectory_msgs/msg/JointTrajectoryPoint",
        positions=positions,
        velocities=np.zeros(0),
        accelerations=np.zeros(0),
        effort=np.zeros(0),
        time_from_start=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
    )
    return make("trajectory_msgs/msg/JointTrajectory", header=header(stamp), joint_names=JOINTS, points=[point])


def image(stamp, rgb):
    return make(
        "sensor_msgs/msg/Image",
        header=header(stamp),
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding="bgr8",
        is_bigendian=0,
        step=rgb.shape[1] * 3,
        data=np.ascontiguousarray(rgb[..., ::-1]).reshape(-1),
    )


def compressed(stamp, rgb):
    data = np.frombuffer(encode_picture(rgb, "png"), dtype=np.uint8)
    return make("sensor_msgs/msg/CompressedImage", header=header(stamp), format="png", data=data)


def wrench(stamp, force):
    vector = lambda x: make("geometry_msgs/msg/Vector3", x=float(x), y=0.0, z=0.0)  # noqa: E731
    body = make("geometry_msgs/msg/Wrench", force=vector(force), torque=vector(0))
    return make("geometry_msgs/msg/WrenchStamped", header=header(stamp), wrench=body)


def position(stamp):
    return HOME + 0.2 * np.sin(stamp - 1000.0)


def write_bag(path, storage):
    """Two episodes of 3 s with 5 s of silence between, joints at 50 Hz."""
    with Writer(path, version=9, storage_plugin=storage) as bag:
        connections = {}

        def put(topic, message, stamp) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, kind, typestore=typestore())
            bag.write(connections[topic], round(stamp * 1e9), typestore().serialize_cdr(message, kind))

        for start in (1000.0, 1008.0):
            for i in range(151):
                stamp = start + i / 50
                put("/joint_states", joint_state(stamp, position(stamp), 0.04 if i < 75 else 0.01), stamp)
                put("/arm_controller/joint_trajectory", trajectory(stamp, position(stamp + 0.02)), stamp)
                put("/wrench", wrench(stamp, 3.0 if i == 100 else 0.0), stamp)
                if i % 5 == 0:
                    rgb = np.full((24, 32, 3), (200, 10, i), dtype=np.uint8)
                    put("/front/image_raw", image(stamp, rgb), stamp)
                    put("/wrist/compressed", compressed(stamp, rgb), stamp)


@pytest.fixture
def mapping(tmp_path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    return tmp_path / "mapping.yaml"


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_becomes_episodes_on_the_robots_own_grid(mapping, tmp_path, storage):
    write_bag(tmp_path / "bag", storage)
    episodes = [episode for episode, _ in import_bag(tmp_path / "bag", BagMapping.load(mapping))]
    assert [e.context.episode_id for e in episodes] == ["bag-000000", "bag-000001"]
    for start, episode in zip((1000.0, 1008.0), episodes, strict=True):
        series = episode.series
        assert (len(episode), episode.joint_names) == (301, tuple(JOINTS))
        assert episode.context.purpose == Purpose.DEMONSTRATE and episode.outcome.success
        expected = np.array([position(stamp) for stamp in series["stamp"]])
        np.testing.assert_allclose(series["joint_positions"], expected, atol=1e-4)
        np.testing.assert_allclose(series["command_positions"][:-2], expected[2:], atol=1e-4)
        np.testing.assert_allclose(
            series["joint_velocities"][5:-5], 0.2 * np.cos(series["stamp"] - 1000)[5:-5, None] * np.ones(7), atol=5e-3
        )
        np.testing.assert_allclose(series["gripper_width"][[0, -1]], [0.08, 0.02], atol=1e-6)  # of fr3_sim's 8 cm
        assert series["action_gripper"][0] > 0 > series["action_gripper"][-1]
        assert series["wrench"][:, 0].max() == pytest.approx(3.0)
        assert np.isfinite(series["ee_position"]).all()
        for camera in ("front", "wrist"):
            pictures = episode.pictures[camera]
            assert len(pictures) == 31 and pictures.stamps[0] == pytest.approx(start)
            assert np.abs(pictures.rgb(2).astype(int) - [200, 10, 10]).max() < 8


def test_a_mapping_that_does_not_fit_is_said_in_one_line(mapping, tmp_path):
    write_bag(tmp_path / "bag", StoragePlugin.MCAP)
    (tmp_path / "other.yaml").write_text("topics: {joint_states: /states}")
    with pytest.raises(ExchangeError, match=r"has no topic /states; it has /arm_controller"):
        list(import_bag(tmp_path / "bag", BagMapping.load(tmp_path / "other.yaml")))
    with pytest.raises(ExchangeError, match="is no rosbag2"):
        list(import_bag(mapping, BagMapping.load(mapping)))
    for text, message in (
        ("topics: {}", "joint_states must be there"),
        ("topics: {joint_states: /j, sound: /s}", "beside it only"),
        ("speed: 3", "unknown keys speed"),
        ("topics: {joint_states: /j}\nrate: fast", "rate is 'fast'"),
        ("topics: {joint_states: /j}\noutcome: maybe", "outcome is 'maybe'"),
        ("- a", "holds list"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(MappingError, match=message):
            BagMapping.load(tmp_path / "bad.yaml")
