"""The state of an arm at one instant, and what its driver reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

_REORDERED = 10  # cycles by which a message may be overtaken on its way


class DriverMode(IntEnum):
    """What the driver is doing; values as in DriverState.msg."""

    IDLE = 0
    ACTIVE = 1
    STOPPING = 2
    STOPPED = 3


class DriverFault(IntEnum):
    """Why a driver stopped; values as in DriverState.msg."""

    NONE = 0
    REJECTED = 1
    REFLEX = 2
    COMM = 3
    ESTOP = 4
    LINK_LOST = 5


@dataclass(frozen=True)
class Modality:
    """Whether one modality of a fused state can be used; `age` is the dwell since its measurement [s]."""

    name: str
    valid: bool = True
    age: float = 0.0
    reason: str = ""


@dataclass
class DriverState:
    """What the driver measured and what it is doing; fields, units and frames as in DriverState.msg.

    Arrays are float64 of shape (n_joints,), in the order of `joint_names`; `wrench` is (6,), force [N] then torque
    [N m] in the tool frame; `contact_forces` is (n_pads,) [N]. `stamp` is in seconds on the node clock.
    """

    stamp: float
    sequence: int
    joint_names: tuple[str, ...]
    joint_positions: np.ndarray
    joint_velocities: np.ndarray
    joint_torques: np.ndarray
    commanded_positions: np.ndarray
    wrench: np.ndarray = field(default_factory=lambda: np.zeros(6))
    wrench_valid: bool = False
    contact_forces: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gripper_width: float = 0.0
    gripper_force: float = 0.0
    gripper_command: float = 1.0
    mode: DriverMode = DriverMode.IDLE
    fault: DriverFault = DriverFault.NONE
    fault_text: str = ""
    enforced_position_lower: np.ndarray = field(default_factory=lambda: np.zeros(0))
    enforced_position_upper: np.ndarray = field(default_factory=lambda: np.zeros(0))
    enforced_velocity: np.ndarray = field(default_factory=lambda: np.zeros(0))
    enforced_effort: np.ndarray = field(default_factory=lambda: np.zeros(0))
    command_timeout: float = float("inf")
    command_sequence: int = 0
    commands_refused: int = 0
    lock_step: bool = False


@dataclass
class ObjectStates:
    """Poses of the task's objects in the base frame: `positions` (n, 3) [m], `quaternions_wxyz` (n, 4)."""

    stamp: float
    sequence: int
    names: tuple[str, ...]
    positions: np.ndarray
    quaternions_wxyz: np.ndarray


@dataclass
class RobotState:
    """The aligned state of the arm at one instant, as the policy sees it.

    Joint arrays are (..., n_joints) [rad, rad/s, N m]; `ee_position` (..., 3) [m], `ee_orientation` (..., 4) as
    quaternion wxyz and `ee_velocity` (..., 6) [m/s, rad/s] are those of the tool frame in the base frame; `wrench`
    (..., 6) [N, N m] in the tool frame; `contact_forces` (..., n_pads) [N]; `object_poses` maps a name to (..., 7):
    position [m] and quaternion wxyz; `further_joints`, those of a gripper, a rail or a base, maps a name to (..., 3):
    position, velocity and effort in SI units, NaN where not measured. Images are (..., height, width, 3) uint8 and
    (..., height, width) [m], or None.
    Leading dimensions are a batch; success and reward are no part of the state, they live on the outcome.
    """

    stamp: float
    sequence: int
    joint_names: tuple[str, ...]
    joint_positions: np.ndarray
    joint_velocities: np.ndarray
    joint_torques: np.ndarray
    commanded_positions: np.ndarray
    ee_position: np.ndarray
    ee_orientation: np.ndarray
    ee_velocity: np.ndarray
    wrench: np.ndarray
    contact_forces: np.ndarray
    gripper_width: float
    gripper_force: float
    gripper_command: float
    object_poses: dict[str, np.ndarray] = field(default_factory=dict)
    modalities: tuple[Modality, ...] = ()
    rgb_image: np.ndarray | None = None
    depth_image: np.ndarray | None = None
    further_joints: dict[str, np.ndarray] = field(default_factory=dict)

    def modality(self, name: str) -> Modality:
        """Validity of one modality; a name that is not known is invalid and says so."""
        for modality in self.modalities:
            if modality.name == name:
                return modality
        known = ", ".join(m.name for m in self.modalities) or "none"
        return Modality(name, False, float("inf"), f"not fused; fused are: {known}")


def is_overtaken(sequence: int, newest: int) -> bool:
    """Whether a state comes again or late, behind `newest`; one far behind is that of a driver that restarted.

    A driver that restarts is silent for longer than the few cycles that are taken for lateness here.
    """
    return 0 <= newest - sequence <= _REORDERED
