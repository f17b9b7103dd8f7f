"""Physics parameters of the simulated arm: names, ranges, the nominal arm and a shifted one that plays reality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

ROBOT_SIM_PARAMS: dict[str, tuple[float, float, float, str, str]] = {
    "gravity": (9.81, 9.0, 10.5, "m/s^2", "gravity; the arm compensates its own weight, not the object's"),
    "time_step": (0.002, 0.0005, 0.0025, "s", "integration step"),
    "object_mass_scale": (1.0, 0.2, 5.0, "1", "mass of the objects relative to the task's"),
    "object_friction": (1.0, 0.2, 2.0, "1", "sliding friction coefficient of the objects"),
    "restitution": (0.0, 0.0, 0.8, "1", "speed after over speed before an impact of an object"),
    "joint_friction": (0.2, 0.0, 3.0, "N m", "dry friction of every arm joint"),
    "joint_damping": (1.0, 0.0, 10.0, "1", "viscous damping of the arm joints relative to the URDF's"),
    "actuator_gain": (1.0, 0.3, 2.0, "1", "gains of the joint servos relative to the nominal ones"),
    "actuator_delay": (0.0, 0.0, 0.2, "s", "from a command to the motors, the gripper's included"),
    "backlash": (0.0, 0.0, 0.03, "rad", "play between the motor and the joint, of every arm joint"),
    "payload": (0.0, 0.0, 2.0, "kg", "mass at the hand that the arm's gravity compensation does not know of"),
    "grip_force": (20.0, 5.0, 70.0, "N", "force of each finger when closed on an object"),
    "calibration_x": (0.0, -0.05, 0.05, "m", "offset of perceived object positions along x of the base"),
    "calibration_y": (0.0, -0.05, 0.05, "m", "offset of perceived object positions along y of the base"),
    "calibration_z": (0.0, -0.05, 0.05, "m", "offset of perceived object positions along z of the base"),
    "calibration_yaw": (0.0, -0.5, 0.5, "rad", "offset of perceived object headings"),
    "goal_x": (0.0, -0.05, 0.05, "m", "offset of goals as told along x of the base, from where they really are"),
    "goal_y": (0.0, -0.05, 0.05, "m", "offset of goals as told along y of the base, from where they really are"),
    "goal_z": (0.0, -0.05, 0.05, "m", "offset of goals as told along z of the base, from where they really are"),
    "encoder_noise": (0.0, 0.0, 0.02, "rad", "standard deviation of a measured joint position"),
    "object_noise": (0.0, 0.0, 0.02, "m", "standard deviation of a perceived object position, each axis"),
    "force_noise": (0.0, 0.0, 5.0, "N", "standard deviation of a measured force; torques get a tenth [N m]"),
    "camera_noise": (0.0, 0.0, 0.2, "1", "standard deviation of a picture's values, as a share of full scale"),
    "depth_noise": (0.0, 0.0, 0.05, "m", "standard deviation of a depth picture's values"),
    "light": (1.0, 0.3, 2.0, "1", "brightness of the lamps relative to the nominal ones"),
    "background": (0.0, 0.0, 1.0, "1", "colour of the table, from the nominal one to a dark blue"),
}
"""Name -> nominal value, lower bound, upper bound, unit, description."""


@dataclass(frozen=True)
class PhysicsParameters:
    """Physics of one simulated arm; every field is described, with unit and range, in `ROBOT_SIM_PARAMS`.

    Raises:
        ValueError: a value lies outside its range or is no number.
    """

    gravity: float = ROBOT_SIM_PARAMS["gravity"][0]
    time_step: float = ROBOT_SIM_PARAMS["time_step"][0]
    object_mass_scale: float = ROBOT_SIM_PARAMS["object_mass_scale"][0]
    object_friction: float = ROBOT_SIM_PARAMS["object_friction"][0]
    restitution: float = ROBOT_SIM_PARAMS["restitution"][0]
    joint_friction: float = ROBOT_SIM_PARAMS["joint_friction"][0]
    joint_damping: float = ROBOT_SIM_PARAMS["joint_damping"][0]
    actuator_gain: float = ROBOT_SIM_PARAMS["actuator_gain"][0]
    actuator_delay: float = ROBOT_SIM_PARAMS["actuator_delay"][0]
    backlash: float = ROBOT_SIM_PARAMS["backlash"][0]
    payload: float = ROBOT_SIM_PARAMS["payload"][0]
    grip_force: float = ROBOT_SIM_PARAMS["grip_force"][0]
    calibration_x: float = ROBOT_SIM_PARAMS["calibration_x"][0]
    calibration_y: float = ROBOT_SIM_PARAMS["calibration_y"][0]
    calibration_z: float = ROBOT_SIM_PARAMS["calibration_z"][0]
    calibration_yaw: float = ROBOT_SIM_PARAMS["calibration_yaw"][0]
    goal_x: float = ROBOT_SIM_PARAMS["goal_x"][0]
    goal_y: float = ROBOT_SIM_PARAMS["goal_y"][0]
    goal_z: float = ROBOT_SIM_PARAMS["goal_z"][0]
    encoder_noise: float = ROBOT_SIM_PARAMS["encoder_noise"][0]
    object_noise: float = ROBOT_SIM_PARAMS["object_noise"][0]
    force_noise: float = ROBOT_SIM_PARAMS["force_noise"][0]
    camera_noise: float = ROBOT_SIM_PARAMS["camera_noise"][0]
    depth_noise: float = ROBOT_SIM_PARAMS["depth_noise"][0]
    light: float = ROBOT_SIM_PARAMS["light"][0]
    background: float = ROBOT_SIM_PARAMS["background"][0]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            _, lower, upper, unit, _ = ROBOT_SIM_PARAMS[field.name]
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not lower <= value <= upper:
                raise ValueError(
                    f"physics parameter {field.name} is {value!r}; expected a number from {lower:g} to {upper:g} {unit}"
                )

    def with_values(self, values: Mapping[str, float]) -> PhysicsParameters:
        """The same physics with some parameters changed, by name.

        Raises:
            ValueError: a name is not known, or a value lies outside its range.
        """
        for name in values:
            if name not in ROBOT_SIM_PARAMS:
                raise ValueError(f"unknown physics parameter '{name}'; known are: {', '.join(ROBOT_SIM_PARAMS)}")
        return replace(self, **values)

    def true_goal(self, goal: tuple[float, ...] | np.ndarray) -> np.ndarray:
        """Where a goal (k,) as told really is: of three or more numbers the first are a position, fewer stay."""
        true = np.array(goal, dtype=float)
        if len(true) >= 3:
            true[:3] -= self.goal_x, self.goal_y, self.goal_z
        return true

    def values(self) -> dict[str, float]:
        """All parameters by name; `with_values` of them gives the same physics."""
        return {name: float(value) for name, value in asdict(self).items()}


SHIFTED_ARM = PhysicsParameters(
    object_mass_scale=2.0,
    object_friction=0.7,
    joint_friction=1.5,
    joint_damping=3.0,
    actuator_gain=0.7,
    actuator_delay=0.08,
    calibration_x=0.012,
    calibration_y=-0.010,
    calibration_yaw=0.06,
    encoder_noise=0.006,
    object_noise=0.002,
    force_noise=0.2,
)
"""A worn arm with a badly calibrated camera, which plays reality in the demo; no demonstration saw it."""


def shifted_arm(seed: int) -> PhysicsParameters:
    """A shifted arm of its own for each seed: every shift of `SHIFTED_ARM` scaled by a factor in 0.85 ... 1.15."""
    generator = np.random.default_rng([seed, 0x5A])
    values = {}
    for name, (nominal, lower, upper, _, _) in ROBOT_SIM_PARAMS.items():
        shift = getattr(SHIFTED_ARM, name) - nominal
        if shift:
            values[name] = float(np.clip(nominal + shift * generator.uniform(0.85, 1.15), lower, upper))
    return SHIFTED_ARM.with_values(values)
