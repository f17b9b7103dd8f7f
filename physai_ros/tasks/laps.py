"""Task `laps`: go round and round, fast. For fault injection and benches, not for learning: it is never at rest.

Named as `physai_ros.tasks.laps:Laps`. What its policy sees is what its expert does, so that a few demonstrations are
enough for a policy that is as fast as they were, wherever it comes from and however fast it goes.
"""

from __future__ import annotations

import numpy as np

from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Expert, ObjectSpec, Outcome, Scenario, Task, TaskAction, TaskTest

HEIGHT = 0.35  # [m] of the laps above the base frame
_STEP = 0.11  # [m] of the lap a policy step of 0.1 s: beyond the largest speed of the tool, so that it is kept


class Laps(Task):
    """Carry the tool round a post on the table until the laps are done."""

    name = "laps"
    instruction = "go round the post until the laps are done"
    objects = (ObjectSpec("post", (0.04, 0.04, 0.04), 0.5, (0.2, 0.5, 0.9, 1.0), fixed=True),)
    action_axes = (0, 1, 2)
    action_scale = (0.12, 0.12, 0.12)
    time_limit = 230.0
    force_budget = 40.0
    laps = 82

    @property
    def scenario_bounds(self) -> dict[str, tuple[float, float]]:
        """Radius that laps aim at [m]; they are a third wider, since a tool in motion is behind what it is told."""
        return {"radius": (0.17, 0.19)}

    def scenario(self, parameters: dict[str, float]) -> Scenario:
        """The scenario of these parameters."""
        if set(parameters) != set(self.scenario_bounds):
            expected = ", ".join(self.scenario_bounds)
            raise ValueError(f"parameters are {', '.join(sorted(parameters))}; {self.name} takes {expected}")
        post = (0.45, 0.0, 0.02, 1.0, 0.0, 0.0, 0.0)
        goal = (post[0], post[1], HEIGHT, float(parameters["radius"]))
        return Scenario(parameters=dict(parameters), object_poses={"post": post}, goal=goal)

    def features(self, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """(6,): next step of the lap in shares of the largest, and tool to the post [m]."""
        tool = np.asarray(state.ee_position)
        post = np.asarray(state.object_poses["post"])[:3]
        return np.concatenate([self.step(tool, post, goal) / self.action_scale, post - tool])

    def step(self, tool: np.ndarray, post: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Displacement (3,) [m] along the lap round `post` (3,) from where the tool (3,) is, for one policy step."""
        out = tool[:2] - post[:2]
        radius = float(goal[3])
        angle = np.arctan2(out[1], out[0]) + _STEP / radius
        ahead = np.array([*(post[:2] + radius * np.array([np.cos(angle), np.sin(angle)])), goal[2]])
        step = ahead - tool
        return step * min(1.0, _STEP / max(float(np.linalg.norm(step)), 1e-9))

    def test(self) -> TaskTest:
        """A fresh success test."""
        return LapsTest(self)

    def expert(self, generator: np.random.Generator) -> Expert:
        """A fresh scripted expert."""
        return LapsExpert(self)


class LapsTest(TaskTest):
    """Success: so many times round the post within the time limit."""

    def __init__(self, task: Laps) -> None:
        self._task = task
        self._outcome = Outcome(stage="laps")
        self._angle: float | None = None
        self._turned = 0.0

    def update(self, state: RobotState, elapsed: float, goal: np.ndarray) -> Outcome:
        """Outcome after one more state."""
        if self._outcome.done:
            return self._outcome
        out = np.asarray(state.ee_position)[:2] - np.asarray(state.object_poses["post"])[:2]
        angle = float(np.arctan2(out[1], out[0]))
        if self._angle is not None:
            self._turned += float((angle - self._angle + np.pi) % (2 * np.pi) - np.pi)
        self._angle = angle
        evidence = {"laps": self._turned / (2 * np.pi), "elapsed": elapsed}
        if evidence["laps"] >= self._task.laps:
            self._outcome = Outcome(True, True, 1.0, "none", "done", evidence)
        elif elapsed >= self._task.time_limit:
            self._outcome = Outcome(True, False, 0.0, "timeout", "laps", evidence)
        else:
            self._outcome = Outcome(stage="laps", evidence=evidence)
        return self._outcome


class LapsExpert(Expert):
    """Goes on along the lap from where the tool is.

    From where it was commanded to, ahead of that, a step would depend on the speed, and a policy that imitates it and
    was once slowed down would stay slow.
    """

    def __init__(self, task: Laps) -> None:
        self._task = task

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """Next decision."""
        post = np.asarray(state.object_poses["post"])[:3]
        step = self._task.step(np.asarray(state.ee_position), post, goal)
        return TaskAction(np.array([*step, 0.0, 0.0, 0.0]), 1.0)
