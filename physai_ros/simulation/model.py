"""The MuJoCo model of an arm on a table: the robot's URDF, with motors, table, the task's objects and cameras added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from physai_ros.robot.spec import RobotSpec, RobotSpecError
from physai_ros.tasks.task import ObjectSpec

SERVO_FREQUENCY = 25.0  # [rad/s] natural frequency of the joint servos: about 80 ms behind a moving reference
ARMATURE = 0.1  # [kg m^2] rotor inertia as the joint feels it
FINGER_ARMATURE = 0.1  # [kg]
GRIPPER_STIFFNESS = 8000.0  # [N/m]
GRIPPER_DAMPING = 80.0  # [N s/m]
CONTACT_TIME = 0.01  # [s] time constant of contacts
GOAL_MARK = "goal mark"


class View(NamedTuple):
    """A camera at `position` that looks at `target`, base frame [m]; `fovy` is its vertical field of view [degree]."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fovy: float


SCENE_CAMERA = View((1.25, -0.70, 0.75), (0.38, 0.0, 0.22), 40.0)

# What touches what: arm and objects touch the table and one another; the arm's links do not touch each other.
_TABLE, _ARM, _OBJECT = 1, 2, 4


def build_model(spec: RobotSpec, objects: Sequence[ObjectSpec]) -> mujoco.MjModel:
    """The compiled model; its world frame is the robot's base frame, the table's top lies at z = 0.

    Raises:
        RobotSpecError: MuJoCo cannot read the robot's URDF, or a link that is needed is missing.
    """
    try:
        scene = mujoco.MjSpec.from_file(str(spec.urdf_path))
    except ValueError as error:
        raise RobotSpecError(f"{spec.urdf_path}: MuJoCo cannot read it: {error}") from error
    scene.compiler.fusestatic = False
    # What is seen is what collides; the URDF's visual shapes double it. The flag itself would also discard the sky.
    scene.compiler.discardvisual = False
    for geom in list(scene.geoms):
        if not (geom.contype or geom.conaffinity):
            scene.delete(geom)
    _set_contacts(scene)
    _add_motors(scene, spec)
    _add_table(scene)
    for item in objects:
        _add_object(scene, item)
    _add_cameras(scene, spec)
    try:
        model = scene.compile()
    except ValueError as error:
        raise RobotSpecError(f"{spec.urdf_path}: MuJoCo cannot build it: {error}") from error
    _tune_servos(model, spec)
    return model


def _set_contacts(scene: mujoco.MjSpec) -> None:
    # A pyramidal cone with impratio 1 holds a grasped object still; an elliptic one with a high impratio throws it.
    scene.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    scene.option.impratio = 1.0
    scene.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    scene.option.iterations = 20
    scene.option.ls_iterations = 20
    scene.visual.quality.shadowsize = 0
    for body in scene.bodies:
        body.gravcomp = 1.0
        for geom in body.geoms:
            geom.contype, geom.conaffinity = _ARM, 0
            geom.solref = [CONTACT_TIME, 1.0]


def _add_motors(scene: mujoco.MjSpec, spec: RobotSpec) -> None:
    for name, effort in zip(spec.joint_names, spec.effort_limits, strict=True):
        scene.joint(name).armature = ARMATURE
        motor = scene.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_position(kp=1.0, kv=1.0)
        motor.forcerange = [-effort, effort]
        motor.forcelimited = True
    fingers = spec.gripper.joints
    tendon = scene.add_tendon(name="gripper")
    for name in fingers:
        scene.joint(name).armature = FINGER_ARMATURE
        tendon.wrap_joint(name, 1.0 / len(fingers))
    motor = scene.add_actuator(name="gripper", target="gripper", trntype=mujoco.mjtTrn.mjTRN_TENDON)
    motor.set_to_position(kp=GRIPPER_STIFFNESS, kv=GRIPPER_DAMPING)
    motor.forcelimited = True
    motor.forcerange = [-1.0, 1.0]
    for mimic in scene.equalities:
        mimic.solref = [0.005, 1.0]
        mimic.solimp = [0.95, 0.99, 0.001, 0.5, 2.0]


def _add_table(scene: mujoco.MjSpec) -> None:
    scene.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[1.0, 1.0, 0.1],
        rgba=[0.72, 0.62, 0.50, 1.0],
        contype=_TABLE,
        conaffinity=_ARM | _OBJECT,
        solref=[CONTACT_TIME, 1.0],
    )
    scene.worldbody.add_light(pos=[0.3, -0.6, 2.0], dir=[0.0, 0.3, -1.0], castshadow=False, diffuse=[0.5, 0.5, 0.5])
    scene.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        dir=[-0.6, 0.5, -0.7],
        castshadow=False,
        diffuse=[0.4, 0.4, 0.4],
    )
    scene.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[0.93, 0.94, 0.96],
        width=8,
        height=48,
    )
    # A mark that only pictures show; `SimulatedArm` moves it to the scenario's goal.
    scene.worldbody.add_site(
        name=GOAL_MARK,
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[0.012, 0.012, 0.012],
        rgba=[0.15, 0.65, 0.3, 1.0],
    )


def _add_object(scene: mujoco.MjSpec, item: ObjectSpec) -> None:
    body = scene.worldbody.add_body(name=item.name, mocap=item.fixed)
    if not item.fixed:
        body.add_freejoint(name=item.name)
    body.add_geom(
        name=item.name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.5 * length for length in item.size],
        mass=item.mass,
        rgba=item.rgba,
        contype=_OBJECT,
        conaffinity=_ARM | _OBJECT,
        condim=4,
        priority=1,  # its friction and restitution decide, whatever it touches
        solref=[CONTACT_TIME, 1.0],
    )


def _add_cameras(scene: mujoco.MjSpec, spec: RobotSpec) -> None:
    tool = scene.body(spec.tool_frame)
    if tool is None:
        raise RobotSpecError(f"{spec.urdf_path}: there is no link '{spec.tool_frame}'; correct tool_frame")
    position = np.array(SCENE_CAMERA.position)
    forward = np.array(SCENE_CAMERA.target) - position
    right = np.cross(forward, [0.0, 0.0, 1.0])
    view = scene.worldbody.add_camera(name="scene", pos=position, fovy=SCENE_CAMERA.fovy)
    _look_along(view, right, np.cross(right, forward))
    # Beside the hand, leaning towards what lies between the fingers.
    view = tool.add_camera(name="wrist", pos=[0.07, 0.0, -0.04], fovy=75.0)
    _look_along(view, [0.0, 1.0, 0.0], [1.0, 0.0, 0.4])


def _look_along(camera: mujoco.MjsCamera, right: Sequence[float], up: Sequence[float]) -> None:
    camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
    camera.alt.xyaxes = [*right, *up]


def _tune_servos(model: mujoco.MjModel, spec: RobotSpec) -> None:
    """Critically damped joint servos of one bandwidth: gains from the inertia that each joint feels at home."""
    data = mujoco.MjData(model)
    for name, position in zip(spec.joint_names, spec.home_positions, strict=True):
        data.joint(name).qpos[0] = position
    mujoco.mj_forward(model, data)
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, inertia)
    for name in spec.joint_names:
        dof = model.joint(name).dofadr[0]
        stiffness = inertia[dof, dof] * SERVO_FREQUENCY**2
        damping = max(2.0 * inertia[dof, dof] * SERVO_FREQUENCY - model.dof_damping[dof], 0.0)
        motor = model.actuator(name).id
        model.actuator_gainprm[motor, 0] = stiffness
        model.actuator_biasprm[motor, 1:3] = -stiffness, -damping
