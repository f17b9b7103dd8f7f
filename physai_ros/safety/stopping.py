"""Jerk-limited stops, and the proof that one stays inside the limits."""

from __future__ import annotations

import math

import numpy as np
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

from physai_ros.robot.command import StopTrajectory
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.set_point import SetPoint
from physai_ros.safety.distances import Sight
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.servo_lag import ServoLag
from physai_ros.safety.surroundings import Surroundings

_ROUNDING = 1e-9  # [m]
_SPARSE = 3  # control periods from one look to the next along the way of an arm that is late: it goes no sharp corners
_SETTLED = 4.0  # time constants after which an arm that is late has come to rest, but for 2 % of the way


def hold_trajectory(positions: np.ndarray, control_period: float) -> StopTrajectory:
    """Stop of a set-point that is at rest already: one sample."""
    return StopTrajectory(control_period, positions[np.newaxis].copy())


class StopPlanner:
    """Plans stops by ruckig (Berscheid and Kroeger, "Jerk-limited real-time trajectory generation", 2021).

    Every joint brakes as hard as it may on its own: a joint that waited for the slowest one would use up more of its
    range than `SafetyFilter` left for it.
    """

    def __init__(self, limits: SafetyLimits, control_period: float) -> None:
        count = len(limits.joint_names)
        self._period = control_period
        self._otg = Ruckig(count)
        self._input = InputParameter(count)
        self._trajectory = Trajectory(count)
        self._input.control_interface = ControlInterface.Velocity
        self._input.synchronization = Synchronization.No
        self._input.max_acceleration = limits.acceleration.tolist()
        self._input.max_jerk = limits.jerk.tolist()
        self._input.target_velocity = [0.0] * count
        self._input.target_acceleration = [0.0] * count

    def plan(self, start: SetPoint) -> StopTrajectory | None:
        """Quickest stop from `start`, sampled each control period; None where ruckig finds none."""
        if not any(start.velocities.tolist()):
            return hold_trajectory(start.positions, self._period)
        self._input.current_position = start.positions.tolist()
        self._input.current_velocity = start.velocities.tolist()
        self._input.current_acceleration = start.accelerations.tolist()
        if self._otg.calculate(self._input, self._trajectory) not in (Result.Working, Result.Finished):
            return None
        duration = self._trajectory.duration
        samples = max(math.ceil(duration / self._period - 1e-9), 1)
        instants = [*(self._period * i for i in range(1, samples)), duration]
        return StopTrajectory(self._period, np.array([self._trajectory.at_time(instant)[0] for instant in instants]))


