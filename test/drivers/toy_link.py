"""A robot without a vendor: it moves as it is told, and has the faults that its configuration asks for."""

import time

import numpy as np

from physai_ros.drivers.driver import CommandKind
from physai_ros.drivers.vendor import ArmSettings, Measurement, VendorFault
from physai_ros.robot.state import DriverFault


class ToyLink:
    """Follows velocities, and brakes within a tenth of a second.

    Keys of its connection: `hang` names a call that never returns, `crash` one that ends the process, `refuse` one that
    raises. A speed of joint 1 above `reflex_above` [rad/s] is a reflex.
    """

    def __init__(self, settings: ArmSettings) -> None:
        self._how = settings.connection
        self._positions = np.zeros(len(settings.joint_names))
        self._velocities = np.zeros(len(settings.joint_names))
        self._told = np.zeros(len(settings.joint_names))
        self._fault = DriverFault.NONE
        self._before = time.monotonic()

    def connect(self) -> None:
        """Open."""
        self._do("connect")
        self._fault = DriverFault.NONE

    def activate(self, kind: CommandKind) -> None:
        """Get ready."""
        self._do("activate")

    def measure(self) -> Measurement:
        """Where it stands by now."""
        self._do("measure")
        now = time.monotonic()
        passed, self._before = now - self._before, now
        self._velocities = self._told * min(1.0, passed / 0.1) + self._velocities * max(0.0, 1.0 - passed / 0.1)
        self._velocities[np.abs(self._velocities) < 1e-3] = 0.0
        self._positions = self._positions + passed * self._velocities
        return Measurement(
            self._positions,
            self._velocities,
            np.zeros(len(self._positions)),
            gripper_width=0.04,
            fault=self._fault,
            fault_text="pushed" if self._fault else "",
            robot_time=now,
        )

    def send(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> None:
        """Follow velocities."""
        self._do("send")
        self._told = vector
        if abs(vector[0]) > self._how.get("reflex_above", np.inf):
            self._fault = DriverFault.REFLEX

    def stop(self) -> None:
        """Brake."""
        self._do("stop")
        self._told = np.zeros(len(self._told))

    def release(self) -> None:
        """Nothing more."""
        self._do("release")

    def recover(self) -> bool:
        """Forget the fault."""
        self._do("recover")
        self._fault = DriverFault.NONE
        return True

    def close(self) -> None:
        """Let go."""
        self._do("close")

    def _do(self, call: str) -> None:
        if self._how.get("hang") == call:
            time.sleep(1e6)
        if self._how.get("crash") == call:
            raise SystemExit(3)
        if self._how.get("refuse") == call:
            raise VendorFault(DriverFault.REJECTED, f"no {call} today")
