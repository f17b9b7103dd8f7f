"""What a driver does with commands: takes those it may, plays the verified stop on silence, latches."""

from __future__ import annotations

import math
import secrets
from collections import Counter

import numpy as np

from physai_ros.robot.command import SafeCommand, StopTrajectory
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode

_LATEST = 4  # cycles that one step may make good for; who was kept from work for longer goes on where it was


class DriverGuard:
    """Stands between `safe_command` and the motors of every driver, simulated or not.

    A cycle in which no command came goes along the last command's stop, so that a late command finds the arm where it
    would have been anyway, a little slower. After `valid_for` of silence the stop is played to its end whatever comes,
    and the guard is latched until `resume`. `now` [s] is on the caller's clock: steady when paced, simulated in
    lock-step.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._period = spec.control_period
        # Until the acceleration at its start has swung to braking, a stop may speed up by A^2 / 2J.
        swing = spec.acceleration_limits**2 / (2 * spec.jerk_limits)
        self._fastest_stop = 1.01 * (spec.velocity_limits + swing)
        self._token = ""
        self.claimant = ""
        self.mode = DriverMode.IDLE
        self.refused: Counter[str] = Counter()
        self.last_refusal = ""
        self.command_sequence = 0
        self.initialise(spec.home_positions)

    def initialise(self, positions: np.ndarray, gripper_command: float = 1.0) -> None:
        """Put the set-point at `positions` (n_joints,) [rad], at rest; no command is in force. Mode and claim stay."""
        positions = np.array(positions, dtype=float)
        if positions.shape != self._spec.home_positions.shape or not np.isfinite(positions).all():
            raise ValueError(
                f"set-point is {positions.tolist()}; expected {len(self._spec.joint_names)} finite numbers"
            )
        self._set = positions
        self._command: SafeCommand | None = None
        self._stop = StopTrajectory(self._period, positions[np.newaxis])
        self._accepted = self._stop_began = -math.inf
        self._played = 0
        self._gripper = gripper_command
        if self.mode == DriverMode.STOPPING:
            self.mode = DriverMode.STOPPED

    def latch(self, positions: np.ndarray) -> None:
        """Stay latched at `positions` (n_joints,) [rad] until `resume`: the robot stopped, and follows nothing."""
        self.initialise(positions, self._gripper)
        self.mode = DriverMode.STOPPED

    def claim(self, claimant: str) -> str:
        """Token that every command must carry; ends the claim before it and stops the arm until `resume`."""
        self._token = secrets.token_hex(16)
        self.claimant = claimant
        self.command_sequence = 0
        self.emergency_stop()
        return self._token

    @property
    def claimed(self) -> bool:
        """Whether a safety monitor holds a token."""
        return bool(self._token)

    @property
    def commands_refused(self) -> int:
        """Commands refused since start; those that merely came while stopped are not faults and do not count."""
        return sum(count for reason, count in self.refused.items() if reason not in {"stopped", "duplicate"})

    def accept(self, command: SafeCommand, now: float) -> bool:
        """Take `command` if it may be taken; a refusal is counted under its reason in `refused`."""
        reason = self._problem(command, now)
        if reason:
            self.refuse(reason)
            return False
        order = self._order(command)
        self._command = command
        self.command_sequence = command.sequence
        self._set = np.asarray(command.positions, dtype=float)[order].copy()
        self._stop = StopTrajectory(command.stop.time_step, np.asarray(command.stop.positions, dtype=float)[:, order])
        self._gripper = float(command.gripper_command)
        self._accepted, self._played = now, 0
        return True

    def refuse(self, reason: str) -> None:
        """Count a command that may not be taken."""
        self.refused[reason] += 1
        self.last_refusal = reason

    @property
    def set_point(self) -> np.ndarray:
        """Where the set-point stands (n_joints,) [rad]."""
        return self._set.copy()

    @property
    def gripper_command(self) -> float:
        """Gripper command in force, -1 (closed) to 1 (open)."""
        return self._gripper

    @property
    def remaining_stop(self) -> StopTrajectory:
        """What is left of the stop from the set-point on, at least its end."""
        path = self._stop.positions
        return StopTrajectory(self._stop.time_step, path[min(self._played, len(path) - 1) :])

    def setpoint(self, now: float) -> tuple[np.ndarray, float]:
        """Set-point (n_joints,) [rad] and gripper command in -1 ... 1 to be tracked at `now`."""
        if self.mode == DriverMode.ACTIVE and self._command is not None:
            age = now - self._accepted
            # A command is due one period after the last; 0.6 of a period is left for jitter on its way.
            due = math.floor(age / self._stop.time_step - 0.6)
            self._advance(due if due <= self._played + _LATEST else self._played + 1)
            if age > self._command.valid_for + 1e-9:
                self.mode = DriverMode.STOPPING
                self._stop_began = now - self._played * self._stop.time_step
        elif self.mode == DriverMode.STOPPING:
            if self._stop_began == -math.inf:
                self._stop_began = now - (self._played + 1) * self._stop.time_step
            due = math.floor((now - self._stop_began) / self._stop.time_step + 0.4)
            if due > self._played + _LATEST:
                # Not asked for a while: the stop takes its time from here on, for the arm did not get its set-points.
                due = self._played + 1
                self._stop_began = now - due * self._stop.time_step
            self._advance(due)
        if self.mode == DriverMode.STOPPING and self._played >= len(self._stop.positions):
            self.mode = DriverMode.STOPPED
        return self._set.copy(), self._gripper

    def emergency_stop(self) -> None:
        """Play the stop of the last command from the next cycle on, then stay latched until `resume`."""
        if self.mode in (DriverMode.IDLE, DriverMode.STOPPED) or self._command is None:
            self.mode = DriverMode.STOPPED
        elif self.mode == DriverMode.ACTIVE:
            self.mode = DriverMode.STOPPING
            self._stop_began = -math.inf

    def resume(self) -> tuple[bool, str]:
        """Leave the latch, holding where the set-point stands; returns whether it was done and a message."""
        if not self._token:
            return False, "no safety monitor has claimed the driver; claim it first"
        if self.mode == DriverMode.STOPPING:
            return False, "the arm is still stopping; resume when it rests"
        if self.mode != DriverMode.ACTIVE:
            self.initialise(self._set, self._gripper)  # no old command may run on
            self.mode = DriverMode.ACTIVE
        return True, "active"

    def _advance(self, samples: int) -> None:
        """Go along the stop until `samples` of it have been played."""
        if samples > self._played:
            self._played = min(samples, len(self._stop.positions))
            self._set = self._stop.positions[self._played - 1]

    def _order(self, command: SafeCommand) -> list[int] | slice:
        names = self._spec.joint_names
        if tuple(command.joint_names) == names:
            return slice(None)
        return [command.joint_names.index(name) for name in names]

    def _problem(self, command: SafeCommand, now: float) -> str:
        if not self._token:
            return "not_claimed"
        if not secrets.compare_digest(command.token.encode(), self._token.encode()):
            return "token"
        if self.mode != DriverMode.ACTIVE:
            return "stopped"
        if command.sequence <= self.command_sequence:
            return "duplicate" if command.sequence == self.command_sequence else "old"
        spec = self._spec
        count = len(spec.joint_names)
        names = tuple(command.joint_names)
        if names != spec.joint_names and (len(names) != count or set(names) != set(spec.joint_names)):
            return "joints"
        positions, stop = np.asarray(command.positions), np.asarray(command.stop.positions)
        if positions.shape != (count,) or stop.ndim != 2 or stop.shape[1] != count or not len(stop):
            return "malformed"
        numbers = (command.gripper_command, command.valid_for, command.stop.time_step)
        order = self._order(command)
        path = np.concatenate([positions[np.newaxis, order], stop[:, order]])
        if not (all(np.isfinite(path).ravel().tolist()) and all(map(math.isfinite, numbers))):
            return "not_finite"
        if not (0 < command.valid_for <= spec.command_timeout * (1 + 1e-9)) or command.stop.time_step <= 0:
            return "valid_for"
        if abs(command.gripper_command) > 1 + 1e-9:
            return "gripper"
        lower = np.minimum(spec.position_lower, self._set) - 1e-6
        upper = np.maximum(spec.position_upper, self._set) + 1e-6
        if not all(((path >= lower) & (path <= upper)).ravel().tolist()):
            return "position"
        return self._step_problem(path, command.stop.time_step, now)

    def _step_problem(self, path: np.ndarray, time_step: float, now: float) -> str:
        """`step` or `stop_step` where the set-point would jump further than the velocity limits allow."""
        limit = self._spec.velocity_limits
        since = now - self._accepted
        # Late commands bring a longer step; two periods are what jitter alone can make of one.
        span = min(max(since, 0.0) + self._period, _LATEST * self._period) if math.isfinite(since) else 2 * self._period
        if any((np.abs(path[0] - self._set) > limit * max(span, 2 * self._period)).tolist()):
            return "step"
        if any((np.abs(path[1:] - path[:-1]) > self._fastest_stop * time_step + 1e-9).ravel().tolist()):
            return "stop_step"
        return ""
