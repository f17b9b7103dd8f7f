"""From end-effector displacements, one a policy step, to absolute joint references, one a control cycle."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from physai_ros.robot.following import ReferenceFollower
from physai_ros.robot.kinematics import Kinematics, ToolPose
from physai_ros.robot.rotation import rotation_from_vector, vector_from_rotation
from physai_ros.robot.set_point import SetPoint

CYCLES_PER_STEP = 10
"""Control cycles in a policy step."""

_LEASH = 0.05  # [m] by which a commanded pose may lead the set-point
_ON_THE_WAY = 10  # references that may still be on their way to the driver and back
_LATE = 3.0  # steps that a set-point may differ where references come late: safety carries on those that are missing


def leash_for(action_axes: Sequence[int], action_scale: Sequence[float]) -> float:
    """Leash [m] that a task needs, given its largest displacements a policy step: longer than one such step."""
    steps = [scale for axis, scale in zip(action_axes, action_scale, strict=True) if axis < 3]
    return max([_LEASH, *(1.5 * step for step in steps)])


class CartesianReference:
    """Integrates `ee_delta` on a commanded pose and plays it as joint references that the joints can follow.

    The displacement is added to the pose that was *commanded*, not to the one measured, so that delay and tracking
    error do not eat it. The commanded pose is kept within `leash` of the pose that the driver holds as its set-point:
    where the safety monitor holds the arm back, the reference does not run away from it.

    A displacement played at steady speed would step in speed at every border of policy steps, beyond what joints can
    accelerate. `ReferenceFollower` smooths that here, so that the references keep the arm's velocity and acceleration
    limits and the safety monitor need not alter them.
    """

    def __init__(self, kinematics: Kinematics, cycles_per_step: int, leash: float = _LEASH) -> None:
        spec = kinematics.spec
        self._kinematics = kinematics
        self._cycles = cycles_per_step
        self._leash = leash
        self._period = spec.control_period
        self._fastest = spec.velocity_limits
        self._faster = spec.acceleration_limits * spec.control_period
        self._follower = ReferenceFollower(spec.acceleration_limits, spec.control_period)
        self._played: deque[np.ndarray] = deque(maxlen=_ON_THE_WAY)
        self._left = 0

    def reset(self, commanded_positions: np.ndarray) -> None:
        """Start from a set-point (n_joints,) [rad]."""
        self._set = SetPoint.at_rest(commanded_positions)
        self._aim = self._held = self._set.positions
        self._start = self._goal = self._kinematics.tool_pose(self._aim)
        self._left = 0
        self._follower.reset()
        self._played.clear()
        self._played.append(self._aim)
        self._age = 0

    def begin_step(self, ee_delta: np.ndarray, cycles: int | None = None) -> None:
        """Aim at the commanded pose displaced by `ee_delta` (6,): translation [m] and rotation vector [rad], base.

        It is reached in `cycles` control cycles; None: those of a policy step.
        """
        goal = self._goal
        self._start = goal
        self._goal = ToolPose(goal.position + ee_delta[:3], rotation_from_vector(ee_delta[3:]) @ goal.rotation)
        self._turn = vector_from_rotation(self._goal.rotation @ self._start.rotation.T)
        self._left = self._over = self._cycles if cycles is None else cycles

    def advance(self, commanded_positions: np.ndarray) -> np.ndarray:
        """Joint reference (n_joints,) [rad] of the next cycle, given the set-point that is in force."""
        self._rein_in(commanded_positions)
        self._agree_with(commanded_positions)
        if self._left:
            self._left -= 1
            share = 1.0 - self._left / self._over
            target = ToolPose(
                self._start.position + share * (self._goal.position - self._start.position),
                rotation_from_vector(share * self._turn) @ self._start.rotation,
            )
        else:
            target = self._goal
        self._aim = self._kinematics.step_towards(self._aim, target)
        now, period = self._set, self._period
        wanted = self._follower.target(self._aim, now)
        slowest = np.maximum(now.velocities - self._faster, -self._fastest)
        quickest = np.minimum(now.velocities + self._faster, self._fastest)
        velocities = (wanted - now.positions) / period
        if not all(((velocities >= slowest) & (velocities <= quickest)).tolist()):
            wanted = now.positions + np.minimum(np.maximum(velocities, slowest), quickest) * period
        self._set = now.followed_by(wanted, period)
        self._played.append(wanted)
        return wanted.copy()

    @property
    def positions(self) -> np.ndarray:
        """The last joint reference (n_joints,) [rad]."""
        return self._set.positions.copy()

    @property
    def commanded_pose(self) -> ToolPose:
        """The pose that the displacements were integrated to."""
        return self._goal

    def _agree_with(self, commanded: np.ndarray) -> None:
        """Go on from the set-point in force where it is none of the references that were played.

        What comes back is as old as the way to the driver is long: one cycle in lock-step, some cycles where everything
        runs at its own rate. There the difference to what was played that long ago is what moves the reference; going
        on from the old set-point itself would take back every cycle what was played since, and the arm would crawl.
        """
        before, self._held = self._held, np.array(commanded, dtype=float)
        differences, distances = [], []
        for age, played in enumerate(reversed(self._played)):
            differences.append(self._held - played)
            distances.append(max(np.abs(differences[-1]).tolist()))
            if distances[-1] < 1e-9:
                self._age = age
                return
        step = float(np.abs(self._set.velocities).max()) * self._period
        if self._age and min(distances) <= _LATE * step:
            return
        difference = differences[min(self._age, len(differences) - 1)]
        self._played = deque((played + difference for played in self._played), maxlen=_ON_THE_WAY)
        velocities = np.clip((self._held - before) / self._period, -self._fastest, self._fastest)
        self._set = SetPoint(self._set.positions + difference, velocities, np.zeros(velocities.shape))

    def _rein_in(self, commanded_positions: np.ndarray) -> None:
        held = self._kinematics.tool_pose(commanded_positions).position
        lead = self._goal.position - held
        distance = math.hypot(*lead)
        if distance > self._leash:
            correction = (self._leash / distance - 1.0) * lead
            self._goal = ToolPose(self._goal.position + correction, self._goal.rotation)
            self._start = ToolPose(self._start.position + correction, self._start.rotation)
