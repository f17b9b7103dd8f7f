"""URDF, SDF and MuJoCo are one arm, and what is bridged is there."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.share import share_path
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.ros2_control.connection import Connection
from physai_ros.simulation.gazebo.bridge import SERVICES, WORLD, bridge_yaml, bridged_topics
from physai_ros.simulation.gazebo.ros2_control import controlled_urdf
from physai_ros.simulation.gazebo.world import SETTABLE, TIME_STEP, world_sdf
from physai_ros.simulation.model import build_model
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.catalog import load_task

SPEC = RobotSpec.load("fr3_sim")
TASK = load_task("pick_place")
SDF = ElementTree.fromstring(world_sdf(SPEC, TASK))
ARM = next(model for model in SDF.iter("model") if model.get("name") == SPEC.name)
URDF = ElementTree.parse(SPEC.urdf_path).getroot()
MODEL = build_model(SPEC, TASK.objects)
ROS_TYPES = {  # table of ros_gz_bridge
    "gz.msgs.Clock": "rosgraph_msgs/msg/Clock",
    "gz.msgs.Model": "sensor_msgs/msg/JointState",
    "gz.msgs.Double": "std_msgs/msg/Float64",
    "gz.msgs.Wrench": "geometry_msgs/msg/WrenchStamped",
    "gz.msgs.Pose": "geometry_msgs/msg/PoseStamped",
    "gz.msgs.Contacts": "ros_gz_interfaces/msg/Contacts",
    "gz.msgs.Image": "sensor_msgs/msg/Image",
    "gz.msgs.CameraInfo": "sensor_msgs/msg/CameraInfo",
}


def numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=float)


def transform(pose: ElementTree.Element | None) -> np.ndarray:
    made = np.eye(4)
    if pose is not None:
        values = numbers(pose.text)
        made[:3, 3] = values[:3]
        made[:3, :3] = Rotation.from_euler("xyz", values[3:]).as_matrix()
    return made


def sdf_frames(positions: dict[str, float]) -> dict[str, np.ndarray]:
    """Pose (4, 4) of every link, joint and frame of the SDF in the model, by the rules of SDFormat 1.9."""
    elements = {e.get("name"): e for tag in ("link", "joint", "frame") for e in ARM.findall(tag)}
    placed: dict[str, np.ndarray] = {}

    def place(name: str) -> np.ndarray:
        if name in ("", "world", "__model__"):
            return np.eye(4)
        if name not in placed:
            element = elements[name]
            pose = element.find("pose")
            base = pose.get("relative_to") if pose is not None else None
            if base is None and element.tag == "frame":
                base = element.get("attached_to", "")
            if base is None and element.tag == "joint":
                base = element.find("child").text
            moved = place(base or "") @ transform(pose)
            axis = element.find("axis")
            # Only where a link hangs on a joint does its motion count.
            if axis is not None:
                q, direction = positions.get(name, 0.0), numbers(axis.find("xyz").text)
                motion = np.eye(4)
                if element.get("type") == "revolute":
                    motion[:3, :3] = Rotation.from_rotvec(q * direction).as_matrix()
                else:
                    motion[:3, 3] = q * direction
                moved = moved @ motion
            placed[name] = moved
        return placed[name]

    for name in elements:
        place(name)
    return placed


@settings(max_examples=25, deadline=None)
@given(shares=st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7), width=st.floats(0.0, 0.08))
def test_forward_kinematics_agree(shares, width):
    joints = SPEC.position_lower + np.array(shares) * (SPEC.position_upper - SPEC.position_lower)
    positions = dict(zip(SPEC.joint_names, joints, strict=True)) | dict.fromkeys(SPEC.gripper.joints, width / 2)
    frames = sdf_frames(positions)
    tool = Kinematics(SPEC).tool_pose(joints)
    assert np.abs(frames[SPEC.tool_frame][:3, 3] - tool.position).max() < 1e-6
    assert np.abs(frames[SPEC.tool_frame][:3, :3] - tool.rotation).max() < 1e-6
    data = mujoco.MjData(MODEL)
    for name, value in positions.items():
        data.joint(name).qpos[0] = value
    mujoco.mj_forward(MODEL, data)
    for link in URDF.findall("link"):
        name = link.get("name")
        if mujoco.mj_name2id(MODEL, mujoco.mjtObj.mjOBJ_BODY, name) < 0:
            assert name == SPEC.base_frame  # MuJoCo's world
            continue
        assert np.abs(frames[name][:3, 3] - data.body(name).xpos).max() < 1e-6
        assert np.abs(frames[name][:3, :3] - data.body(name).xmat.reshape(3, 3)).max() < 1e-6


def test_limits_and_masses_agree():
    for joint in URDF.findall("joint"):
        if joint.get("type") == "fixed":
            continue
        name = joint.get("name")
        axis = next(j for j in ARM.findall("joint") if j.get("name") == name).find("axis")
        for key in ("lower", "upper", "velocity"):
            assert float(axis.find(f"limit/{key}").text) == float(joint.find("limit").get(key))
        assert MODEL.joint(name).range == pytest.approx(
            [float(joint.find("limit").get(key)) for key in ("lower", "upper")], abs=1e-6
        )
        if name not in SPEC.gripper.joints:
            assert float(axis.find("limit/effort").text) == float(joint.find("limit").get("effort"))
    masses = {link.get("name"): float(link.find("inertial/mass").text) for link in ARM.findall("link")}
    for link in URDF.findall("link"):
        given_mass = link.find("inertial/mass")
        name = link.get("name")
        if given_mass is None:
            assert name not in masses  # a frame: SDF would give it a kilogram
            continue
        mass = float(given_mass.get("value"))
        assert masses[name] == mass
        assert MODEL.body(name).mass[0] == pytest.approx(mass, abs=1e-6)
        moments = ARM.find(f"link[@name='{name}']/inertial/inertia")
        assert {m.tag: float(m.text) for m in moments} == {
            k: float(v) for k, v in link.find("inertial/inertia").attrib.items()
        }
    assert sum(masses.values()) == pytest.approx(sum(float(m.get("value")) for m in URDF.iter("mass")))


def test_objects_are_the_tasks():
    for item in TASK.objects:
        model = SDF.find(f"world/model[@name='{item.name}']")
        assert float(model.find("link/inertial/mass").text) == item.mass
        assert numbers(model.find("link/collision/geometry/box/size").text) == pytest.approx(item.size)


def test_what_is_bridged_is_in_the_world_and_of_a_type_that_the_bridge_knows():
    named = {element.text for tag in ("topic", "camera_info_topic") for element in SDF.iter(tag)}
    named |= {f"/model/{item.name}/pose" for item in TASK.objects} | {"/clock"}
    topics = bridged_topics(SPEC, TASK)
    assert {topic.gz_topic_name for topic in topics} == named
    joints = {joint.get("name") for joint in ARM.findall("joint")}
    for topic in topics:
        assert ROS_TYPES[topic.gz_type_name] == topic.ros_type_name
        assert not topic.ros_topic_name.startswith("/") or topic.ros_topic_name == "/clock"
        assert re.fullmatch(r"/?[A-Za-z_][\w]*(/[A-Za-z_]\w*)*", topic.ros_topic_name)
        package, _, name = topic.ros_type_name.replace("/msg/", "/").partition("/")
        if package != "ros_gz_interfaces":
            assert hasattr(importlib.import_module(f"{package}.msg"), name)
        if topic.source in {*SPEC.joint_names, *SPEC.gripper.joints}:
            assert topic.source in joints
    commanded = {t.source for t in topics if t.direction == "ROS_TO_GZ"}
    assert commanded == {
        plugin.find("joint_name").text for plugin in ARM.iter("plugin") if plugin.find("joint_name") is not None
    }
    collisions = {c.get("name") for c in ARM.iter("collision") if c.get("name")}
    for contact in ARM.iter("contact"):
        assert contact.find("collision").text in collisions
    assert all(name.startswith(f"/world/{WORLD}/") for name, _ in SERVICES)


def test_the_shipped_bridge_is_this_one():
    shipped = share_path("config", "gazebo", "bridge.yaml").read_text()
    assert yaml.safe_load(shipped) == yaml.safe_load(bridge_yaml(bridged_topics(SPEC, TASK)))
    assert all(entry["direction"] in ("GZ_TO_ROS", "ROS_TO_GZ") for entry in yaml.safe_load(shipped))


@pytest.mark.parametrize(
    ("name", "value", "path", "text"),
    [
        ("gravity", 9.5, "world/gravity", "0 0 -9.5"),
        ("time_step", 0.0005, "world/physics/max_step_size", "0.0005"),
        ("object_mass_scale", 2.0, "world/model[@name='cube']/link/inertial/mass", "0.2"),
        ("object_friction", 0.7, "world/model[@name='cube']/link/collision/surface/friction/ode/mu", "0.7"),
        ("restitution", 0.4, "world/model[@name='cube']/link/collision/surface/bounce/restitution_coefficient", "0.4"),
        ("joint_friction", 1.5, "world/model/joint[@name='fr3_joint3']/axis/dynamics/friction", "1.5"),
        ("joint_damping", 3.0, "world/model/joint[@name='fr3_joint3']/axis/dynamics/damping", "3.0"),
        ("grip_force", 35.0, "world/model/joint[@name='fr3_finger_joint_left']/axis/limit/effort", "35.0"),
        ("force_noise", 0.2, "world/model/joint/sensor/force_torque/force/x/noise/stddev", "0.2"),
    ],
)
def test_physics_parameters_that_can_be_set_are(name, value, path, text):
    assert name in SETTABLE
    changed = ElementTree.fromstring(world_sdf(SPEC, TASK, PhysicsParameters().with_values({name: value})))
    assert changed.find(path).text == text
    nominal = SDF.find(path)
    assert nominal is None or nominal.text != text


def test_physics_parameters_that_cannot_be_set_are_refused():
    cannot = set(PhysicsParameters().values()) - set(SETTABLE)
    assert cannot == {
        "actuator_gain", "actuator_delay", "calibration_x", "calibration_y", "calibration_z", "calibration_yaw",
        "encoder_noise", "object_noise", "backlash", "payload", "goal_x", "goal_y", "goal_z",
        "camera_noise", "depth_noise", "light", "background",
    }  # fmt: skip
    with pytest.raises(ValueError, match="'actuator_delay' cannot be set in Gazebo"):
        world_sdf(SPEC, TASK, PhysicsParameters(actuator_delay=0.05))
    assert float(SDF.find("world/physics/max_step_size").text) == TIME_STEP


def test_without_a_camera_nothing_is_rendered():
    bare = world_sdf(SPEC, TASK, camera=False)
    assert "gz-sim-sensors-system" not in bare and 'type="camera"' not in bare


@pytest.mark.skipif(not (shutil.which("ign") or shutil.which("gz")), reason="no sdformat here")
def test_sdformat_accepts_the_world(tmp_path):
    path = tmp_path / "world.sdf"
    path.write_text(world_sdf(SPEC, TASK))
    tool = shutil.which("gz") or shutil.which("ign")
    checked = subprocess.run([tool, "sdf", "--check", str(path)], capture_output=True, text=True)
    assert "Valid" in checked.stdout, checked.stdout + checked.stderr
    assert checked.returncode == 0


def test_gz_ros2_control_gets_every_joint_once():
    robot = ElementTree.fromstring(controlled_urdf(SPEC, "controllers.yaml"))
    control = robot.find("ros2_control")
    assert control.find("hardware/plugin").text == "gz_ros2_control/GazeboSimSystem"
    starts = {j.get("name"): float(j.find("state_interface/param").text) for j in control.findall("joint")}
    assert [starts[name] for name in SPEC.joint_names] == SPEC.home_positions.tolist()
    assert set(starts) == {*SPEC.joint_names, *SPEC.gripper.joints}
    plugin = robot.find("gazebo/plugin")
    assert {e.tag for e in plugin} == {"parameters", "hold_joints", "position_proportional_gain"}
    controllers = yaml.safe_load(share_path("config", "gazebo", "controllers.yaml").read_text())
    spec = RobotSpec.load("fr3_gazebo")
    connection = Connection.of(spec)
    # A trajectory names its joints, a forward command does not: the number of fingers must fit.
    assert controllers[connection.controller]["ros__parameters"]["joints"] == list(SPEC.joint_names)
    assert len(controllers["hand_controller"]["ros__parameters"]["joints"]) == connection.gripper.fingers
    declared = controllers["controller_manager"]["ros__parameters"]
    assert {"joint_state_broadcaster", connection.controller, "hand_controller"} <= set(declared)
    bare = ElementTree.fromstring(world_sdf(SPEC, TASK, arm=False))
    assert {m.get("name") for m in bare.iter("model")} == {"table", "cube", "scene_camera"}


def test_the_arm_in_gazebo_may_do_what_the_simulated_one_may():
    here, there = RobotSpec.load("fr3_gazebo"), RobotSpec.load("fr3_sim")
    arrays = ("position_lower", "position_upper", "velocity_limits", "acceleration_limits", "jerk_limits")
    for name in (*arrays, "home_positions"):
        assert (getattr(here, name) == getattr(there, name)).all()
    assert (here.self_distance, here.force_budgets) == (there.self_distance, there.force_budgets)
    assert repr(here.half_spaces) == repr(there.half_spaces)
