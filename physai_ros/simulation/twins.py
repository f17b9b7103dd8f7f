"""Twins: arms that play reality where a method that crosses from simulation to reality is tested.

A twin is drawn by its seed. It differs from the nominal arm in physics that `PhysicsParameters` can describe, and,
unless it is drawn from inside the model class, in what they cannot: another friction law, joints that differ among each
other, a cable, delays that vary, noise with a memory, a camera that magnifies. What is tested sees recordings alone.

Ranges and order of the draws are frozen: a change makes other twins of all seeds, and old figures worthless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.noise import MeasurementNoise
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario, Task

KEPT_SEEDS = 1000
"""Twins of this seed and above are kept for later checks: no method is tuned on them."""

_UNIFORM: dict[str, tuple[float, float]] = {
    "object_friction": (0.6, 1.2),
    "restitution": (0.0, 0.4),
    "joint_friction": (0.5, 2.0),
    "actuator_gain": (0.5, 0.9),
    "actuator_delay": (0.03, 0.10),
    "backlash": (0.0, 0.008),
    "payload": (0.0, 0.6),
    "grip_force": (12.0, 30.0),
    "calibration_x": (-0.018, 0.018),
    "calibration_y": (-0.018, 0.018),
    "calibration_z": (-0.006, 0.006),
    "calibration_yaw": (-0.10, 0.10),
    "goal_x": (-0.025, 0.025),
    "goal_y": (-0.025, 0.025),
    "goal_z": (-0.015, 0.015),
    "object_noise": (0.0005, 0.003),
    "force_noise": (0.1, 0.5),
    "camera_noise": (0.01, 0.05),
    "depth_noise": (0.001, 0.010),
    "light": (0.5, 1.5),
    "background": (0.0, 1.0),
}
_LOGARITHMIC: dict[str, tuple[float, float]] = {
    "object_mass_scale": (0.6, 2.5),
    "joint_damping": (1.0, 4.0),
    "encoder_noise": (0.001, 0.006),
}
_TIME_STEP = 0.001  # [s]: reality is integrated more finely than the simulator that is fitted to it


@dataclass(frozen=True)
class Beyond:
    """What no `PhysicsParameters` can describe; the defaults are none of it.

    Attributes:
        breakaway: dry friction at rest over that in motion; falls off with speed (Stribeck).
        stribeck_speed: at which it has fallen to a third [rad/s].
        joint_spread: standard deviation of the logarithm of each joint's own factor on gain, damping and friction.
        cable_stiffness: of a cable that pulls the last three joints back to where it hangs free [N m/rad].
        cable_mass: of the cable, on the link before the wrist [kg].
        delay_jitter: what a command takes longer at most [s].
        noise_persistence: correlation of the noise from one cycle to the next.
        magnification: share by which perceived distances are too large.
    """

    breakaway: float = 1.0
    stribeck_speed: float = 0.05
    joint_spread: float = 0.0
    cable_stiffness: float = 0.0
    cable_mass: float = 0.0
    delay_jitter: float = 0.0
    noise_persistence: float = 0.0
    magnification: float = 0.0


@dataclass(frozen=True)
class Twin:
    """One twin: its seed, what the simulator's parameters say of it, and what they cannot say."""

    seed: int
    physics: PhysicsParameters
    beyond: Beyond

    @classmethod
    def draw(cls, seed: int, *, inside: bool = False) -> Twin:
        """The twin of a seed; with `inside` one that the simulator can imitate exactly.

        Raises:
            ValueError: a negative seed.
        """
        if seed < 0:
            raise ValueError(f"twin seed is {seed}; expected 0 or more")
        generator = np.random.default_rng([seed, 0x7714])
        values = {name: float(generator.uniform(low, high)) for name, (low, high) in _UNIFORM.items()}
        for name, (low, high) in _LOGARITHMIC.items():
            values[name] = float(np.exp(generator.uniform(np.log(low), np.log(high))))
        beyond = Beyond(
            breakaway=float(generator.uniform(1.0, 1.6)),
            stribeck_speed=float(generator.uniform(0.02, 0.10)),
            joint_spread=float(generator.uniform(0.0, 0.2)),
            cable_stiffness=float(generator.uniform(0.0, 1.0)),
            cable_mass=float(generator.uniform(0.0, 0.3)),
            delay_jitter=float(generator.uniform(0.0, 0.02)),
            noise_persistence=float(generator.uniform(0.0, 0.8)),
            magnification=float(generator.uniform(-0.02, 0.02)),
        )
        physics = PhysicsParameters().with_values(values)
        if inside:
            return cls(seed, physics, Beyond())
        return cls(seed, physics.with_values({"time_step": _TIME_STEP}), beyond)

    def arm(self, spec: RobotSpec, task: Task) -> TwinArm:
        """The arm of this twin in a task's world."""
        return TwinArm(spec, task, self)


class TwinArm(SimulatedArm):
    """The arm of a twin. Whatever physics are asked of it, what lies beyond them stays as it is."""

    def __init__(self, spec: RobotSpec, task: Task, twin: Twin) -> None:
        self.twin = twin
        beyond, count = twin.beyond, len(spec.joint_names)
        generator = np.random.default_rng([twin.seed, 0x7715])
        self._factors = np.exp(beyond.joint_spread * generator.standard_normal((3, count)))
        self._hanging = spec.home_positions + generator.uniform(-0.6, 0.6, count)
        self._pull = np.where(np.arange(count) >= count - 3, beyond.cable_stiffness, 0.0)
        self._jitter = np.random.default_rng(0)
        super().__init__(spec, task, twin.physics, seed=0)

    def set_physics(self, physics: PhysicsParameters) -> None:
        """Change what `physics` say; the joints keep their own factors, the cable its mass."""
        super().set_physics(physics)
        model = self.model
        gain, damping, friction = self._factors
        model.actuator_gainprm[self._motors] *= gain[:, np.newaxis]
        model.actuator_biasprm[self._motors] *= gain[:, np.newaxis]
        model.dof_damping[self._dofs] *= damping
        self._dry_friction = physics.joint_friction * friction
        link = model.jnt_bodyid[model.joint(self.spec.joint_names[-3]).id]
        self._applied.add_unknown_mass(link, self.twin.beyond.cable_mass)

    def reset(self, scenario: Scenario, seed: int, physics: PhysicsParameters | None = None) -> None:
        """Put the world into a scenario's start state."""
        self._jitter = np.random.default_rng([seed, 0x7716])
        super().reset(scenario, seed, physics)

    def step(self, positions: np.ndarray, gripper_command: float) -> None:
        """Advance one control cycle."""
        beyond, data = self.twin.beyond, self._data
        speed = data.qvel[self._dofs] / beyond.stribeck_speed
        self.model.dof_frictionloss[self._dofs] = self._dry_friction * (
            1.0 + (beyond.breakaway - 1.0) * np.exp(-np.square(speed))
        )
        data.qfrc_applied[self._dofs] = self._pull * (self._hanging - data.qpos[self._positions])
        super().step(positions, gripper_command)

    def _delay(self) -> float:
        return super()._delay() + float(self._jitter.uniform(0.0, self.twin.beyond.delay_jitter))

    def _make_noise(self) -> MeasurementNoise:
        beyond = self.twin.beyond
        return MeasurementNoise(
            len(self.spec.joint_names),
            len(self._fingers),
            len(self._object_names),
            persistence=beyond.noise_persistence,
            magnification=beyond.magnification,
        )
