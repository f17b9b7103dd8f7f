"""A world for Gazebo (gz-sim 8, Harmonic, and newer): table, arm, the task's objects, sensors and systems."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.gazebo.arm import arm_model, collision_name
from physai_ros.simulation.gazebo.bridge import WORLD, Bridged, bridged_topics
from physai_ros.simulation.model import SCENE_CAMERA
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import ObjectSpec, Task

TIME_STEP = 0.001
"""Step of a nominal world [s], Gazebo's own default; another `PhysicsParameters.time_step` is taken as it is."""
SETTABLE = (
    "gravity",
    "time_step",
    "object_mass_scale",
    "object_friction",
    "restitution",
    "joint_friction",
    "joint_damping",
    "grip_force",
    "force_noise",
)
"""Physics parameters that a world can be made with; the others belong to our own servo and perception models."""
_SYSTEMS = (
    ("gz-sim-physics-system", "gz::sim::systems::Physics"),
    ("gz-sim-user-commands-system", "gz::sim::systems::UserCommands"),
    ("gz-sim-scene-broadcaster-system", "gz::sim::systems::SceneBroadcaster"),
    ("gz-sim-forcetorque-system", "gz::sim::systems::ForceTorque"),
    ("gz-sim-contact-system", "gz::sim::systems::Contact"),
)
_CAMERA = (320, 240, 30.0)  # pixels, pixels, [Hz]
GRIPPER_SPEED = 0.1  # [m/s] of one finger, half of the opening's


def world_sdf(
    spec: RobotSpec, task: Task, physics: PhysicsParameters | None = None, *, camera: bool = True, arm: bool = True
) -> str:
    """SDF of the world; without `camera` nothing is rendered, and no OpenGL is needed.

    Without `arm` there are the table and the objects alone, for an arm that is spawned by somebody else.

    Raises:
        ValueError: `physics` differs from the nominal in what a Gazebo world cannot have.
        RobotSpecError: the arm's URDF holds what is not supported.
    """
    physics = physics or PhysicsParameters()
    nominal = PhysicsParameters().values()
    for name, value in physics.values().items():
        if value != nominal[name] and name not in SETTABLE:
            raise ValueError(
                f"physics parameter '{name}' cannot be set in Gazebo; those that can: {', '.join(SETTABLE)}"
            )
    topics = {(topic.ros_topic_name.rsplit("/", 1)[-1], topic.source): topic for topic in bridged_topics(spec, task)}
    root = Element("sdf", version="1.9")
    world = SubElement(root, "world", name=WORLD)
    step = SubElement(world, "physics", name="step", type="ignored")
    _add(step, max_step_size=TIME_STEP if physics.time_step == nominal["time_step"] else physics.time_step)
    _add(step, real_time_factor=1)
    _add(world, gravity=f"0 0 {-physics.gravity!r}")
    systems = _SYSTEMS if not camera else (*_SYSTEMS, ("gz-sim-sensors-system", "gz::sim::systems::Sensors"))
    for filename, name in systems:
        plugin = SubElement(world, "plugin", filename=filename, name=name)
        if "sensors" in filename:
            _add(plugin, render_engine="ogre2")
    _add_light(world)
    _add_table(world)
    if arm:
        model = arm_model(spec, physics)
        _add_arm_systems(model, spec, topics)
        _add_arm_sensors(model, spec, topics, physics)
        world.append(model)
    for item in task.objects:
        _add_object(world, item, physics)
    if camera:
        _add_camera(world, topics)
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: Element, /, **children: object) -> None:
    for tag, value in children.items():
        SubElement(parent, tag).text = str(value)


def _add_light(world: Element) -> None:
    light = SubElement(world, "light", name="sun", type="directional")
    _add(light, cast_shadows="false", pose="0 0 10 0 0 0", diffuse="0.8 0.8 0.8 1", specular="0.2 0.2 0.2 1")
    _add(light, direction="-0.6 0.5 -0.7")


def _add_table(world: Element) -> None:
    model = SubElement(world, "model", name="table")
    _add(model, static="true")
    link = SubElement(model, "link", name="top")
    for kind in ("collision", "visual"):
        shape = SubElement(link, kind, name=kind)
        plane = SubElement(SubElement(shape, "geometry"), "plane")
        _add(plane, normal="0 0 1", size="2 2")
    rgba = "0.72 0.62 0.50 1"
    _add(SubElement(link.find("visual"), "material"), ambient=rgba, diffuse=rgba)


def _add_object(world: Element, item: ObjectSpec, physics: PhysicsParameters) -> None:
    mass = item.mass * physics.object_mass_scale
    x, y, z = item.size
    model = SubElement(world, "model", name=item.name)
    _add(model, pose=f"0.5 0 {z / 2} 0 0 0", static=str(item.fixed).lower())
    link = SubElement(model, "link", name="body")
    inertial = SubElement(link, "inertial")
    _add(inertial, mass=repr(mass))
    moments = {"ixx": y * y + z * z, "iyy": x * x + z * z, "izz": x * x + y * y}
    _add(
        SubElement(inertial, "inertia"),
        **{name: repr(mass / 12 * m) for name, m in moments.items()},
        ixy=0,
        ixz=0,
        iyz=0,
    )
    for kind in ("collision", "visual"):
        shape = SubElement(link, kind, name=kind)
        _add(SubElement(SubElement(shape, "geometry"), "box"), size=f"{x} {y} {z}")
    rgba = " ".join(map(str, item.rgba))
    _add(SubElement(link.find("visual"), "material"), ambient=rgba, diffuse=rgba)
    surface = SubElement(link.find("collision"), "surface")
    friction = repr(physics.object_friction)
    _add(SubElement(SubElement(surface, "friction"), "ode"), mu=friction, mu2=friction)
    _add(SubElement(surface, "bounce"), restitution_coefficient=repr(physics.restitution))
    plugin = SubElement(
        model, "plugin", filename="gz-sim-pose-publisher-system", name="gz::sim::systems::PosePublisher"
    )
    _add(
        plugin, publish_link_pose="false", publish_model_pose="true", use_pose_vector_msg="false", update_frequency=200
    )


