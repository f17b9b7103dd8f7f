"""An arm's URDF as an SDF model."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element, SubElement

from physai_ros.robot.spec import RobotSpec, RobotSpecError
from physai_ros.simulation.physics import PhysicsParameters

Pose = tuple[str, str]
_SHAPES = ("box", "cylinder", "sphere")


def arm_model(spec: RobotSpec, physics: PhysicsParameters) -> Element:
    """SDF `model` of the arm, fixed to the world at its base frame.

    Links lie at their joints, as in the URDF; a URDF link without mass becomes a frame, since SDF would give it one
    kilogram. Links feel no gravity, as those of an arm that compensates its own weight. Of `physics`, joint friction,
    joint damping and grip force are set here.

    Raises:
        RobotSpecError: the URDF holds a shape or an arrangement that is not supported.
    """
    root = ElementTree.parse(spec.urdf_path).getroot()
    links = {link.get("name"): link for link in root.findall("link")}
    joints = {joint.find("child").get("link"): joint for joint in root.findall("joint")}
    colours = {m.get("name"): m.find("color").get("rgba") for m in root.findall("material")}
    model = Element("model", name=spec.name)
    for name, link in links.items():
        joint = joints.get(name)
        if link.find("inertial") is None:
            _add_frame(model, name, joint, spec)
        else:
            _add_link(model, name, link, joint, colours)
    for name, joint in joints.items():
        if links[name].find("inertial") is not None:
            _add_joint(model, joint, links, spec, physics)
    for name in links:
        if name not in joints and links[name].find("inertial") is not None:
            fixed = SubElement(model, "joint", name=f"{name}_to_world", type="fixed")
            _texts(fixed, parent="world", child=name)
    return model


def pose_text(xyz: str, rpy: str) -> str:
    """SDF pose: position [m] and roll, pitch, yaw [rad]."""
    return f"{xyz} {rpy}"


def collision_name(link: str, index: int) -> str:
    """Name of a link's collision."""
    return f"{link}_collision_{index}"


def _add_frame(model: Element, name: str, joint: Element | None, spec: RobotSpec) -> None:
    if joint is not None and joint.get("type") != "fixed":
        raise RobotSpecError(f"{spec.urdf_path}: link '{name}' moves and has no inertial; give it a mass")
    attached = {} if joint is None else {"attached_to": joint.find("parent").get("link")}
    frame = SubElement(model, "frame", name=name, **attached)
    SubElement(frame, "pose").text = pose_text(*_origin(joint))


def _add_link(model: Element, name: str, link: Element, joint: Element | None, colours: dict[str, str]) -> None:
    made = SubElement(model, "link", name=name)
    if joint is not None:
        SubElement(made, "pose", relative_to=joint.get("name")).text = pose_text("0 0 0", "0 0 0")
    _texts(made, gravity="false")
    given = link.find("inertial")
    inertial = SubElement(made, "inertial")
    SubElement(inertial, "pose").text = pose_text(*_origin(given))
    _texts(inertial, mass=given.find("mass").get("value"))
    _texts(SubElement(inertial, "inertia"), **given.find("inertia").attrib)
    for index, collision in enumerate(link.findall("collision")):
        shape = SubElement(made, "collision", name=collision_name(name, index))
        _add_shape(shape, collision, name)
    for index, visual in enumerate(link.findall("visual")):
        shape = SubElement(made, "visual", name=f"{name}_visual_{index}")
        _add_shape(shape, visual, name)
        material = visual.find("material")
        rgba = colours.get(material.get("name")) if material is not None else None
        if rgba:
            _texts(SubElement(shape, "material"), ambient=rgba, diffuse=rgba)


def _add_shape(parent: Element, given: Element, link: str) -> None:
    SubElement(parent, "pose").text = pose_text(*_origin(given))
    geometry = SubElement(parent, "geometry")
    shape = next(iter(given.find("geometry")))
    if shape.tag not in _SHAPES:
        raise RobotSpecError(f"link '{link}' has a {shape.tag}; supported are: {', '.join(_SHAPES)}")
    _texts(SubElement(geometry, shape.tag), **shape.attrib)


def _add_joint(
    model: Element, joint: Element, links: dict[str, Element], spec: RobotSpec, physics: PhysicsParameters
) -> None:
    kind, name = joint.get("type"), joint.get("name")
    parent, child = joint.find("parent").get("link"), joint.find("child").get("link")
    made = SubElement(model, "joint", name=name, type="revolute" if kind == "continuous" else kind)
    SubElement(made, "pose", relative_to=parent).text = pose_text(*_origin(joint))
    # A frame is no parent of a joint; the base frame is where the model stands in the world.
    _texts(made, parent=parent if links[parent].find("inertial") is not None else "world", child=child)
    if kind == "fixed":
        return
    axis = SubElement(made, "axis")
    _texts(axis, xyz=joint.find("axis").get("xyz"))
    limit = joint.find("limit").attrib
    finger = name in spec.gripper.joints
    effort = repr(physics.grip_force) if finger else limit["effort"]
    _texts(
        SubElement(axis, "limit"), lower=limit["lower"], upper=limit["upper"], effort=effort, velocity=limit["velocity"]
    )
    dynamics = joint.find("dynamics")
    given = dynamics.attrib if dynamics is not None else {}
    damping, friction = float(given.get("damping", 0.0)), float(given.get("friction", 0.0))
    if not finger:
        damping, friction = damping * physics.joint_damping, physics.joint_friction
    _texts(SubElement(axis, "dynamics"), damping=repr(damping), friction=repr(friction))


def _origin(element: Element | None) -> Pose:
    origin = element.find("origin") if element is not None else None
    if origin is None:
        return "0 0 0", "0 0 0"
    return origin.get("xyz", "0 0 0"), origin.get("rpy", "0 0 0")


def _texts(parent: Element, /, **texts: str) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = text
