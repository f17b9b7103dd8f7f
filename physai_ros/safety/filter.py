"""The permitted joint target that is nearest to a proposed one."""

from __future__ import annotations

from typing import NamedTuple

import daqp
import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.set_point import SetPoint

_ROUNDS = 8  # of linearising the tool's speed, which converges from above in two or three
_TOLERANCE = 1e-6  # [m] of a linearised constraint, a little more than the solver's own


class Projection(NamedTuple):
    """What became of a target: `positions` (n_joints,) [rad], None if nothing is permitted, and what limited it.

    Reasons are `position`, `velocity`, `acceleration`, `workspace`, `tool_speed`; why there is none: `malformed`,
    `not_finite`, `infeasible`.
    """

    positions: np.ndarray | None
    reasons: tuple[str, ...] = ()


class SafetyFilter:
    """Projects a target on what one control cycle may do from a set-point.

    Joint limits make a box: velocity, acceleration, jerk, and the speed from which a jerk-limited stop still ends
    inside the position limits. The workspace adds half-spaces in control-barrier form (Ames et al., "Control barrier
    functions: theory and applications", 2019), the tool's speed a half-space against its direction; both are linearised
    at the set-point and solved as a quadratic program by daqp (Arnstrom et al., "A dual active-set solver for embedded
    quadratic programming using recursive LDL' updates", 2022) only where the box alone breaks them. The tool's speed
    knows of this cycle only: where joints that cancelled each other can no longer do so, it passes its limit by up to
    a tenth until they have braked.
    """

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics, control_period: float) -> None:
        self._limits = limits
        self._kinematics = kinematics
        self._period = control_period
        self._hessian = np.eye(len(limits.joint_names))
        # Swinging from full acceleration to full braking takes 2 A / J; what that costs of the way is at most
        # v 2 A / J + A^3 / J^2.
        acceleration, jerk = limits.acceleration, limits.jerk
        self._swing = 2.0 * acceleration / jerk
        self._reserve = acceleration**3 / jerk**2
        self._delta_velocity = acceleration * control_period
        self._delta_jerk = jerk * control_period**2
        self._jerk_binds = bool((self._delta_jerk < 2.0 * self._delta_velocity).any())
        links = kinematics.link_positions(kinematics.spec.home_positions)
        lengths = np.linalg.norm(np.diff(links, axis=0), axis=1)
        self._reach = np.cumsum(lengths[::-1])[::-1].copy()

    def project(self, target: np.ndarray, set_point: SetPoint, velocity_scale: float = 1.0) -> Projection:
        """Nearest permitted target to `target` (n_joints,) [rad]; `velocity_scale` 0-1 shortens the speed limits."""
        refusal = self.refusal(target)
        if refusal:
            return Projection(None, (refusal,))
        lower, upper = self._velocity_box(set_point, velocity_scale)
        if (lower > upper + 1e-9).any():
            return Projection(None, ("infeasible",))
        wanted = (target - set_point.positions) / self._period
        inside = bool(((wanted >= lower - 1e-9) & (wanted <= upper + 1e-9)).all())
        velocities = wanted if inside else np.minimum(np.maximum(wanted, lower), upper)
        step, bent = self._bend(velocities, set_point, lower, upper, velocity_scale)
        if step is None:
            return Projection(None, ("infeasible", *bent))
        if inside and not bent:
            return Projection(target.copy())
        reasons = () if inside else self._named(wanted, set_point, velocity_scale)
        return Projection(set_point.positions + step, reasons + bent)

    def refusal(self, target: np.ndarray) -> str:
        """Why `target` cannot be a target at all: `malformed` or `not_finite`; empty when it can."""
        shape = (len(self._limits.joint_names),)
        if not isinstance(target, np.ndarray) or target.shape != shape or target.dtype.kind != "f":
            return "malformed"
        # Beyond any joint's range a number only overflows what is computed from it.
        return "" if (np.abs(target) < 1e6).all() else "not_finite"

    def _velocity_box(self, set_point: SetPoint, scale: float) -> tuple[np.ndarray, np.ndarray]:
        limits, now = self._limits, set_point.velocities
        slowest, fastest = now - self._delta_velocity, now + self._delta_velocity
        if self._jerk_binds:
            coasting = now + set_point.accelerations * self._period
            slowest = np.maximum(slowest, coasting - self._delta_jerk)
            fastest = np.minimum(fastest, coasting + self._delta_jerk)
        top = limits.velocity * scale
        # Where the speed limit has just been lowered, the arm brakes down to it.
        upper = np.minimum(np.minimum(fastest, np.maximum(top, slowest)), self._approach(set_point.positions, 1.0))
        lower = np.maximum(np.maximum(slowest, np.minimum(-top, fastest)), -self._approach(set_point.positions, -1.0))
        return lower, upper

    def _approach(self, positions: np.ndarray, side: float) -> np.ndarray:
        """Largest speed towards a position limit that a stop can still be made from, one cycle on."""
        limits = self._limits
        room = limits.position_upper - positions if side > 0 else positions - limits.position_lower
        room = np.maximum(room - self._reserve, 0.0)
        delay = self._period + self._swing
        return limits.acceleration * (np.sqrt(delay * delay + 2.0 * room / limits.acceleration) - delay)

    def _bend(
        self, velocities: np.ndarray, set_point: SetPoint, lower: np.ndarray, upper: np.ndarray, scale: float
    ) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Step of this cycle under workspace and tool speed, and which of the two bent it."""
        limits, period = self._limits, self._period
        wanted = velocities * period
        furthest = float(np.abs(wanted) @ self._reach)
        tool = self._kinematics.tool_pose(set_point.positions).position
        room = np.concatenate([limits.workspace_upper - tool, tool - limits.workspace_lower])
        allowed = np.maximum(room, -2e-3) * (period / limits.workspace_reaction)
        near = np.flatnonzero(allowed < furthest)
        top_speed = limits.tool_speed * scale * period
        if not near.size and furthest <= top_speed:
            return wanted, ()
        jacobian = self._kinematics.jacobian(set_point.positions)[:3]
        walls = np.concatenate([jacobian, -jacobian])[near]
        allowed = allowed[near]
        step, bent, rows, bounds = wanted, (), walls, allowed
        for _ in range(_ROUNDS):
            moved = jacobian @ step
            length = float(np.sqrt(moved @ moved))
            if (walls @ step > allowed + _TOLERANCE).any():
                bent = (*bent, "workspace") if "workspace" not in bent else bent
            elif length > top_speed * (1 + 2e-3) + _TOLERANCE:
                rows = np.concatenate([rows, (moved / length @ jacobian)[np.newaxis]])
                bounds = np.append(bounds, top_speed * (1 - 1e-3))
                bent = (*bent, "tool_speed") if "tool_speed" not in bent else bent
            else:
                return step, bent
            step = self._solve(self._hessian, wanted, rows, bounds, lower * period, upper * period)
            if step is None:
                break
        return self._brake_tool(jacobian, set_point, walls, allowed, lower, upper), bent

    def _brake_tool(
        self,
        jacobian: np.ndarray,
        set_point: SetPoint,
        walls: np.ndarray,
        allowed: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> np.ndarray | None:
        """Step with the slowest tool that the joints can make now; None where that is no slower than it is already.

        For a tool that is above a speed limit which has just been lowered.
        """
        period = self._period
        hessian = jacobian.T @ jacobian + 1e-4 * self._hessian
        step = self._solve(hessian, np.zeros(len(lower)), walls, allowed, lower * period, upper * period)
        speed_now = float(np.linalg.norm(jacobian @ set_point.velocities)) * period
        return step if step is not None and float(np.linalg.norm(jacobian @ step)) < speed_now else None

    def _solve(
        self,
        hessian: np.ndarray,
        wanted: np.ndarray,
        rows: np.ndarray,
        bounds: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> np.ndarray | None:
        """Step nearest to `wanted` in the metric `hessian`, inside the box and with `rows` @ step <= `bounds`."""
        # Scaled to thousandths, so that the solver's absolute tolerance is far below a step.
        scale = 1e3
        above = np.concatenate([upper, bounds]) * scale
        below = np.concatenate([np.minimum(lower, upper), np.full(len(bounds), -1e30)])
        below[: len(lower)] *= scale
        step, _, flag, _ = daqp.solve(hessian, -(hessian @ wanted) * scale, np.ascontiguousarray(rows), above, below)
        return np.clip(step / scale, lower, upper) if flag == 1 else None

    def _named(self, wanted: np.ndarray, set_point: SetPoint, scale: float) -> tuple[str, ...]:
        """Which limits of the joints `wanted` (n_joints,) [rad/s] breaks."""
        limits, positions = self._limits, set_point.positions
        reasons = []
        if (wanted > self._approach(positions, 1.0) + 1e-9).any() or (
            -wanted > self._approach(positions, -1.0) + 1e-9
        ).any():
            reasons.append("position")
        if (np.abs(wanted) > limits.velocity * scale + 1e-9).any():
            reasons.append("velocity")
        if (np.abs(wanted - set_point.velocities) > self._delta_velocity + 1e-9).any():
            reasons.append("acceleration")
        return tuple(reasons) or ("jerk",)