def _add_arm_systems(arm: Element, spec: RobotSpec, topics: dict[tuple[str, str], Bridged]) -> None:
    states = SubElement(
        arm, "plugin", filename="gz-sim-joint-state-publisher-system", name="gz::sim::systems::JointStatePublisher"
    )
    _add(states, topic=topics["joint_states", ""].gz_topic_name)
    homes = dict(zip(spec.joint_names, spec.home_positions, strict=True))
    speeds = dict(zip(spec.joint_names, spec.velocity_limits, strict=True))
    for joint in (*spec.joint_names, *spec.gripper.joints):
        plugin = SubElement(
            arm,
            "plugin",
            filename="gz-sim-joint-position-controller-system",
            name="gz::sim::systems::JointPositionController",
        )
        widest = spec.gripper.max_width / len(spec.gripper.joints)
        _add(plugin, joint_name=joint, topic=topics["command", joint].gz_topic_name)
        # Velocities bring the joint to its target within the effort limit: no gains to be tuned for each inertia.
        _add(plugin, use_velocity_commands="true", cmd_max=repr(float(speeds.get(joint, GRIPPER_SPEED))))
        _add(plugin, initial_position=repr(float(homes.get(joint, widest))))


def _add_arm_sensors(
    arm: Element, spec: RobotSpec, topics: dict[tuple[str, str], Bridged], physics: PhysicsParameters
) -> None:
    parents = {joint.find("child").text: joint for joint in arm.findall("joint")}
    frames = {frame.get("name"): frame.get("attached_to") for frame in arm.findall("frame")}
    hand = frames.get(spec.tool_frame, spec.tool_frame)
    places = [(parents[hand], topics["wrist", ""])]
    joints = {joint.get("name"): joint for joint in arm.findall("joint")}
    places += [(joints[name], topics["wrench", name]) for name in spec.gripper.joints]
    for joint, topic in places:
        sensor = SubElement(joint, "sensor", name=f"{joint.get('name')}_force_torque", type="force_torque")
        _add(sensor, topic=topic.gz_topic_name, update_rate=spec.control_rate, always_on="true")
        force_torque = SubElement(sensor, "force_torque")
        _add(force_torque, frame="child", measure_direction="child_to_parent")
        if physics.force_noise:
            _add_noise(force_torque, physics.force_noise)
    contacts = topics["contacts", "fingers"].gz_topic_name
    links = {link.get("name"): link for link in arm.findall("link")}
    for name in spec.gripper.joints:
        link = joints[name].find("child").text
        for index in range(len(links[link].findall("collision"))):
            sensor = SubElement(links[link], "sensor", name=f"{link}_contact_{index}", type="contact")
            _add(sensor, update_rate=spec.control_rate, always_on="true")
            _add(SubElement(sensor, "contact"), collision=collision_name(link, index), topic=contacts)


def _add_noise(force_torque: Element, spread: float) -> None:
    for what, share in (("force", 1.0), ("torque", 0.1)):
        axes = SubElement(force_torque, what)
        for axis in "xyz":
            noise = SubElement(SubElement(axes, axis), "noise", type="gaussian")
            _add(noise, mean=0, stddev=repr(share * spread))


def _add_camera(world: Element, topics: dict[tuple[str, str], Bridged]) -> None:
    width, height, rate = _CAMERA
    position, target, vertical = np.array(SCENE_CAMERA.position), np.array(SCENE_CAMERA.target), SCENE_CAMERA.fovy
    x, y, z = target - position  # Gazebo's cameras look along +x
    pitch, yaw = math.atan2(-z, math.hypot(x, y)), math.atan2(y, x)
    model = SubElement(world, "model", name="scene_camera")
    _add(model, static="true", pose=f"{' '.join(map(repr, position.tolist()))} 0 {pitch!r} {yaw!r}")
    sensor = SubElement(SubElement(model, "link", name="body"), "sensor", name="scene", type="camera")
    _add(sensor, topic=topics["image_raw", "scene"].gz_topic_name, update_rate=rate, always_on="true")
    camera = SubElement(sensor, "camera", name="scene")
    _add(camera, camera_info_topic=topics["camera_info", "scene"].gz_topic_name, optical_frame_id="scene_optical_frame")
    _add(camera, horizontal_fov=repr(2 * math.atan(math.tan(math.radians(vertical) / 2) * width / height)))
    _add(SubElement(camera, "image"), width=width, height=height, format="R8G8B8")
    _add(SubElement(camera, "clip"), near=0.02, far=10)
