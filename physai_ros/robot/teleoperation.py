"""A person at a gamepad or 3D mouse: from sticks and buttons to interventions, without a jump at take-over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference
from physai_ros.robot.hold import hold_action
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.state import RobotState

LEASE = 0.2  # [s] that one action holds; the longest that safety grants
SILENT = 0.3  # [s] without a word of the device after which the switch counts as let go
_DEAD = 0.05  # of a stick's way from its middle


@dataclass(frozen=True)
class JoyMapping:
    """What sticks and buttons mean.

    Attributes:
        axes: number of the axis for x, y, z, roll, pitch, yaw of the base frame, counted from 1; negative: turned
            round; 0: none.
        enable_button: that is held to drive, counted from 0.
        close_button, open_button: of the gripper, counted from 0.
        speed, turn_speed: at full deflection [m/s, rad/s].
    """

    axes: tuple[int, int, int, int, int, int] = (2, 1, 5, 0, 0, 4)
    enable_button: int = 4
    close_button: int = 0
    open_button: int = 1
    speed: float = 0.2
    turn_speed: float = 0.8

    def __post_init__(self) -> None:
        if len(self.axes) != 6 or min(self.enable_button, self.close_button, self.open_button) < 0:
            raise ValueError(f"axes {self.axes}; expected six numbers, and buttons counted from 0")


class Teleoperator:
    """Drives while the enable button is held: give it what the device says and every state."""

    def __init__(self, kinematics: Kinematics, mapping: JoyMapping, name: str = "operator") -> None:
        self._kinematics = kinematics
        self._mapping = mapping
        self._name = name
        self._period = kinematics.spec.control_period
        self._reference = CartesianReference(kinematics, CYCLES_PER_STEP)
        self._axes = np.zeros(6)
        self._gripper: float | None = None
        self._enabled_at = -np.inf
        self._driving = False
        self._sequence = self._cycle = 0
        self._intent = np.zeros(6)

    def hear(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> None:
        """Take in what the device says at `now` [s] on a steady clock."""
        mapping = self._mapping
        speeds = np.array([mapping.speed] * 3 + [mapping.turn_speed] * 3)
        raw = np.array([_axis(axes, number) for number in mapping.axes])
        self._axes = np.where(np.abs(raw) < _DEAD, 0.0, np.clip(raw, -1.0, 1.0)) * speeds
        if _pressed(buttons, mapping.close_button) != _pressed(buttons, mapping.open_button):
            self._gripper = -1.0 if _pressed(buttons, mapping.close_button) else 1.0
        self._enabled_at = now if _pressed(buttons, mapping.enable_button) else -np.inf

    def drive(self, state: RobotState, now: float, episode_id: str = "") -> Intervention | None:
        """The intervention that answers a state; one with `enable` false where the button was let go, else None."""
        if now - self._enabled_at > SILENT:
            if not self._driving:
                return None
            self._driving = False
            action = hold_action(state, self._next(), self._period, episode_id)
            return Intervention(state.stamp, False, 0.0, self._name, action)
        if not self._driving:
            # From where the command stands, at rest: what the policy was about to do is not carried on.
            self._reference.reset(state.commanded_positions)
            self._driving, self._cycle, self._gripper = True, 0, None
        if self._cycle % CYCLES_PER_STEP == 0:
            self._intent = self._axes * CYCLES_PER_STEP * self._period
            self._reference.begin_step(self._intent)
        self._cycle += 1
        before = self._reference.positions
        positions = self._reference.advance(state.commanded_positions)
        action = RobotAction(
            stamp=state.stamp,
            sequence=self._next(),
            state_sequence=state.sequence,
            joint_names=state.joint_names,
            reference_positions=positions,
            joint_delta=positions - before,
            ee_delta=self._intent.copy(),
            gripper_command=state.gripper_command if self._gripper is None else self._gripper,
            episode_id=episode_id,
            observation_stamp=state.stamp,
            target_time=state.stamp + self._period,
        )
        return Intervention(state.stamp, True, LEASE, self._name, action)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def _axis(axes: Sequence[float], number: int) -> float:
    index = abs(number) - 1
    value = float(axes[index]) if 0 <= index < len(axes) else 0.0
    return float(np.sign(number)) * value if np.isfinite(value) else 0.0


def _pressed(buttons: Sequence[int], index: int) -> bool:
    return index < len(buttons) and bool(buttons[index])
