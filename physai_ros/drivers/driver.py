"""What a robot's driver offers, whichever robot it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

import numpy as np

from physai_ros.robot.state import DriverState


class CommandKind(Enum):
    """What the numbers of a command mean."""

    JOINT_POSITIONS = "joint_positions"  # absolute targets (n_joints,) [rad]
    JOINT_VELOCITIES = "joint_velocities"  # (n_joints,) [rad/s]
    TOOL_TWIST = "tool_twist"  # (6,) [m/s], [rad/s] in the base frame


@dataclass(frozen=True)
class DriverCapabilities:
    """What a driver can do.

    Attributes:
        kinds: commands it takes, the best first.
        rate: commands it takes a second [Hz].
        command_timeout: silence after which the robot stops by itself [s]; inf where it never does.
        wrench: whether it measures the force on the tool.
        gripper: whether it drives a gripper.
    """

    kinds: tuple[CommandKind, ...]
    rate: float
    command_timeout: float
    wrench: bool = False
    gripper: bool = True


class DriverError(RuntimeError):
    """The robot cannot be reached or refuses; vendors' exceptions are turned into this one in one place a driver."""


@runtime_checkable
class Driver(Protocol):
    """One robot. Faults are reported in the state that `read` returns; only `connect` and `activate` raise."""

    @property
    def capabilities(self) -> DriverCapabilities:
        """What this driver can do."""

    def connect(self) -> None:
        """Open the connection; raises DriverError that says what to do."""

    def activate(self, kind: CommandKind) -> None:
        """Get ready for commands of `kind`, at rest; raises DriverError."""

    def read(self) -> DriverState:
        """Newest measurement; never blocks longer than a control cycle."""

    def command(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> bool:
        """Send one command and return at once; False where it was refused (not finite, wrong size, not active).

        The robot must stop by itself when no other came for `valid_for` [s].
        """

    def halt(self, timeout: float) -> bool:
        """Stop and wait until the measured velocity is zero; False where it did not come to rest in `timeout` [s]."""

    def recover(self) -> bool:
        """Clear a fault by the vendor's own steps; the arm stays at rest. False where the fault remains."""

    def close(self) -> None:
        """Halt and let go of the robot; safe to call twice."""
