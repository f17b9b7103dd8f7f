"""Franka Research 3 by `franky-control`, which has libfranka and its real-time loop inside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physai_ros.drivers.connection import read_connection
from physai_ros.drivers.driver import CommandKind, DriverCapabilities
from physai_ros.drivers.franka_hand import FrankaHand
from physai_ros.drivers.isolated import IsolatedDriver
from physai_ros.drivers.vendor import ArmSettings, Measurement, VendorFault
from physai_ros.robot.state import DriverFault

if TYPE_CHECKING:
    from physai_ros.robot.spec import RobotSpec

# What franky 2.0.0 lets its limits be set to at most, [rad/s], [rad/s^2], [rad/s^3]; more is a RuntimeError of its own.
FRANKY_VELOCITY = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
FRANKY_ACCELERATION = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])
FRANKY_JERK = np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0])

# libfranka's own limits for the FR3, `include/franka/rate_limiting.h`: 10 rad/s^2 and 5000 rad/s^3 on every joint. A
# tenth and a quarter are left for the filter on the commanded signal.
FR3_ACCELERATION, FR3_JERK = 9.0, 3750.0

_GAIN = 10.0  # [1/s] by which the velocity corrects what the position is behind


@dataclass(frozen=True)
class FrankaConnection:
    """How a Franka is reached.

    Attributes:
        address: host name or address of the control box.
        gripper: whether a Franka Hand is mounted, homed in Desk.
        realtime: `enforce` wants a kernel with PREEMPT_RT, `ignore` does without: on such a machine the robot stops
            with `communication_constraints_violation` whenever the client is late.
        grasp_force: of the hand [N], 0 for the gripper's largest.
        contact_torque: external torque on any joint that is a reflex [N m].
        contact_force: external force or torque on the tool that is a reflex [N], [N m].
        python: interpreter that has franky-control, where it is not this one.
    """

    address: str
    gripper: bool = True
    realtime: str = "enforce"
    grasp_force: float = 0.0
    contact_torque: float = 20.0
    contact_force: float = 30.0
    python: str = ""

    def __post_init__(self) -> None:
        if self.realtime not in ("enforce", "ignore"):
            raise ValueError(f"realtime is '{self.realtime}'; expected enforce or ignore")


class FrankaDriver(IsolatedDriver):
    """Drives a Franka Research 3; speeds are clipped to what franky permits, which `enforced_velocity` reports."""

    def __init__(self, spec: RobotSpec) -> None:
        connection = read_connection(FrankaConnection, spec.connection, spec.name)
        capabilities = DriverCapabilities(
            kinds=(CommandKind.JOINT_POSITIONS, CommandKind.JOINT_VELOCITIES),
            rate=spec.control_rate,
            command_timeout=spec.command_timeout,
            wrench=True,
            gripper=connection.gripper,
        )
        velocity = np.minimum(spec.velocity_limits, FRANKY_VELOCITY)
        super().__init__(spec, f"{__name__}:FrankaLink", capabilities, velocity, connection.python)


class FrankaLink:
    """Streams joint velocities at the control rate; franky's real-time thread plans between them with limited jerk.

    Every velocity is followed by rest: silence ends in a stop of the real-time thread, whatever becomes of Python.
    Positions are followed by their own velocity and a tenth of a second's correction of what is missing.
    """

    def __init__(self, settings: ArmSettings) -> None:
        self._connection = read_connection(FrankaConnection, settings.connection, settings.name)
        self._settings = settings
        self._velocity = np.minimum(settings.velocity_limits, FRANKY_VELOCITY)
        self._franky: Any = None
        self._robot: Any = None
        self._hand: FrankaHand | None = None
        self._goal = np.zeros(7)
        self._goal_time = 0.0

    def connect(self) -> None:
        """Connect to arm and hand, set limits and contact thresholds."""
        self.close()
        try:
            import franky
        except ImportError as error:
            raise VendorFault(
                DriverFault.LINK_LOST, f"franky-control is not installed ({error}); pip install franky-control"
            ) from error
        self._franky = franky
        connection, settings = self._connection, self._settings
        try:
            realtime = franky.RealtimeConfig
            self._robot = robot = franky.Robot(
                connection.address,
                default_torque_threshold=connection.contact_torque,
                default_force_threshold=connection.contact_force,
                realtime_config=realtime.Enforce if connection.realtime == "enforce" else realtime.Ignore,
            )
            robot.joint_velocity_limit.set(self._velocity)
            robot.joint_acceleration_limit.set(np.minimum(FR3_ACCELERATION, FRANKY_ACCELERATION))
            robot.joint_jerk_limit.set(np.minimum(FR3_JERK, FRANKY_JERK))
            if connection.gripper:
                force = connection.grasp_force or settings.gripper_force
                self._hand = FrankaHand(franky.Gripper(connection.address), force)
        except Exception as error:
            raise self._fault(error) from error

    def activate(self, kind: CommandKind) -> None:
        """Stand where the arm is; it takes up control with the first command."""
        state = self._robot.state
        self._goal, self._goal_time = np.array(state.q), state.time.to_sec()

    def measure(self) -> Measurement:
        """State of arm and hand, and what went wrong with the motion in force."""
        aborted = ""
        try:
            try:
                self._robot.poll_motion()
            except self._franky.ControlException as error:
                aborted = str(error)
            state = self._robot.state
        except Exception as error:
            raise self._fault(error) from error
        fault, text = _named(aborted) if aborted else self._complaint(state)
        hand = self._hand
        return Measurement(
            positions=np.array(state.q),
            velocities=np.array(state.dq),
            torques=np.array(state.tau_J),
            wrench=np.array(state.K_F_ext_hat_K),
            gripper_width=hand.width if hand else 0.0,
            gripper_force=(self._connection.grasp_force or self._settings.gripper_force) * bool(hand and hand.grasped),
            fault=fault,
            fault_text=text,
            robot_time=state.time.to_sec(),
        )

    def send(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> None:
        """Follow `vector` for `valid_for` [s], then come to rest."""
        franky = self._franky
        try:
            velocity = vector
            if kind == CommandKind.JOINT_POSITIONS:
                velocity = self._towards(vector)
            velocity = np.clip(velocity, -self._velocity, self._velocity)
            hold = franky.Duration(max(1, round(valid_for * 1000.0)))
            waypoints = [
                franky.JointVelocityWaypoint(velocity, hold_target_duration=hold),
                franky.JointVelocityWaypoint(np.zeros(7)),
            ]
            self._robot.move(franky.JointVelocityWaypointMotion(waypoints), asynchronous=True)
        except Exception as error:
            raise self._fault(error) from error
        if self._hand is not None:
            self._hand.command(gripper_command)

    def stop(self) -> None:
        """Brake at the limits; nothing is to be done for an arm that is not under control."""
        robot = self._robot
        try:
            if robot.is_in_control:
                robot.move(self._franky.JointVelocityStopMotion(), asynchronous=True)
        except Exception as error:
            if robot.is_in_control:  # else its motion has ended meanwhile
                raise self._fault(error) from error

    def release(self) -> None:
        """Nothing: an arm that is not under control holds itself."""

    def recover(self) -> bool:
        """Franka's automatic error recovery, after which the arm rests; a user stop has to be released by hand."""
        try:
            try:
                self._robot.poll_motion()
            except self._franky.ControlException:
                pass  # what the recovery is for; once raised, it is forgotten
            if self._robot.has_errors or self._robot.state.robot_mode == self._franky.RobotMode.Reflex:
                self._robot.recover_from_errors()
            return self._complaint(self._robot.state)[0] == DriverFault.NONE
        except Exception as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Let go of hand and arm."""
        if self._hand is not None:
            self._hand.close()
            self._hand = None
        self._robot = None

    def _towards(self, target: np.ndarray) -> np.ndarray:
        """Velocity (7,) [rad/s] that follows the targets and makes up for what the arm is behind."""
        state = self._robot.state
        now, period = state.time.to_sec(), 1.0 / self._settings.control_rate
        cycles = min(max(round((now - self._goal_time) / period), 1), 10)
        velocity = (target - self._goal) / (cycles * period) + _GAIN * (self._goal - state.q)
        self._goal, self._goal_time = target, now
        return velocity

    def _complaint(self, state: Any) -> tuple[DriverFault, str]:  # noqa: ANN401 - the vendor's class
        """The fault that the arm reports of itself."""
        mode, modes = state.robot_mode, self._franky.RobotMode
        if mode == modes.UserStopped:
            return DriverFault.ESTOP, "user stop: release the enabling device or the emergency stop, then recover"
        if mode == modes.Reflex:
            return _named(f"reflex {state.current_errors}")
        if mode == modes.Guiding:
            return DriverFault.REJECTED, "the arm is guided by hand; let go of the guiding buttons, then recover"
        return DriverFault.NONE, ""

    def _fault(self, error: Exception) -> VendorFault:
        """What franky raised, as a fault: the one place where its exceptions are mapped."""
        if isinstance(error, VendorFault):
            return error
        franky, text = self._franky, str(error)
        if isinstance(error, franky.NetworkException):
            return VendorFault(DriverFault.LINK_LOST, f"{text}; look at the cable and the control box")
        if isinstance(error, franky.ControlException):
            return VendorFault(*_named(text))
        if isinstance(error, franky.RealtimeException):
            return VendorFault(DriverFault.REJECTED, f"{text}; install a PREEMPT_RT kernel, or set realtime: ignore")
        if isinstance(error, franky.IncompatibleVersionException):
            return VendorFault(DriverFault.REJECTED, f"{text}; install the franky-control that fits the robot's system")
        return VendorFault(DriverFault.REJECTED, text or type(error).__name__)


def _named(text: str) -> tuple[DriverFault, str]:
    """Fault and text of a motion that the robot aborted."""
    if "communication_constraints_violation" in text:
        return DriverFault.COMM, text
    return DriverFault.REFLEX, text.replace(os.linesep, "; ")
