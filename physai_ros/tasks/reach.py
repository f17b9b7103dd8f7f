"""Task `reach`: bring the tool to a goal and hold it there."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Expert, Outcome, Scenario, Task, TaskAction, TaskTest

TOLERANCE = 0.02  # [m]
FINE = 0.02  # [m] scale of the fine features


class Reach(Task):
    """Bring the tool within 2 cm of the goal and hold it there for 0.3 s."""

    name = "reach"
    instruction = "bring the tool to the goal and hold it there"
    action_axes = (0, 1, 2)
    action_scale = (0.025, 0.025, 0.025)
    time_limit = 6.0
    force_budget = 20.0

    @property
    def scenario_bounds(self) -> dict[str, tuple[float, float]]:
        """Where the goal may lie in the base frame [m]."""
        return {"goal_x": (0.35, 0.60), "goal_y": (-0.25, 0.25), "goal_z": (0.10, 0.45)}

    def scenario(self, parameters: dict[str, float]) -> Scenario:
        """The scenario of these parameters."""
        if set(parameters) != set(self.scenario_bounds):
            expected = ", ".join(self.scenario_bounds)
            raise ValueError(f"parameters are {', '.join(sorted(parameters))}; {self.name} takes {expected}")
        goal = tuple(float(parameters[name]) for name in ("goal_x", "goal_y", "goal_z"))
        return Scenario(parameters=dict(parameters), object_poses={}, goal=goal)

    def features(self, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """(6,): goal to tool, coarse [m] and fine [1]."""
        relative = goal - state.ee_position
        return np.concatenate([relative, np.tanh(relative / FINE)])

    def remaining(self, state: RobotState, goal: np.ndarray) -> float:
        """Distance from tool to goal [m], zero within tolerance."""
        distance = float(np.linalg.norm(goal - state.ee_position))
        return distance if distance > TOLERANCE else 0.0

    def achieved_goal(self, state: RobotState) -> np.ndarray:
        """Where the tool is (3,) [m]."""
        return np.array(state.ee_position, dtype=float)

    def test(self) -> TaskTest:
        """A fresh success test."""
        return ReachTest(self)

    def expert(self, generator: np.random.Generator) -> Expert:
        """A fresh scripted expert."""
        return ReachExpert(self)


class ReachTest(TaskTest):
    """Success: within tolerance of the goal for 0.3 s without a break."""

    HOLD = 0.3  # [s]
    CONTACT = 0.05  # [s] above the force budget until it is a collision

    def __init__(self, task: Reach) -> None:
        self._task = task
        self._outcome = Outcome(stage="reach")
        self._inside_since: float | None = None
        self._over_since: float | None = None
        self._nearest = float("inf")
        self._peak_force = 0.0

    def update(self, state: RobotState, elapsed: float, goal: np.ndarray) -> Outcome:
        """Outcome after one more state."""
        if self._outcome.done:
            return self._outcome
        distance = float(np.linalg.norm(goal - state.ee_position))
        force = float(np.linalg.norm(state.wrench[:3]))
        self._nearest = min(self._nearest, distance)
        self._peak_force = max(self._peak_force, force)
        self._inside_since = _since(self._inside_since, distance < TOLERANCE, elapsed)
        self._over_since = _since(self._over_since, force > self._task.force_budget, elapsed)
        evidence = {
            "distance_to_goal": distance,
            "nearest": self._nearest,
            "peak_force": self._peak_force,
            "elapsed": elapsed,
        }
        stage = "reach" if self._inside_since is None else "hold"
        if self._inside_since is not None and elapsed - self._inside_since >= self.HOLD - 1e-9:
            self._outcome = Outcome(True, True, 1.0, "none", "held", evidence)
        elif self._over_since is not None and elapsed - self._over_since >= self.CONTACT - 1e-9:
            self._outcome = Outcome(True, False, 0.0, "collision", stage, evidence)
        elif elapsed >= self._task.time_limit:
            self._outcome = Outcome(True, False, 0.0, "timeout", stage, evidence)
        else:
            self._outcome = Outcome(stage=stage, evidence=evidence)
        return self._outcome


class ReachExpert(Expert):
    """Goes straight to the goal, and makes good what the arm falls short of what was commanded."""

    def __init__(self, task: Reach) -> None:
        self._scale = np.array(task.action_scale)

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """Next decision."""
        step = goal - np.asarray(commanded_pose[0])
        return TaskAction(np.array([*np.clip(step, -self._scale, self._scale), 0.0, 0.0, 0.0]), 1.0)


def _since(start: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if start is None else start
