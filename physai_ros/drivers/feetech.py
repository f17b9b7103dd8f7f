"""SO-100, SO-101 and other arms of Feetech STS3215 servos, by `rustypot`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physai_ros.drivers import feetech_bus
from physai_ros.drivers.connection import read_connection
from physai_ros.drivers.driver import CommandKind, DriverCapabilities, DriverError
from physai_ros.drivers.feetech_bus import STEP, FeetechBus
from physai_ros.drivers.isolated import IsolatedDriver
from physai_ros.drivers.vendor import ArmSettings, Measurement, VendorFault
from physai_ros.robot.state import DriverFault

if TYPE_CHECKING:
    from physai_ros.robot.spec import RobotSpec


@dataclass(frozen=True)
class FeetechConnection:
    """How an arm of Feetech servos is reached, and what its servos mean.

    Attributes:
        port: serial device.
        servos: ids of the arm's servos, in the order of its joints.
        zeros: steps at which each joint is at zero.
        directions: 1 where steps count as the joint does, else -1.
        gripper_servo: id of the gripper's servo, 0 where there is none.
        gripper_closed, gripper_opened: steps at which it is so.
        gripper_torque: largest share of its torque that the gripper may use, 0-1.
        release_on_halt: whether `halt` takes the power off the motors when the arm rests: it then sinks.
        baudrate: of the bus [bit/s].
        timeout: that an answer may take [s].
        python: interpreter that has rustypot, where it is not this one.
    """

    port: str
    servos: tuple[int, ...] = (1, 2, 3, 4, 5)
    zeros: tuple[int, ...] = (2048, 2048, 2048, 2048, 2048)
    directions: tuple[int, ...] = (1, 1, 1, 1, 1)
    gripper_servo: int = 6
    gripper_closed: int = 1934
    gripper_opened: int = 3186
    gripper_torque: float = 0.5
    release_on_halt: bool = True
    baudrate: int = 1_000_000
    timeout: float = 0.02
    python: str = ""

    def __post_init__(self) -> None:
        if not len(self.servos) == len(self.zeros) == len(self.directions):
            raise ValueError(
                f"{len(self.servos)} servos have {len(self.zeros)} zeros and {len(self.directions)} directions; "
                "give one of each for every servo"
            )
        numbers = [*self.servos, *([self.gripper_servo] if self.gripper_servo else [])]
        if len(set(numbers)) != len(numbers) or not all(0 < number < 254 for number in numbers):
            raise ValueError(f"servos are {numbers}; expected different ids from 1 to 253")
        if not set(self.directions) <= {1, -1}:
            raise ValueError(f"directions are {list(self.directions)}; expected 1 or -1 for each servo")
        if not 0.0 < self.gripper_torque <= 1.0:
            raise ValueError(f"gripper_torque is {self.gripper_torque:g}; expected above 0, at most 1")


class FeetechDriver(IsolatedDriver):
    """Drives an arm of Feetech servos by absolute positions, which it clips to the arm's position limits.

    Servos go no faster than the arm's velocity limits, and rest at their last goal, whatever becomes of this computer.
    """

    def __init__(self, spec: RobotSpec) -> None:
        connection = read_connection(FeetechConnection, spec.connection, spec.name)
        if len(connection.servos) != len(spec.joint_names):
            raise DriverError(
                f"connection of robot '{spec.name}': {len(connection.servos)} servos for "
                f"{len(spec.joint_names)} joints ({', '.join(spec.joint_names)}); give one for each"
            )
        capabilities = DriverCapabilities(
            kinds=(CommandKind.JOINT_POSITIONS,),
            rate=spec.control_rate,
            command_timeout=spec.command_timeout,
            wrench=False,
            gripper=connection.gripper_servo > 0,
        )
        super().__init__(spec, f"{__name__}:FeetechLink", capabilities, spec.velocity_limits, connection.python)


class FeetechLink:
    """Reads all servos in one transaction and writes all goals in another."""

    def __init__(self, settings: ArmSettings) -> None:
        self._connection = connection = read_connection(FeetechConnection, settings.connection, settings.name)
        self._settings = settings
        gripper = [connection.gripper_servo] if connection.gripper_servo else []
        self._ids = [*connection.servos, *gripper]
        self._names = [*settings.joint_names, *(["gripper"] if gripper else [])]
        self._zeros, self._directions = np.array(connection.zeros), np.array(connection.directions)
        self._bus: FeetechBus | None = None

    def connect(self) -> None:
        """Open the port and see that every servo is there; none is switched on or moved."""
        self.close()
        try:
            import rustypot
        except ImportError as error:
            raise VendorFault(
                DriverFault.LINK_LOST, f"rustypot is not installed ({error}); pip install rustypot"
            ) from error
        connection = self._connection
        try:
            controller = rustypot.Sts3215PyController(connection.port, connection.baudrate, connection.timeout)
        except Exception as error:
            raise VendorFault(
                DriverFault.LINK_LOST, f"cannot open {connection.port}: {error}; is it plugged in, and yours to use?"
            ) from error
        self._bus = FeetechBus(controller, self._ids)
        try:
            if self._bus.silent():
                raise self._fault(None)
            for number in self._ids:
                model = self._bus.model(number)
                if model != feetech_bus.MODEL:
                    raise VendorFault(
                        DriverFault.REJECTED,
                        f"{self._servo(number)} is of model {model}; expected an STS3215 ({feetech_bus.MODEL})",
                    )
        except Exception as error:
            fault = self._fault(error)
            self.close()
            raise fault from error

    def activate(self, kind: CommandKind) -> None:
        """Let every servo hold where it is, with speeds limited, then switch it on."""
        try:
            bus = self._bus
            present = bus.present()
            limits = np.round(np.array(self._settings.velocity_limits) / STEP).astype(int)
            torques = np.full(len(self._ids), 1000)
            if self._connection.gripper_servo:
                limits = np.append(limits, limits.max())
                torques[-1] = round(1000 * self._connection.gripper_torque)
            bus.write(feetech_bus.GOAL, present.positions)
            bus.write(feetech_bus.SPEED, limits)
            bus.write(feetech_bus.TORQUE_LIMIT, torques)
            bus.power(on=True)
        except Exception as error:
            raise self._fault(error) from error

    def measure(self) -> Measurement:
        """Positions, speeds and loads; a servo that reports an error is a fault."""
        try:
            present = self._bus.present()
        except Exception as error:
            raise self._fault(error) from error
        connection = self._connection
        count = len(connection.servos)
        turned = self._directions * STEP
        width = force = 0.0
        if connection.gripper_servo:
            span = connection.gripper_opened - connection.gripper_closed
            opening = (present.positions[count] - connection.gripper_closed) / span
            width = float(np.clip(opening, 0.0, 1.0)) * self._settings.gripper_width
            closing = -np.sign(span) * present.loads[count]
            force = max(float(closing), 0.0) * self._settings.gripper_force
        complaints = [
            f"{self._servo(number)}: {feetech_bus.errors_of(status)}"
            for number, status in zip(self._ids, present.errors, strict=True)
            if status
        ]
        return Measurement(
            positions=(present.positions[:count] - self._zeros) * turned,
            velocities=present.velocities[:count] * turned,
            torques=present.loads[:count] * self._directions * np.array(self._settings.effort_limits),
            gripper_width=width,
            gripper_force=force,
            fault=DriverFault.REFLEX if complaints else DriverFault.NONE,
            fault_text="; ".join(complaints),
        )

    def send(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> None:
        """Give every servo its goal."""
        connection, settings = self._connection, self._settings
        within = np.clip(vector, settings.position_lower, settings.position_upper)
        goals = self._zeros + np.round(self._directions * within / STEP).astype(int)
        if connection.gripper_servo:
            span = connection.gripper_opened - connection.gripper_closed
            goals = np.append(goals, round(connection.gripper_closed + 0.5 * (gripper_command + 1.0) * span))
        try:
            self._bus.write(feetech_bus.GOAL, np.clip(goals, 0, 4095))
        except Exception as error:
            raise self._fault(error) from error

    def stop(self) -> None:
        """Let every servo of the arm hold where it is now; the gripper keeps what it holds."""
        try:
            self._bus.write(feetech_bus.GOAL, self._bus.present().positions[: len(self._connection.servos)])
        except Exception as error:
            raise self._fault(error) from error

    def release(self) -> None:
        """Take the power off all motors, where the configuration says so; the arm sinks."""
        if not self._connection.release_on_halt:
            return
        try:
            self._bus.power(on=False)
        except Exception as error:
            raise self._fault(error) from error

    def recover(self) -> bool:
        """Switch servos with an error off and on again, holding where they are; False where the error stays."""
        try:
            if self._bus.silent():
                return False
            present = self._bus.present()
            if present.errors.any():
                self._bus.power(on=False)
                self._bus.write(feetech_bus.GOAL, self._bus.present().positions)
                self._bus.power(on=True)
            return not self._bus.present().errors.any()
        except Exception as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Release the port; servos that are on hold on."""
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    def _servo(self, number: int) -> str:
        return f"servo {number} ({self._names[self._ids.index(number)]})"

    def _fault(self, error: Exception | None) -> VendorFault:
        """What went wrong on the bus: the one place where rustypot's errors are mapped.

        It raises RuntimeError whatever happened, so that the servos themselves are asked who is there.
        """
        if isinstance(error, VendorFault):
            return error
        silent = self._bus.silent()
        if len(silent) == len(self._ids):
            return VendorFault(DriverFault.LINK_LOST, "no servo answers; look at the bus's power and its cable")
        if silent:
            names = ", ".join(self._servo(number) for number in silent)
            return VendorFault(DriverFault.COMM, f"no answer from {names}; look at its cable and its id")
        return VendorFault(DriverFault.COMM, f"answers are garbled ({error}); look at the bus's cable")
