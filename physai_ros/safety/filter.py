"""The permitted joint target that is nearest to a proposed one."""

from __future__ import annotations

import math
from typing import NamedTuple

import daqp
import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.set_point import SetPoint
from physai_ros.safety.distances import Sight
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.surroundings import Surroundings

_ROUNDS = 8  # of linearising the tool's speed, which converges from above in two or three
_TOLERANCE = 1e-6  # [m] of a linearised limit, a little more than the solver's own
_TOOL = np.zeros(1, dtype=int)  # the tool is the first of the points
_SKIN = 1e-3  # [m] kept from limits in space, for what linearising them neglects

_NONE = np.zeros(0, dtype=int)


class Projection(NamedTuple):
    """What became of a target: `positions` (n_joints,) [rad], None if nothing is permitted, and what limited it.

    Reasons are `position`, `velocity`, `acceleration`, `jerk`, `tool_speed` and those of `Distances` (`workspace`,
    `half_space NAME`, `keep_out NAME`, `self_distance`); why there is none: `malformed`, `not_finite`, `infeasible`.
    """

    positions: np.ndarray | None
    reasons: tuple[str, ...] = ()


def _either_way(values: np.ndarray) -> np.ndarray:
    """Values (n_joints,) towards the upper ends of the joints' ranges, then towards the lower ones."""
    return np.concatenate([values, -values])