class StopVerifier:
    """Checks the whole path of a stop against position, workspace, volumes and self-distance.

    That of the set-point against all of them, that of the arm which follows late against all but position.
    """

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics, surroundings: Surroundings | None = None) -> None:
        """With the `surroundings` of a `SafetyFilter` what one of them looked at, the other knows."""
        self._limits = limits
        self._surroundings = surroundings or Surroundings(limits, kinematics)
        self._distances = self._surroundings.distances
        period = kinematics.spec.control_period
        self._lag, self._settling = ServoLag(limits.servo_lag, period), math.ceil(_SETTLED * limits.servo_lag / period)
        self._between = np.array([name == "self_distance" for name in self._distances.names])

    def problem(
        self,
        stop: StopTrajectory,
        start: SetPoint,
        before: np.ndarray | None = None,
        measured: np.ndarray | None = None,
    ) -> str:
        """Name of what the stop from `start` breaks (`position`, or as `Distances` names it); empty for nothing.

        Where the command stands outside a limit already, at `before` (n_joints,) [rad], by default at `start`, neither
        `start` nor the stop may lead further out. With `measured` (n_joints,) [rad], where the arm is now, the arm that
        comes after both late, as `SafetyLimits.servo_lag` says, must keep all distances as well, or get no further in:
        what it breaks is called `servo_lag NAME`.
        """
        path, distances = stop.positions, self._distances
        way = np.abs(path[0] - start.positions) + np.add.reduce(np.abs(path[1:] - path[:-1]))
        # A joint that follows is between where it is and where it was to be.
        away = way if measured is None else np.maximum(np.abs(measured - start.positions), way)
        room = np.minimum(self._limits.position_upper - start.positions, start.positions - self._limits.position_lower)
        sight = self._surroundings.look(start.positions)
        # Most stops, and arms that come after them, are nearer than anything else.
        if all((way <= room).tolist()) and sight.least >= float(distances.longest.dot(away)):
            return ""
        broken = self._broken(path, start, sight, way, start.positions if before is None else before)
        if broken or measured is None:
            return broken
        late = self._broken_late(path, start, sight, away, measured)
        return f"servo_lag {late}" if late else ""

    def _broken(self, path: np.ndarray, start: SetPoint, sight: Sight, way: np.ndarray, stands: np.ndarray) -> str:
        """What the set-point breaks that goes `path`, `way` (n_joints,) [rad] long, where it `stands` now."""
        limits, distances = self._limits, self._distances
        lower = np.minimum(limits.position_lower, stands) - 1e-6
        upper = np.maximum(limits.position_upper, stands) + 1e-6
        if not ((path >= lower).all() and (path <= upper).all()):
            return "position"
        floor = _floor(self._surroundings.look(stands))  # where the filter has just looked
        if (sight.distances - distances.reach @ way >= floor).all():
            return ""
        steps = np.abs(np.diff(path, axis=0, prepend=start.positions[np.newaxis]))
        return self._along(path, np.cumsum(steps, axis=0), sight, floor)

    def _broken_late(
        self, path: np.ndarray, start: SetPoint, sight: Sight, away: np.ndarray, measured: np.ndarray
    ) -> str:
        """What the arm breaks that follows late, and is at most `away` (n_joints,) [rad] from `start` meanwhile."""
        distances = self._distances
        if (sight.distances - distances.reach @ away >= 0.0).all():
            return ""
        stood = distances.look(measured)
        rest = np.repeat(path[-1:], self._settling, axis=0)
        late = self._lag.path(np.concatenate([start.positions[np.newaxis], path, rest]), measured)
        late = late[::-_SPARSE][::-1]
        steps = np.abs(np.diff(late, axis=0, prepend=measured[np.newaxis]))
        return self._along(late, np.cumsum(steps, axis=0), stood, _floor(stood))

    def clearance(self, positions: np.ndarray) -> tuple[float, float]:
        """Least distance [m] to what is around, and of links to each other less the margin."""
        distances = self._surroundings.look(positions).distances
        return float(distances[~self._between].min()), float(distances[self._between].min(initial=np.inf))

    def _along(self, path: np.ndarray, ways: np.ndarray, start: Sight, floor: np.ndarray | float) -> str:
        """What the path breaks, looked at where it could: a stretch between two looks is halved until it cannot."""
        distances = self._distances
        stretches = [(-1, start, len(path) - 1, distances.look(path[-1]))]
        while stretches:
            first, left, last, right = stretches.pop()
            for sight in (left, right):
                if (sight.distances < floor).any():
                    return distances.names[int(np.argmin(sight.distances - floor))]
            way = ways[last] - (ways[first] if first >= 0 else 0.0)
            # A point on the way is as far from both ends together as the way is long.
            if last - first < 2 or (left.distances + right.distances - distances.reach @ way >= 2.0 * floor).all():
                continue
            middle = (first + last) // 2
            sight = distances.look(path[middle])
            stretches += [(first, left, middle, sight), (middle, sight, last, right)]
        return ""


def _floor(stood: Sight) -> np.ndarray | float:
    """What distances may not fall below: nothing, or where it is inside already, how deep it is."""
    return np.minimum(stood.distances, 0.0) - _ROUNDING if stood.least < 0.0 else 0.0
