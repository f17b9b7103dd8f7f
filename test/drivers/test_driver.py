"""The interface is what a driver has to offer."""

import numpy as np

from physai_ros.drivers.driver import CommandKind, Driver, DriverCapabilities
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState


class IdealArm:
    """An arm that is where it was told to be."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._positions = spec.home_positions
        self._sequence = 0
        self._mode = DriverMode.IDLE

    @property
    def capabilities(self) -> DriverCapabilities:
        """What it can do."""
        return DriverCapabilities((CommandKind.JOINT_POSITIONS,), self._spec.control_rate, self._spec.command_timeout)

    def connect(self) -> None:
        """Open."""
        self._mode = DriverMode.STOPPED

    def activate(self, kind: CommandKind) -> None:
        """Get ready."""
        self._mode = DriverMode.ACTIVE

    def read(self) -> DriverState:
        """Measure."""
        self._sequence += 1
        rest = np.zeros(len(self._positions))
        return DriverState(
            0.0, self._sequence, self._spec.joint_names, self._positions, rest, rest, self._positions, mode=self._mode
        )

    def command(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> bool:
        """Go there at once."""
        if self._mode != DriverMode.ACTIVE or vector.shape != self._positions.shape or not np.isfinite(vector).all():
            return False
        self._positions = np.clip(vector, self._spec.position_lower, self._spec.position_upper)
        return True

    def halt(self, timeout: float) -> bool:
        """Stop."""
        self._mode = DriverMode.STOPPED
        return True

    def recover(self) -> bool:
        """Clear faults."""
        return True

    def close(self) -> None:
        """Let go."""
        self.halt(0.0)


def test_an_arm_of_this_shape_is_a_driver():
    spec = RobotSpec.load("fr3_sim")
    arm = IdealArm(spec)
    assert isinstance(arm, Driver)
    assert not isinstance(object(), Driver)
    arm.connect()
    kind = arm.capabilities.kinds[0]
    assert not arm.command(kind, spec.home_positions, 1.0, 0.05)
    arm.activate(kind)
    assert arm.command(kind, spec.home_positions + 9.0, 1.0, 0.05)
    assert (arm.read().joint_positions == spec.position_upper).all()
    assert not arm.command(kind, np.full(7, np.nan), 1.0, 0.05)
    arm.close()
    arm.close()
    assert not arm.command(kind, spec.home_positions, 1.0, 0.05)
