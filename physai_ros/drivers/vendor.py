"""What a vendor's client is wrapped into, in the process that it has to itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from physai_ros.drivers.driver import CommandKind
from physai_ros.robot.state import DriverFault

if TYPE_CHECKING:
    from physai_ros.robot.spec import RobotSpec


class VendorFault(Exception):
    """What a vendor's client or its robot complained of, as the fault that it is to us."""

    def __init__(self, fault: DriverFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Measurement(NamedTuple):
    """What a robot reports at one instant, in our units and our order of joints.

    Joint arrays are (n_joints,) [rad], [rad/s], [N m]; `wrench` is (6,) [N, N m] in the tool frame, None where it is
    not measured. `robot_time` [s] is on the robot's own clock, NaN where it has none.
    """

    positions: np.ndarray
    velocities: np.ndarray
    torques: np.ndarray
    wrench: np.ndarray | None = None
    gripper_width: float = 0.0
    gripper_force: float = 0.0
    fault: DriverFault = DriverFault.NONE
    fault_text: str = ""
    robot_time: float = float("nan")


class VendorLink(Protocol):
    """One robot by its vendor's client. It may block and raise: nobody but its own process waits for it.

    Whatever a client raises leaves a link as a `VendorFault`, made in one place of each link.
    """

    def connect(self) -> None:
        """Open the connection; where one is open, close it first."""

    def activate(self, kind: CommandKind) -> None:
        """Make the robot ready for commands of `kind`, without moving it."""

    def measure(self) -> Measurement:
        """What the robot reports now."""

    def send(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> None:
        """Pass one command on; the robot is to stop by itself if no other comes for `valid_for` [s]."""

    def stop(self) -> None:
        """Let the arm come to rest, from now on."""

    def release(self) -> None:
        """What is to be done when the arm has come to rest after `halt`: motors that shall be without power."""

    def recover(self) -> bool:
        """Clear a fault at rest; returns whether it is gone."""

    def close(self) -> None:
        """Let go of the robot; safe to call twice, and whatever state the connection is in."""


@dataclass(frozen=True)
class ArmSettings:
    """What of a robot's description its vendor's process is told; units and shapes as in `RobotSpec`."""

    name: str
    joint_names: tuple[str, ...]
    position_lower: tuple[float, ...]
    position_upper: tuple[float, ...]
    velocity_limits: tuple[float, ...]
    acceleration_limits: tuple[float, ...]
    jerk_limits: tuple[float, ...]
    effort_limits: tuple[float, ...]
    control_rate: float
    command_timeout: float
    gripper_width: float
    gripper_force: float
    connection: Mapping[str, Any]

    @classmethod
    def from_spec(cls, spec: RobotSpec) -> ArmSettings:
        """The settings of an arm."""
        own = {name: tuple(getattr(spec, name).tolist()) for name in _OF_JOINTS}
        return cls(
            name=spec.name,
            joint_names=spec.joint_names,
            **own,
            control_rate=spec.control_rate,
            command_timeout=spec.command_timeout,
            gripper_width=spec.gripper.max_width,
            gripper_force=spec.gripper.max_force,
            connection=spec.connection,
        )

    def to_json(self) -> str:
        """These settings as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ArmSettings:
        """Settings that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{field.name: _frozen(values[field.name]) for field in fields(cls)})


_OF_JOINTS = (
    "position_lower",
    "position_upper",
    "velocity_limits",
    "acceleration_limits",
    "jerk_limits",
    "effort_limits",
)


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    return tuple(value) if isinstance(value, list) else value
