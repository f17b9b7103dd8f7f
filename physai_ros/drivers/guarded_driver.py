"""A real arm between `safe_command` and its driver, without ROS: guard, checks, faults, recovery."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from physai_ros.drivers.activation import ActivationChecks, check_joints, check_pose
from physai_ros.drivers.conversion import SetPointConversion
from physai_ros.drivers.driver import CommandKind, Driver, DriverError
from physai_ros.drivers.first_motion import FirstMotion
from physai_ros.robot.command import SafeCommand, StopTrajectory
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode, DriverState
from physai_ros.safety.driver_guard import DriverGuard

_MOVED = 0.02  # [rad] off its set-point from which an arm that stood was moved, and is taken from where it is
_HOLDS = 1.0  # [N] of a gripper that holds something


@runtime_checkable
class PlaysPaths(Protocol):
    """A driver whose robot plays a whole path by itself: it is given the verified stop before every command."""

    def follow_up(self, stop: StopTrajectory) -> None:
        """What the robot is to play after the next command, when no other comes."""


class GuardedDriver:
    """One arm behind a driver guard. `now` [s] is on a steady clock, `stamp` on the clock of the arm's stamps.

    It moves for a command that was permitted, near where the arm is, and for nothing else: not at activation, not when
    a fault is gone or a lost link is back, and not at `resume`. When commands fail to come, the arm is led along the
    verified stop that came with the last; when the arm reports a fault, it is latched where it stands.
    """

    def __init__(
        self, driver: Driver, spec: RobotSpec, *, first_motion: float = 0.0, state_timeout: float = 0.1
    ) -> None:
        """Times are in [s]: of slow first motion, and of measurements that stand still before the link is lost."""
        self.driver = driver
        self.spec = spec
        self.guard = DriverGuard(spec)
        self.kind = CommandKind.JOINT_POSITIONS
        self._first_motion = FirstMotion(spec, first_motion)
        self._state_timeout = state_timeout
        self._conversion = SetPointConversion(spec, self.kind)
        self._pressed = False
        self._recovery: threading.Thread | None = None
        self._recovered = True
        self._measured: DriverState | None = None
        self._sequence = 0
        self._fault, self._fault_text = DriverFault.NONE, ""
        self._seen = (-1, 0.0)
        self._taken = 0.0

    def start(self, checks: ActivationChecks, now: float, stamp: float) -> DriverState:
        """Connect, look at the arm and hold it where it is; returns the first state.

        Raises:
            DriverError: the arm cannot be reached or fails a check; the connection is closed again.
        """
        self.driver.connect()
        try:
            # Connecting takes time: the arm is judged by what it measures now.
            measured = self.driver.read()
            checks.check(self.spec, self.driver.capabilities, measured, stamp + time.monotonic() - now)
            self.kind = self.driver.capabilities.kinds[0]
            self._conversion = SetPointConversion(self.spec, self.kind)
            self.driver.activate(self.kind)
        except Exception:
            self.driver.close()
            raise
        self._measured = measured = self._in_our_order(measured)
        self.guard.initialise(measured.joint_positions, _present_gripper(measured, self.spec))
        self.guard.mode = DriverMode.IDLE if not self.guard.claimed else DriverMode.STOPPED
        self._fault, self._fault_text, self._pressed, self._recovered = DriverFault.NONE, "", False, True
        self._seen = (measured.sequence, time.monotonic())
        self._taken = time.monotonic()
        self._first_motion.restart()
        return self._report()

    def accept(self, command: SafeCommand, now: float) -> bool:
        """Take a command if it may be taken, and is slow where it has to be."""
        if self.guard.mode == DriverMode.ACTIVE and self._first_motion.refuses(command, now):
            self.guard.refuse("first_motion_speed")
            return False
        return self.guard.accept(command, now)

    def cycle(self, now: float) -> DriverState:
        """Measure, send what is in force, and say both; once a control period."""
        if not self.recovering:
            self._read(now)
        set_point, gripper = self.guard.setpoint(now)
        if self._fault == DriverFault.NONE:
            self._send(set_point, gripper, now)
        self._sequence += 1
        return self._report()

    def emergency_stop(self) -> None:
        """Stop along the verified stop, and latch until `resume`."""
        self._pressed = True
        self.guard.emergency_stop()

    def resume(self) -> tuple[bool, str]:
        """Leave the latch, holding the arm where it is; returns whether it was done and a message."""
        if self.recovering:
            return False, "recovery is under way; resume when it is done"
        if self._fault != DriverFault.NONE:
            return False, f"the arm reports {self._fault.name}: {self._fault_text}; call driver/recover first"
        measured = self._measured
        if self.guard.mode != DriverMode.ACTIVE:
            try:
                check_pose(self.spec, measured)
            except DriverError as error:
                return False, str(error)
            if self.guard.claimed and self.guard.mode != DriverMode.STOPPING:
                # An arm that is held at positions stands a little off them, and would sink if it were taken from there.
                held = self.kind is CommandKind.JOINT_POSITIONS
                if not held or np.abs(measured.joint_positions - self.guard.set_point).max() > _MOVED:
                    self.guard.latch(measured.joint_positions)
                self._conversion.reset()
                self._first_motion.restart()
        done, message = self.guard.resume()
        self._pressed = self._pressed and not done
        return done, message

    def recover(self) -> tuple[bool, str]:
        """Begin to clear a fault by the arm's own steps, beside the control cycle; resume comes after it."""
        if self.recovering:
            return False, "recovery is under way"
        if self._fault == DriverFault.NONE:
            return True, "there is no fault"
        self._recovered = False
        self._recovery = threading.Thread(target=self._recover, name="recovery", daemon=True)
        self._recovery.start()
        return True, "recovering; call resume when driver_state shows no fault"

    @property
    def recovering(self) -> bool:
        """Whether a recovery is under way."""
        return self._recovery is not None and self._recovery.is_alive()

    def stop(self, timeout: float) -> bool:
        """Lead the arm to rest along the verified stop, then halt and close it; whether it rests in `timeout` [s]."""
        until = time.monotonic() + timeout
        self.guard.emergency_stop()
        while self.guard.mode != DriverMode.STOPPED and self._fault == DriverFault.NONE and time.monotonic() < until:
            self.cycle(time.monotonic())
            time.sleep(self.spec.control_period)
        rests = self.driver.halt(max(until - time.monotonic(), 0.1))
        self.driver.close()
        return rests

    def _read(self, now: float) -> None:
        state = self.driver.read()
        if state.sequence != self._seen[0]:
            self._seen = (state.sequence, now)
        fault, text = state.fault, state.fault_text
        try:
            check_joints(self.spec, state)
            self._measured = self._in_our_order(state)  # also in a fault: what the arm does then is to be seen
        except DriverError as error:
            if fault == DriverFault.NONE:
                fault, text = DriverFault.COMM, str(error)
        if fault == DriverFault.NONE and now - self._seen[1] > self._state_timeout:
            fault, text = DriverFault.LINK_LOST, f"no new measurement for {now - self._seen[1]:.2f} s"
        if fault != DriverFault.NONE:
            self._latch(fault, text)
        elif self._fault != DriverFault.NONE and self._recovered:
            # Seen to be gone; the latch stays until resume, where the arm stands now.
            self._fault, self._fault_text = DriverFault.NONE, ""
            self._taken = now
            self.guard.latch(self._measured.joint_positions)

    def _latch(self, fault: DriverFault, text: str) -> None:
        if self._fault == DriverFault.NONE:
            self._recovered = False
            self.guard.latch(self._measured.joint_positions)
        self._fault, self._fault_text = fault, text

    def _send(self, set_point: np.ndarray, gripper: float, now: float) -> None:
        moving = self.guard.mode in (DriverMode.ACTIVE, DriverMode.STOPPING)
        vector = self._conversion.vector(set_point, self._measured.joint_positions, moving=moving)
        if isinstance(self.driver, PlaysPaths):
            self.driver.follow_up(self.guard.remaining_stop)
        valid_for = self.spec.command_timeout
        if self.driver.command(self.kind, vector, gripper, valid_for):
            self._taken = now
        elif now - self._taken > valid_for:
            self._latch(DriverFault.REJECTED, f"the arm has refused every command for {now - self._taken:.2f} s")

    def _recover(self) -> None:
        try:
            self._recovered = self.driver.recover()
            if self._recovered:
                self.driver.activate(self.kind)
        except DriverError as error:
            self._recovered, self._fault_text = False, str(error)

    def _report(self) -> DriverState:
        guard, fault, text = self.guard, self._fault, self._fault_text
        if fault == DriverFault.NONE and self._pressed:
            fault, text = DriverFault.ESTOP, "emergency stop; call resume"
        return replace(
            self._measured,
            sequence=self._sequence,
            commanded_positions=guard.set_point,
            gripper_command=guard.gripper_command,
            mode=guard.mode,
            fault=fault,
            fault_text=text,
            command_timeout=max(self.spec.command_timeout, self.driver.capabilities.command_timeout),
            command_sequence=guard.command_sequence,
            commands_refused=guard.commands_refused,
            lock_step=False,
        )

    def _in_our_order(self, state: DriverState) -> DriverState:
        names = self.spec.joint_names
        if tuple(state.joint_names) == names:
            return state
        order = [state.joint_names.index(name) for name in names]
        arrays = {}
        for name in _JOINT_ARRAYS:
            value = np.asarray(getattr(state, name))
            if value.size:
                arrays[name] = value[order]
        return replace(state, joint_names=names, **arrays)


_JOINT_ARRAYS = (
    "joint_positions",
    "joint_velocities",
    "joint_torques",
    "commanded_positions",
    "enforced_position_lower",
    "enforced_position_upper",
    "enforced_velocity",
    "enforced_effort",
)


def _present_gripper(state: DriverState, spec: RobotSpec) -> float:
    """Gripper command, -1 to 1, that leaves the gripper as it is: closed on what it holds, else as wide."""
    if state.gripper_force > _HOLDS:
        return -1.0
    return float(np.clip(2.0 * state.gripper_width / spec.gripper.max_width - 1.0, -1.0, 1.0))
