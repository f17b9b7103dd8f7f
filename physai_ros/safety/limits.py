"""What an arm may do: one frozen profile from its description, checked against what its driver enforces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from physai_ros.robot.spec import FORCE_PHASES, RobotSpec
from physai_ros.robot.state import DriverState
from physai_ros.robot.volumes import HalfSpace, KeepOut, SelfDistance


class SafetyConfigurationError(ValueError):
    """Limits contradict each other or the driver; the message gives both numbers and says what to do."""


@dataclass(frozen=True)
class SafetyLimits:
    """Limits of one arm; arrays are (n_joints,) in the order of `joint_names`.

    Attributes:
        position_lower, position_upper: joint range with the margin taken off [rad].
        velocity, acceleration, jerk, effort: [rad/s], [rad/s^2], [rad/s^3], [N m].
        tool_speed: largest speed of the tool frame's origin [m/s].
        reduced_tool_speed: the same at reduced speed [m/s]; 0.25 is the reduced speed of ISO 10218-1:2011, 3.23.2.
        workspace_lower, workspace_upper: (3,) box that the tool must stay in, base frame [m].
        half_spaces, keep_out: what moving links must stay in, and keep out of.
        self_distance: how near links may come to each other.
        approach_deceleration: a point may approach a limit in space no faster than it could brake at this [m/s^2].
        force_budget: force on the tool that stops the arm [N].
        force_budgets: by phase of the task (`robot.spec.FORCE_PHASES`), where lower [N].
        force_cycles: cycles in a row over the budget that stop it.
        tracking_error: largest distance between set-point and measurement of any joint [rad].
        servo_lag: how late the arm follows its set-point [s], as the time constant of that; 0: it is not considered.
        reduced_scale: share of velocity and tool speed that is left at reduced speed, 0-1.
        command_timeout: longest silence after which the driver must stop by itself [s].
        proposal_age_cycles: a proposal that answers an older state than this is stale.
        proposal_timeout: a proposal that was first seen longer ago than this is stale [s].
        lease: longest time that one intervention may hold [s].
        sink_without_timeout: in writing, why a driver without a time-out of its own is accepted; empty: it is not.
    """

    joint_names: tuple[str, ...]
    position_lower: np.ndarray
    position_upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray
    effort: np.ndarray
    tool_speed: float = 1.0
    reduced_tool_speed: float = 0.25
    workspace_lower: np.ndarray = None  # type: ignore[assignment]  # set by from_spec
    workspace_upper: np.ndarray = None  # type: ignore[assignment]
    half_spaces: tuple[HalfSpace, ...] = ()
    keep_out: tuple[KeepOut, ...] = ()
    self_distance: SelfDistance = SelfDistance()
    approach_deceleration: float = 2.5
    force_budget: float = 60.0
    force_budgets: Mapping[str, float] = field(default_factory=dict)
    force_cycles: int = 3
    tracking_error: float = 0.3
    servo_lag: float = 0.08
    reduced_scale: float = 0.25
    command_timeout: float = 0.05
    proposal_age_cycles: int = 6
    proposal_timeout: float = 0.06
    lease: float = 0.2
    sink_without_timeout: str = ""

    def __post_init__(self) -> None:
        count = len(self.joint_names)
        for name, shape in _SHAPES.items():
            value = np.array(getattr(self, name), dtype=float)
            expected = (3,) if shape == "box" else (count,)
            if value.shape != expected or np.isnan(value).any():
                raise SafetyConfigurationError(f"limit {name} is {value.tolist()}; expected {expected[0]} numbers")
            if shape == "positive" and not (value > 0).all():
                raise SafetyConfigurationError(f"limit {name} is {value.tolist()}; expected numbers above zero")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        _below("position_lower", self.position_lower, "position_upper", self.position_upper, self.joint_names)
        _below("workspace_lower", self.workspace_lower, "workspace_upper", self.workspace_upper, ("x", "y", "z"))
        for name in _POSITIVE:
            value = getattr(self, name)
            if not np.isfinite(value) or value <= 0:
                raise SafetyConfigurationError(f"limit {name} is {value!r}; expected a finite number above zero")
        for phase, budget in self.force_budgets.items():
            if phase not in FORCE_PHASES or not (np.isfinite(budget) and budget > 0):
                raise SafetyConfigurationError(
                    f"force budget of '{phase}' is {budget!r} N; expected a finite number above zero for one of "
                    f"{', '.join(FORCE_PHASES)}"
                )
        if not (np.isfinite(self.servo_lag) and self.servo_lag >= 0.0):
            raise SafetyConfigurationError(f"limit servo_lag is {self.servo_lag!r}; expected zero or more [s]")
        if self.reduced_scale > 1:
            raise SafetyConfigurationError(f"limit reduced_scale is {self.reduced_scale:g}; expected at most 1")

    @classmethod
    def from_spec(
        cls,
        spec: RobotSpec,
        *,
        position_margin: float = 0.01,
        velocity_margin: float = 0.05,
        **overrides: Any,  # noqa: ANN401
    ) -> SafetyLimits:
        """Limits of `spec`, joint ranges narrowed by `position_margin` [rad]; `overrides` name other attributes.

        `velocity_margin` is the share of a joint's speed that is left to its servo, which may swing over.

        Raises:
            SafetyConfigurationError: an override is unknown, out of range, or wider than the arm's own limit.
        """
        known = {f.name for f in fields(cls)} - {"joint_names"}
        for name in overrides:
            if name not in known:
                raise SafetyConfigurationError(f"unknown limit '{name}'; known are: {', '.join(sorted(known))}")
        if not np.isfinite(position_margin) or position_margin < 0:
            raise SafetyConfigurationError(f"position_margin is {position_margin!r}; expected zero or more [rad]")
        if not 0.0 <= velocity_margin < 1.0:
            raise SafetyConfigurationError(f"velocity_margin is {velocity_margin!r}; expected a share from 0, below 1")
        own = cls(
            joint_names=spec.joint_names,
            position_lower=spec.position_lower + position_margin,
            position_upper=spec.position_upper - position_margin,
            velocity=spec.velocity_limits * (1.0 - velocity_margin),
            acceleration=spec.acceleration_limits,
            jerk=spec.jerk_limits,
            effort=spec.effort_limits,
            workspace_lower=spec.workspace_lower,
            workspace_upper=spec.workspace_upper,
            half_spaces=spec.half_spaces,
            keep_out=spec.keep_out,
            self_distance=spec.self_distance,
            force_budgets=spec.force_budgets,
            command_timeout=spec.command_timeout,
        )
        limits = replace(own, **overrides)
        for name in ("velocity", "acceleration", "jerk", "effort"):
            _not_above(name, getattr(limits, name), "the arm's", getattr(spec, f"{name}_limits"), spec.joint_names)
        _not_above("position_upper", limits.position_upper, "the arm's", spec.position_upper, spec.joint_names)
        _not_above("-position_lower", -limits.position_lower, "the arm's", -spec.position_lower, spec.joint_names)
        return limits

    def check_driver(self, state: DriverState) -> None:
        """Compare with what the driver says that it is and enforces; empty arrays are limits that it does not have.

        Raises:
            SafetyConfigurationError: joints differ, a limit of ours is wider than the driver's, or its time-out is
                longer than ours or missing.
        """
        if set(state.joint_names) != set(self.joint_names) or len(state.joint_names) != len(self.joint_names):
            raise SafetyConfigurationError(
                f"the driver's joints are {', '.join(state.joint_names) or 'none'}; the limits are for "
                f"{', '.join(self.joint_names)}; start the driver and the monitor with the same robot"
            )
        order = [state.joint_names.index(name) for name in self.joint_names]
        for name, ours, theirs in (
            ("position_upper", self.position_upper, state.enforced_position_upper),
            ("-position_lower", -self.position_lower, -np.asarray(state.enforced_position_lower)),
            ("velocity", self.velocity, state.enforced_velocity),
            ("effort", self.effort, state.enforced_effort),
        ):
            theirs = np.asarray(theirs, dtype=float)
            if theirs.size == 0:
                continue
            if theirs.shape != ours.shape:
                raise SafetyConfigurationError(
                    f"the driver reports {theirs.size} numbers for {name} of {len(order)} joints; correct the driver"
                )
            _not_above(name, ours, "the driver's", theirs[order], self.joint_names)
        if not state.command_timeout <= self.command_timeout * (1 + 1e-9) and not self.sink_without_timeout:
            raise SafetyConfigurationError(
                f"the driver stops by itself after {state.command_timeout:g} s of silence, expected at most "
                f"{self.command_timeout:g} s; shorten the driver's time-out, or accept it in writing with "
                "sink_without_timeout"
            )


_SHAPES = {
    "position_lower": "joints",
    "position_upper": "joints",
    "velocity": "positive",
    "acceleration": "positive",
    "jerk": "positive",
    "effort": "positive",
    "workspace_lower": "box",
    "workspace_upper": "box",
}
_POSITIVE = (
    "tool_speed",
    "reduced_tool_speed",
    "approach_deceleration",
    "force_budget",
    "force_cycles",
    "tracking_error",
    "reduced_scale",
    "command_timeout",
    "proposal_age_cycles",
    "proposal_timeout",
    "lease",
)


def _below(low_name: str, low: np.ndarray, high_name: str, high: np.ndarray, names: tuple[str, ...]) -> None:
    for i in np.flatnonzero(~(low < high)):
        raise SafetyConfigurationError(
            f"{low_name} {low[i]:g} is not below {high_name} {high[i]:g} for {names[i]}; correct one of them"
        )


def _not_above(name: str, ours: np.ndarray, whose: str, theirs: np.ndarray, joint_names: tuple[str, ...]) -> None:
    for i in np.flatnonzero(~(ours <= theirs + 1e-9)):
        raise SafetyConfigurationError(
            f"limit {name} of {joint_names[i]} is {ours[i]:g}, beyond {whose} {theirs[i]:g}; narrow ours to it"
        )
