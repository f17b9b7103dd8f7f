"""Universal Robots of the e-Series by `ur_rtde`: its script on the controller, its state over RTDE, its dashboard."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physai_ros.drivers.connection import read_connection
from physai_ros.drivers.driver import CommandKind, DriverCapabilities
from physai_ros.drivers.isolated import IsolatedDriver
from physai_ros.drivers.vendor import ArmSettings, Measurement, VendorFault
from physai_ros.robot.state import DriverFault

if TYPE_CHECKING:
    from physai_ros.robot.spec import RobotSpec

_RUNNING = 7  # robot mode in which brakes are released and the arm obeys
_ROBOT_MODES = {
    -1: "NO_CONTROLLER",
    0: "DISCONNECTED",
    1: "CONFIRM_SAFETY",
    2: "BOOTING",
    3: "POWER_OFF",
    4: "POWER_ON",
    5: "IDLE",
    6: "BACKDRIVE",
    8: "UPDATING_FIRMWARE",
}
# Safety modes (RTDE guide, output `safety_mode`) other than normal and reduced.
_SAFETY_FAULTS = {
    3: (DriverFault.REFLEX, "protective stop; look at what the arm met, then recover"),
    4: (DriverFault.REJECTED, "recovery mode: the arm is outside its safety limits; move it back by hand"),
    5: (DriverFault.ESTOP, "safeguard stop; close the safeguard, then recover"),
    6: (DriverFault.ESTOP, "system emergency stop; release it, power the arm on, then recover"),
    7: (DriverFault.ESTOP, "emergency stop on the pendant; release it, power the arm on, then recover"),
    8: (DriverFault.ESTOP, "safety violation; restart the safety system on the pendant, then recover"),
    9: (DriverFault.ESTOP, "safety fault; restart the controller"),
}

_FROZEN = 0.5  # [s] that the controller's clock may stand still
_REASON = 0.1  # [s] that the reason of a stop may come after the script's end
_UNLOCK = 5.5  # [s] that a protective stop must have lasted before PolyScope unlocks it
_DECELERATION = 10.0  # [rad/s^2] of servoStop and speedStop


@dataclass(frozen=True)
class UniversalRobotsConnection:
    """How a Universal Robot is reached.

    Attributes:
        address: host name or address of the controller.
        model: what the controller must say that it is, as `UR5e`; another one is refused.
        lookahead: how far servoj smooths the path [s], 0.03 to 0.2.
        gain: how stiffly servoj follows, 100 to 2000.
        python: interpreter that has ur_rtde, where it is not this one.
    """

    address: str
    model: str
    lookahead: float = 0.05
    gain: float = 500.0
    python: str = ""

    def __post_init__(self) -> None:
        if not 0.03 <= self.lookahead <= 0.2:
            raise ValueError(f"lookahead is {self.lookahead:g} s; expected 0.03 to 0.2")
        if not 100.0 <= self.gain <= 2000.0:
            raise ValueError(f"gain is {self.gain:g}; expected 100 to 2000")


class UniversalRobotsDriver(IsolatedDriver):
    """Drives an e-Series arm; nothing is clipped: what goes beyond the controller's limits is a protective stop."""

    def __init__(self, spec: RobotSpec) -> None:
        connection = read_connection(UniversalRobotsConnection, spec.connection, spec.name)
        capabilities = DriverCapabilities(
            kinds=(CommandKind.JOINT_POSITIONS, CommandKind.JOINT_VELOCITIES),
            rate=spec.control_rate,
            command_timeout=spec.command_timeout,
            wrench=True,
            gripper=False,
        )
        super().__init__(spec, f"{__name__}:UniversalRobotsLink", capabilities, spec.velocity_limits, connection.python)