class SafetyFilter:
    """Projects a target on what one control cycle may do from a set-point.

    Joint limits make a box: velocity, acceleration, jerk, and the speed from which a jerk-limited stop still ends
    inside the position limits. Workspace, volumes and self-distance add half-spaces in control-barrier form (Ames et
    al., "Control barrier functions: theory and applications", 2019): a distance h may shrink no faster than braking at
    `approach_deceleration` would still end outside, which is the class K function here. The tool's speed adds a
    half-space against its direction. All are linearised at the set-point and solved as a quadratic program by daqp
    (Arnstrom et al., "A dual active-set solver for embedded quadratic programming using recursive LDL' updates", 2022)
    only where the box alone breaks them. The tool's speed knows of this cycle only: where joints that cancelled each
    other can no longer do so, it passes its limit by up to a tenth until they have braked.
    """

    def __init__(
        self,
        limits: SafetyLimits,
        kinematics: Kinematics,
        control_period: float,
        surroundings: Surroundings | None = None,
    ) -> None:
        """With the `surroundings` of a `StopVerifier` what one of them looked at, the other knows."""
        self._surroundings = surroundings or Surroundings(limits, kinematics)
        self._limits = limits
        self._period = control_period
        self._hessian = np.eye(len(limits.joint_names))
        # Swinging from full acceleration to full braking takes 2 A / J; what that costs of the way is at most
        # v 2 A / J + A^3 / J^2.
        acceleration, jerk = limits.acceleration, limits.jerk
        swing = 2.0 * acceleration / jerk
        self._acceleration, self._velocity = np.tile(acceleration, 2), np.tile(limits.velocity, 2)
        self._reaction = np.tile(control_period + swing, 2)
        self._reaction_squared, self._per_room = self._reaction**2, 2.0 / self._acceleration
        reserve = acceleration**3 / jerk**2
        self._ends = np.concatenate([limits.position_upper - reserve, -limits.position_lower - reserve])
        self._delta_velocity = np.tile(acceleration * control_period, 2)
        self._delta_jerk = np.tile(jerk * control_period**2, 2)
        self._jerk_binds = bool((self._delta_jerk < 2.0 * self._delta_velocity).any())
        self._distances = self._surroundings.distances
        self._delay = float(self._reaction.max())

    def project(
        self, target: np.ndarray, set_point: SetPoint, velocity_scale: float = 1.0, tool_speed: float = np.inf
    ) -> Projection:
        """Nearest permitted target to `target` (n_joints,) [rad].

        `velocity_scale` 0-1 shortens the speed limits; the tool's is at most `tool_speed` [m/s] besides.
        """
        refusal = self.refusal(target)
        if refusal:
            return Projection(None, (refusal,))
        lower, upper = self._velocity_box(set_point, velocity_scale)
        if min((upper - lower).tolist()) < -1e-9:
            return Projection(None, ("infeasible",))
        wanted = (target - set_point.positions) / self._period
        velocities = np.minimum(np.maximum(wanted, lower), upper)
        inside = max(np.abs(velocities - wanted).tolist()) <= 1e-9
        top_speed = min(self._limits.tool_speed * velocity_scale, tool_speed)
        nearest = target.copy() if inside else set_point.positions + velocities * self._period
        positions, bent = self._bend(nearest, set_point, lower, upper, top_speed)
        if positions is None:
            return Projection(None, ("infeasible", *bent))
        reasons = () if inside else self._named(wanted, set_point, velocity_scale)
        return Projection(positions, reasons + bent)

    def refusal(self, target: np.ndarray) -> str:
        """Why `target` cannot be a target at all: `malformed` or `not_finite`; empty when it can."""
        shape = (len(self._limits.joint_names),)
        if not isinstance(target, np.ndarray) or target.shape != shape or target.dtype.kind != "f":
            return "malformed"
        # Beyond any joint's range a number only overflows what is computed from it.
        return "" if sum(np.abs(target).tolist()) < 1e6 else "not_finite"

    def _velocity_box(self, set_point: SetPoint, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest velocity (n_joints,) [rad/s] that a joint may have."""
        now = _either_way(set_point.velocities)
        slowest, fastest = now - self._delta_velocity, now + self._delta_velocity
        if self._jerk_binds:
            coasting = now + _either_way(set_point.accelerations) * self._period
            slowest = np.maximum(slowest, coasting - self._delta_jerk)
            fastest = np.minimum(fastest, coasting + self._delta_jerk)
        # Where the speed limit has just been lowered, the arm brakes down to it.
        top = np.minimum(fastest, np.maximum(self._velocity * scale, slowest))
        top = np.minimum(top, self._approach(set_point.positions))
        joints = len(set_point.positions)
        return -top[joints:], top[:joints]

    def _approach(self, positions: np.ndarray) -> np.ndarray:
        """Largest speed (2 n_joints,) to upper ends, then to lower ones, that can still be stopped from in a cycle."""
        room = np.maximum(self._ends - _either_way(positions), 0.0)
        return self._acceleration * (np.sqrt(self._reaction_squared + room * self._per_room) - self._reaction)

    def _bend(
        self, nearest: np.ndarray, set_point: SetPoint, lower: np.ndarray, upper: np.ndarray, top_speed: float
    ) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Target nearest to `nearest` under the limits in space and of the tool's speed, and which of them bent it.

        Whether a target keeps them is judged by what is seen from it; the linearised limits say where else to look.
        """
        period, top = self._period, top_speed * self._period
        before = self._surroundings.look(set_point.positions)
        wanted = nearest - set_point.positions
        target, bent, bound = nearest, (), _NONE
        faces, face_bounds = np.zeros((0, len(wanted))), _NONE
        for _ in range(_ROUNDS):
            after = self._surroundings.look(target)
            over = self._too_fast(before, after)
            if bound.size:
                over = np.setdiff1d(over, bound)
            moved = after.placement.points[0] - before.placement.points[0]
            length = math.sqrt(moved @ moved)
            if over.size:
                bound = np.union1d(bound, over)
                bent = tuple(dict.fromkeys([*bent, *(self._distances.names[i] for i in over)]))
            elif length > top * (1 + 2e-3) + _TOLERANCE:
                face = before.placement.slopes(_TOOL, (moved / length)[np.newaxis])
                bend_of_way = max(length - float(face[0] @ (target - set_point.positions)), 0.0)
                faces = np.concatenate([faces, face])
                face_bounds = np.append(face_bounds, top * (1 - 1e-3) - bend_of_way)
                bent = (*bent, "tool_speed") if "tool_speed" not in bent else bent
            else:
                return target, bent
            rows = np.concatenate([-self._distances.slopes(before, bound), faces])
            bounds = np.concatenate([self._approach_in_space(before.distances[bound]) * period, face_bounds])
            step = self._solve(self._hessian, wanted, rows, bounds, lower * period, upper * period)
            if step is None:
                break
            target = set_point.positions + step
        if "tool_speed" in bent:
            step = self._brake_tool(before, set_point, bound, lower, upper)
            return (None if step is None else set_point.positions + step), bent
        return None, bent

    def _too_fast(self, before: Sight, after: Sight) -> np.ndarray:
        """Indices of the distances that shrink faster from one sight to the other than may be."""
        shrunk = before.distances - after.distances
        if self._braking_way(float(np.maximum.reduce(shrunk)) / self._period) <= before.least:
            return _NONE
        speeds = np.maximum(shrunk / self._period, 0.0)
        return np.flatnonzero(self._braking_way(speeds) > np.maximum(before.distances, _SKIN))

    def _approach_in_space(self, distances: np.ndarray) -> np.ndarray:
        """Largest speed [m/s] towards something at `distances` [m] that braking still ends before it."""
        deceleration, delay = self._limits.approach_deceleration, self._delay
        room = np.maximum(distances - _SKIN, 0.0)
        return deceleration * (np.sqrt(delay * delay + (2.0 / deceleration) * room) - delay)

    def _braking_way(self, speeds: np.ndarray | float) -> np.ndarray | float:
        """Distance [m] that these speeds [m/s] may be approached at: the inverse of `_approach_in_space`."""
        return _SKIN + speeds * (speeds / (2.0 * self._limits.approach_deceleration) + self._delay)

    def _brake_tool(
        self, before: Sight, set_point: SetPoint, bound: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray | None:
        """Step with the slowest tool that the joints can make now; None where that is no slower than it is already.

        For a tool that is above a speed limit which has just been lowered.
        """
        period = self._period
        jacobian = before.placement.slopes(np.zeros(3, dtype=int), np.eye(3))
        hessian = jacobian.T @ jacobian + 1e-4 * self._hessian
        rows = -self._distances.slopes(before, bound)
        allowed = self._approach_in_space(before.distances[bound]) * period
        step = self._solve(hessian, np.zeros(len(lower)), rows, allowed, lower * period, upper * period)
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
        limits, reasons = self._limits, []
        if (_either_way(wanted) > self._approach(set_point.positions) + 1e-9).any():
            reasons.append("position")
        if (np.abs(wanted) > limits.velocity * scale + 1e-9).any():
            reasons.append("velocity")
        if (_either_way(wanted - set_point.velocities) > self._delta_velocity + 1e-9).any():
            reasons.append("acceleration")
        return tuple(reasons) or ("jerk",)
