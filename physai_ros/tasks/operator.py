"""A scripted operator: watches a policy as a person would, and takes over when it is plainly going wrong."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Task, TaskAction


class ScriptedOperator:
    """Takes over from a policy that is stuck, lost something or runs out of time; then drives with the task's expert.

    An operator sees the scene with their own eyes: give it states with true object poses. It does not know what the
    policy means to do. What it notices, it must see for a while (`reaction_time`) before the hand is on the switch;
    once it drives, it drives to the end of the episode. Patience and reaction differ from episode to episode.

    Attributes:
        reason: why it took over: `stuck`, `setback`, `time` or the task's word for a mishap; empty while it watches.
    """

    PROGRESS = 0.01  # [m] less than this nearer is no progress
    SETBACK = 0.06  # [m] further from the end than it was: dropped or pushed away
    SPEED = 0.07  # [m/s] at which an operator expects to cover what remains, fetching and letting go included

    def __init__(
        self,
        task: Task,
        generator: np.random.Generator,
        *,
        patience: tuple[float, float] = (1.0, 2.0),
        reaction_time: tuple[float, float] = (0.3, 0.7),
    ) -> None:
        self._task = task
        self._expert = task.expert(generator)
        self._patience = float(generator.uniform(*patience))
        self._reaction = float(generator.uniform(*reaction_time))
        self._best = float("inf")
        self._best_at = 0.0
        self._noticed_at: float | None = None
        self.reason = ""

    @property
    def driving(self) -> bool:
        """Whether the operator has taken over."""
        return bool(self.reason)

    @property
    def name(self) -> str:
        """Who is in control, as recorded with an intervention."""
        return "scripted_operator"

    def observe(
        self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], elapsed: float, goal: np.ndarray
    ) -> TaskAction | None:
        """The operator's action for this policy step, or None while the policy is left in control.

        `elapsed` is the time since the episode's start [s]; `commanded_pose` the commanded tool pose (position (3,),
        rotation (3, 3)) that an action displaces.
        """
        if not self.driving:
            cause = self._concern(state, elapsed, goal)
            if not cause:
                self._noticed_at = None
                return None
            self._noticed_at = elapsed if self._noticed_at is None else self._noticed_at
            if elapsed - self._noticed_at < self._reaction:
                return None
            self.reason = cause
        return self._expert.act(state, commanded_pose, goal)

    def _concern(self, state: RobotState, elapsed: float, goal: np.ndarray) -> str:
        """What is going wrong in this state, in one word; empty if nothing is."""
        mishap = self._task.mishap(state, goal)
        if mishap:
            return mishap
        remaining = self._task.remaining(state, goal)
        if remaining == 0.0:
            self._best, self._best_at = 0.0, elapsed
            return ""
        if np.isfinite(remaining):
            if remaining < self._best - self.PROGRESS:
                self._best, self._best_at = remaining, elapsed
            if remaining > self._best + self.SETBACK:
                return "setback"
            if elapsed - self._best_at > self._patience:
                return "stuck"
        needed = remaining / self.SPEED if np.isfinite(remaining) else 0.4 * self._task.time_limit
        # Never before half of the time is gone: early on everyone is far from the end.
        if elapsed > 0.5 * self._task.time_limit and elapsed + needed + self._reaction > self._task.time_limit:
            return "time"
        return ""
