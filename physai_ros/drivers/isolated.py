"""A driver whose vendor's client runs in a process of its own, where a hung connection can be given up."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from physai_ros.drivers import wire
from physai_ros.drivers.child import VendorChild
from physai_ros.drivers.driver import CommandKind, DriverCapabilities, DriverError
from physai_ros.drivers.vendor import ArmSettings
from physai_ros.robot.state import DriverFault, DriverMode, DriverState

if TYPE_CHECKING:
    from physai_ros.robot.spec import RobotSpec

_CONNECT = 15.0  # [s] that a connection may take: the slowest client uploads a program first
_ACTIVATE = 5.0  # [s]
_LOST = 1.0  # [s] without a report after which the link is lost


class IsolatedDriver:
    """Implements `drivers.driver.Driver` for a `VendorLink`, which lives in a child process.

    Commands and reports go through a socket: neither waits for the vendor's client. A process that does not answer in
    time is killed, which closes its connection to the robot. After a silence of `valid_for`, a fault or `halt` the arm
    comes to rest, and commands are refused until `activate`. Not safe to share between threads.

    Args:
        spec: the arm.
        link: class of the `VendorLink`, as module:Class; it is made from `ArmSettings`.
        capabilities: what the link can do.
        velocity_limits: (n_joints,) [rad/s] that the robot or the link enforces.
        python: interpreter of the environment that has the vendor's client; this one where it is empty.
    """

    def __init__(
        self,
        spec: RobotSpec,
        link: str,
        capabilities: DriverCapabilities,
        velocity_limits: np.ndarray,
        python: str = "",
    ) -> None:
        self.spec = spec
        self._link, self._python = link, python
        self._capabilities = capabilities
        self._velocity = np.array(velocity_limits, dtype=float)
        self._child: VendorChild | None = None
        self._report: wire.Report | None = None
        self._kind: CommandKind | None = None
        self._target: np.ndarray | None = None
        self._gripper = 1.0
        self._read = self._since = -math.inf
        self._sequence = self._accepted = self._refused = 0

    @property
    def capabilities(self) -> DriverCapabilities:
        """What this driver can do."""
        return self._capabilities

    @property
    def robot_time(self) -> float:
        """Time [s] on the robot's own clock at the newest measurement; NaN where it has none."""
        return math.nan if self._report is None else self._report.measurement.robot_time

    def connect(self) -> None:
        """Start the vendor's process and let it connect.

        Raises:
            DriverError: the client is not installed, the robot does not answer, or refuses.
        """
        self.close()
        child = VendorChild(ArmSettings.from_spec(self.spec), self._link, self._python)
        self._child, self._kind, self._target = child, None, None
        try:
            child.ask({"do": "connect"}, _CONNECT)
            self._hear_again()
        except DriverError:
            self.close()
            raise

    def activate(self, kind: CommandKind) -> None:
        """Get ready for commands of `kind`, at rest; the arm holds where it is until the first one.

        Raises:
            DriverError: the robot has a fault, still moves or does not take commands of this kind.
        """
        if kind not in self._capabilities.kinds:
            known = ", ".join(known.value for known in self._capabilities.kinds)
            raise DriverError(f"robot '{self.spec.name}' does not take {kind.value}; it takes: {known}")
        self._connected().ask({"do": "activate", "kind": kind.value}, _ACTIVATE)
        self._kind, self._target = kind, None
        self._hear_again()

    def read(self) -> DriverState:
        """Newest measurement, waiting at most a control cycle for one; without a new one, the last again.

        Raises:
            DriverError: the driver was never connected.
        """
        child, now = self._child, time.monotonic()
        if now - self._read > 0.5 * _LOST:
            self._since = now  # who has not listened for long finds old reports waiting, and has to hear new ones
        self._read = now
        new = self._hear()
        if child is not None and not child.lost and (not new or now - self._report.instant > 0.5 * _LOST):
            child.wait(self.spec.control_period)
            new = self._hear() or new
        if self._report is None:
            raise DriverError(f"robot '{self.spec.name}' has not been connected; connect first")
        silence = time.monotonic() - max(self._report.instant, self._since)
        if child is not None and silence > _LOST:
            child.lose(f"no measurement for {silence:.1f} s")
        if new or self._lost:
            self._sequence += 1
        return self._state()

    def command(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> bool:
        """Send one command and return at once; False where it was refused, which `DriverState` counts.

        Refused are numbers that are not finite or not one a joint, a kind that is not active, a gripper command
        outside -1 ... 1, and a validity that is not above zero or beyond the robot's time-out. Nothing is clipped here.
        """
        vector = np.ascontiguousarray(vector, dtype=float)
        sent = (
            kind == self._kind
            and self._mode == DriverMode.ACTIVE
            and vector.shape == (self._size(kind),)
            and bool(np.isfinite(vector).all())
            and -1.0 <= gripper_command <= 1.0
            and 0.0 < valid_for <= self._capabilities.command_timeout * (1 + 1e-9)
            and self._child.send(wire.pack_command(kind, vector, gripper_command, valid_for))
        )
        if not sent:
            self._refused += 1
            return False
        self._accepted += 1
        self._gripper = float(gripper_command)
        if kind == CommandKind.JOINT_POSITIONS:
            self._target = vector.copy()
        return True

    def halt(self, timeout: float) -> bool:
        """Stop and wait until the measured velocity is zero; False where it did not come to rest in `timeout` [s]."""
        until = time.monotonic() + timeout
        if self._child is None or self._lost:
            return False
        try:
            self._child.ask({"do": "halt"}, max(timeout, 0.1))
            self._hear_again()
        except DriverError:
            return False
        while self._mode == DriverMode.STOPPING and time.monotonic() < until:
            self.read()
        return self._mode in (DriverMode.STOPPED, DriverMode.IDLE) and not self._link_lost

    def recover(self) -> bool:
        """Clear a fault by the vendor's own steps, connecting again where the link was lost; False where it remains."""
        try:
            if self._child is None or self._link_lost:
                self.connect()
                return True
            done = self._child.ask({"do": "recover"}, _CONNECT)
            self._hear_again()
        except DriverError:
            return False
        return done

    def close(self) -> None:
        """Bring the arm to rest and let go of the robot; safe to call twice."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _connected(self) -> VendorChild:
        if self._child is None:
            raise DriverError(f"robot '{self.spec.name}' is not connected; connect first")
        return self._child

    def _size(self, kind: CommandKind) -> int:
        return 6 if kind == CommandKind.TOOL_TWIST else len(self.spec.joint_names)

    @property
    def _lost(self) -> str:
        return "closed" if self._child is None else self._child.lost

    @property
    def _link_lost(self) -> bool:
        reported = self._report is not None and self._report.measurement.fault == DriverFault.LINK_LOST
        return bool(self._lost) or reported

    @property
    def _mode(self) -> DriverMode:
        if self._report is None:
            return DriverMode.IDLE
        return DriverMode.STOPPED if self._lost else self._report.mode

    def _state(self) -> DriverState:
        mode, lost = self._mode, self._lost
        measured = self._report.measurement
        moving = mode in (DriverMode.ACTIVE, DriverMode.STOPPING)
        target = self._target if moving and self._target is not None else measured.positions
        fault, text = (DriverFault.LINK_LOST, lost) if lost else (measured.fault, measured.fault_text)
        return DriverState(
            stamp=self._report.stamp,
            sequence=self._sequence,
            joint_names=self.spec.joint_names,
            joint_positions=measured.positions.copy(),
            joint_velocities=measured.velocities.copy(),
            joint_torques=measured.torques.copy(),
            commanded_positions=target.copy(),
            wrench=np.zeros(6) if measured.wrench is None else measured.wrench.copy(),
            wrench_valid=measured.wrench is not None and not lost,
            gripper_width=measured.gripper_width,
            gripper_force=measured.gripper_force,
            gripper_command=self._gripper,
            mode=mode,
            fault=fault,
            fault_text=text,
            enforced_velocity=self._velocity.copy(),
            command_timeout=self._capabilities.command_timeout,
            command_sequence=self._accepted,
            commands_refused=self._refused,
        )

    def _hear(self) -> bool:
        """Take the newest report that has come; False where none has."""
        data = b"" if self._child is None else self._child.newest()
        if data:
            self._report = wire.unpack_report(data)
        return bool(data)

    def _hear_again(self) -> None:
        """Forget reports from before the last request was answered, and wait for one from after it."""
        self._child.newest()
        if not self._child.wait(_LOST):
            raise DriverError(f"robot '{self.spec.name}' is connected but reports nothing; look at its controller")
        self._hear()
