"""Physics parameters put into a MuJoCo model: what each of them changes there."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.model import CONTACT_TIME, GRIPPER_STIFFNESS
from physai_ros.simulation.physics import PhysicsParameters

_CHANGED = (
    *("body_mass", "body_inertia", "body_gravcomp", "dof_damping", "actuator_gainprm", "actuator_biasprm"),
    *("geom_rgba", "light_diffuse"),
)
_OTHER_TABLE = np.array([0.10, 0.14, 0.30])  # colour at the far end of the parameter `background`


class AppliedPhysics:
    """The nominal model, and what parameters make of it; delay, backlash, grip and sensors are the arm's own affair.

    Attributes:
        nominal: arrays of the nominal model by name.
        substeps: integration steps of a control cycle.
        deepest: how far beyond what it holds the gripper's set-point goes [m].
    """

    def __init__(self, model: mujoco.MjModel, spec: RobotSpec, objects: Sequence[str]) -> None:
        self._model, self._period = model, spec.control_period
        self.nominal = {name: getattr(model, name).copy() for name in _CHANGED}
        self._headlight = model.vis.headlight.diffuse.copy()
        self._dofs = np.array([model.joint(name).dofadr[0] for name in spec.joint_names])
        self._motors = np.array([model.actuator(name).id for name in spec.joint_names])
        self._gripper, self._fingers = model.actuator("gripper").id, len(spec.gripper.joints)
        self._hand = model.body_parentid[model.body(spec.tool_frame).id]
        self._table = model.geom("table").id
        self._bodies = np.array([model.body(name).id for name in objects], dtype=int)
        self._geoms = np.array([model.geom(name).id for name in objects], dtype=int)
        self.substeps, self.deepest = 1, 0.0

    def apply(self, physics: PhysicsParameters) -> None:
        """Change the model."""
        model = self._model
        for name, array in self.nominal.items():
            getattr(model, name)[:] = array
        model.opt.gravity[:] = 0.0, 0.0, -physics.gravity
        self.substeps = max(1, round(self._period / physics.time_step))
        model.opt.timestep = self._period / self.substeps
        self._apply_to_objects(physics)
        model.dof_frictionloss[self._dofs] = physics.joint_friction
        model.dof_damping[self._dofs] *= physics.joint_damping
        model.actuator_gainprm[self._motors] *= physics.actuator_gain
        model.actuator_biasprm[self._motors] *= physics.actuator_gain
        self.add_unknown_mass(self._hand, physics.payload)
        model.geom_rgba[self._table, :3] += physics.background * (_OTHER_TABLE - model.geom_rgba[self._table, :3])
        model.light_diffuse[:] *= physics.light
        model.vis.headlight.diffuse[:] = self._headlight * physics.light
        # The gripper's one motor drives a tendon that shares its force among the fingers.
        force = physics.grip_force * self._fingers
        model.actuator_forcerange[self._gripper] = -force, force
        # The gripper's set-point goes no deeper than the motor's force reaches, so that opening begins at once.
        self.deepest = 1.2 * (self._fingers * force / GRIPPER_STIFFNESS)
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def add_unknown_mass(self, body: int, mass: float) -> None:
        """Add a mass [kg] to a link that gravity compensation does not know of; one without its own mass takes none."""
        model, own = self._model, float(self._model.body_mass[body])
        if mass and own:
            model.body_mass[body] = own + mass
            model.body_gravcomp[body] *= own / (own + mass)

    def _apply_to_objects(self, physics: PhysicsParameters) -> None:
        model = self._model
        model.body_mass[self._bodies] *= physics.object_mass_scale
        model.body_inertia[self._bodies] *= physics.object_mass_scale
        model.geom_friction[self._geoms, 0] = physics.object_friction
        damping_ratio = _damping_ratio(physics.restitution)
        # MuJoCo's stiffness goes with 1 / (time constant * damping ratio)^2; the product is kept.
        model.geom_solref[self._geoms] = CONTACT_TIME / damping_ratio, damping_ratio


def _damping_ratio(restitution: float) -> float:
    """Damping ratio of a contact that gives back this share of the speed: that of half a period of an oscillator."""
    if restitution <= 0.0:
        return 1.0
    logarithm = np.log(restitution)
    return float(min(1.0, -logarithm / np.hypot(np.pi, logarithm)))