class UniversalRobotsLink:
    """Streams servoj targets or speedj speeds; the controller's watchdog halts the arm if this process falls silent."""

    def __init__(self, settings: ArmSettings) -> None:
        self._connection = read_connection(UniversalRobotsConnection, settings.connection, settings.name)
        self._settings = settings
        self._control: Any = None
        self._receive: Any = None
        self._dashboard: Any = None
        self._kind: CommandKind | None = None
        self._moved = False
        self._clock = (-1.0, 0.0)
        self._stopped_since: float | None = None
        self._deaf_since: float | None = None

    def connect(self) -> None:
        """Connect, check which robot it is and that it obeys, and upload the control script."""
        self.close()
        try:
            import dashboard_client
            import rtde_control
            import rtde_receive
        except ImportError as error:
            raise VendorFault(
                DriverFault.LINK_LOST, f"ur_rtde is not installed ({error}); pip install ur-rtde"
            ) from error
        address = self._connection.address
        try:
            self._dashboard = dashboard_client.DashboardClient(address)
            self._dashboard.connect()
            self._check_robot()
            self._receive = rtde_receive.RTDEReceiveInterface(address)
            complaint = self._complaint()
            if complaint[0] != DriverFault.NONE:
                raise VendorFault(*complaint)
            self._control = rtde_control.RTDEControlInterface(address)
            self._watch()
        except Exception as error:
            self.close()
            raise self._fault(error) from error

    def activate(self, kind: CommandKind) -> None:
        """See that the control script runs; the arm moves with the first command."""
        try:
            if not self._control.isProgramRunning() and not self._upload():
                raise VendorFault(
                    DriverFault.REJECTED, "the control script does not start; is the robot in Remote Control?"
                )
        except Exception as error:
            raise self._fault(error) from error
        self._kind, self._moved = kind, False

    def measure(self) -> Measurement:
        """State over RTDE; the watchdog is kicked on the way."""
        try:
            receive = self._receive
            self._check_link()
            fault, text = self._complaint()
            if fault != DriverFault.NONE:
                self._stopped_since = self._stopped_since or time.monotonic()
            else:
                self._stopped_since = None
                if self._control.isProgramRunning():
                    self._deaf_since = None
                    self._control.kickWatchdog()
                elif self._is_deaf():
                    fault, text = DriverFault.COMM, "the control script has ended: pendant, or its watchdog; recover"
            return Measurement(
                positions=np.array(receive.getActualQ()),
                velocities=np.array(receive.getActualQd()),
                torques=np.array(receive.getTargetMoment()),
                wrench=_in_tool(np.array(receive.getActualTCPForce()), np.array(receive.getActualTCPPose())[3:]),
                fault=fault,
                fault_text=text,
                robot_time=receive.getTimestamp(),
            )
        except Exception as error:
            raise self._fault(error) from error

    def send(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> None:
        """Pass on one target; the controller holds it until the next."""
        connection, settings = self._connection, self._settings
        try:
            if kind == CommandKind.JOINT_POSITIONS:
                period = 1.0 / settings.control_rate
                sent = self._control.servoJ(vector.tolist(), 0.0, 0.0, period, connection.lookahead, connection.gain)
            else:
                sent = self._control.speedJ(vector.tolist(), max(settings.acceleration_limits), valid_for)
        except Exception as error:
            raise self._fault(error) from error
        if sent:
            self._moved = True
        elif self._is_deaf():
            raise VendorFault(DriverFault.COMM, "the control script does not take commands; recover")

    def stop(self) -> None:
        """Brake in the joints."""
        if not self._moved or self._complaint()[0] != DriverFault.NONE:
            return
        self._moved = False
        try:
            if self._kind == CommandKind.JOINT_POSITIONS:
                self._control.servoStop(_DECELERATION)
            else:
                self._control.speedStop(_DECELERATION)
        except Exception as error:
            raise self._fault(error) from error

    def release(self) -> None:
        """Nothing: the controller holds the arm."""

    def recover(self) -> bool:
        """Unlock a protective stop and start the control script again; an emergency stop is released on the pendant."""
        try:
            if self._receive.getSafetyMode() == 3:
                if self._stopped_since is not None:
                    time.sleep(max(self._stopped_since + _UNLOCK - time.monotonic(), 0.0))
                self._dashboard.closeSafetyPopup()
                self._dashboard.unlockProtectiveStop()
                self._wait(lambda: self._receive.getSafetyMode() in (1, 2))
            if not self._wait(lambda: self._complaint()[0] == DriverFault.NONE, 0.5):
                return False
            return self._control.isProgramRunning() or self._upload()
        except Exception as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """End the control script and let go of the robot."""
        for client, farewell in ((self._control, "stopScript"), (self._control, "disconnect")):
            _quietly(client, farewell)
        _quietly(self._receive, "disconnect")
        _quietly(self._dashboard, "disconnect")
        self._control = self._receive = self._dashboard = None
        self._kind = self._stopped_since = self._deaf_since = None
        self._clock = (-1.0, 0.0)

    def _check_robot(self) -> None:
        """Refuse another model than the configuration is for, and a robot that is not in remote control."""
        wanted = self._connection.model
        found = str(self._dashboard.getRobotModel()).strip()
        version = str(self._dashboard.polyscopeVersion())
        # The dashboard leaves the "e" away; PolyScope 5 is what tells the series apart.
        numbers = re.search(r"\d+(?=\.\d)", version)
        e_series = numbers is not None and int(numbers[0]) >= 5
        if found.rstrip("e") != wanted.rstrip("e") or (wanted.endswith("e") and not e_series):
            raise VendorFault(
                DriverFault.REJECTED,
                f"the controller is that of a {found} with '{version}', the configuration is for a {wanted}; "
                "correct its model or address",
            )
        if not self._dashboard.isInRemoteControl():
            raise VendorFault(
                DriverFault.REJECTED, "the robot is in local control; switch it to Remote Control on the pendant"
            )

    def _upload(self) -> bool:
        """Start the control script again; returns whether it runs."""
        self._kind = self._deaf_since = None
        if not self._control.reuploadScript():
            return False
        if not self._wait(self._control.isProgramRunning):
            return False
        self._watch()
        return True

    def _watch(self) -> None:
        """Let the controller end the script where nothing has come from us for the time-out."""
        self._control.setWatchdog(1.0 / self._settings.command_timeout)

    def _wait(self, condition: Callable[[], bool], timeout: float = 3.0) -> bool:
        until = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def _check_link(self) -> None:
        """Raise where RTDE is gone, or repeats itself: the client does not always notice."""
        clock, now = self._receive.getTimestamp(), time.monotonic()
        if clock != self._clock[0]:
            self._clock = clock, now
        elif now - self._clock[1] > _FROZEN:
            raise VendorFault(DriverFault.LINK_LOST, f"the controller's clock stands still for {_FROZEN:g} s")
        if not self._receive.isConnected():
            raise VendorFault(DriverFault.LINK_LOST, "RTDE has been closed by the controller")

    def _is_deaf(self) -> bool:
        """Whether the script has not obeyed for long enough for RTDE to have said why, had there been a stop."""
        self._deaf_since = self._deaf_since or time.monotonic()
        return self._kind is not None and time.monotonic() - self._deaf_since > _REASON

    def _complaint(self) -> tuple[DriverFault, str]:
        """The fault that the controller reports."""
        safety, mode = self._receive.getSafetyMode(), self._receive.getRobotMode()
        if safety in _SAFETY_FAULTS:
            return _SAFETY_FAULTS[safety]
        if mode != _RUNNING:
            name = _ROBOT_MODES.get(mode, str(mode))
            return DriverFault.REJECTED, f"robot mode {name}; power the arm on and release its brakes on the pendant"
        return DriverFault.NONE, ""

    def _fault(self, error: Exception) -> VendorFault:
        """What ur_rtde raised, as a fault: it knows no other exception than RuntimeError and its like."""
        if isinstance(error, VendorFault):
            return error
        receiving = self._receive is not None and self._receive.isConnected()
        text = str(error) or type(error).__name__
        if receiving and self._control is not None:
            return VendorFault(DriverFault.COMM, text)
        return VendorFault(DriverFault.LINK_LOST, f"{text}; look at the controller and its network")


def _in_tool(wrench: np.ndarray, rotation_vector: np.ndarray) -> np.ndarray:
    """A wrench (6,) given along the base's axes, along the tool's, which a rotation vector (3,) [rad] turns from it."""
    angle = float(np.linalg.norm(rotation_vector))
    if angle < 1e-9:
        return wrench
    # Rodrigues' formula with the angle reversed: from the base's axes to the tool's.
    axis = rotation_vector / angle
    turned = []
    for part in wrench.reshape(2, 3):
        turned.append(
            part * np.cos(angle) - np.cross(axis, part) * np.sin(angle) + axis * (axis @ part) * (1.0 - np.cos(angle))
        )
    return np.concatenate(turned)


def _quietly(client: Any, farewell: str) -> None:  # noqa: ANN401 - one of the vendor's clients, or None
    """Say goodbye to a client that may be gone."""
    if client is None:
        return
    try:
        getattr(client, farewell)()
    except Exception:  # noqa: S110 - whatever is left of it is of no use to anybody
        pass
