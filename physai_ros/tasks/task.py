"""What a task is. A user adds one by subclassing `Task` in a file of their own and naming it in the configuration."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from physai_ros.robot.state import RobotState

FAILURE_MODES = (
    "none",
    "collision",
    "drop",
    "timeout",
    "unstable_grasp",
    "planning_failure",
    "safety_stop",
    "operator_abort",
    "unknown",
)


@dataclass(frozen=True)
class ObjectSpec:
    """A rigid object of a task's scene: a box of full `size` (3,) [m] and `mass` [kg]; `rgba` for pictures."""

    name: str
    size: tuple[float, float, float]
    mass: float
    rgba: tuple[float, float, float, float]
    fixed: bool = False


@dataclass(frozen=True)
class Scenario:
    """A start state: `object_poses` name -> (7,) position [m] and quaternion wxyz in the base frame, `goal` (k,).

    `parameters` are the numbers that the scenario was drawn from, in the order of `Task.scenario_bounds`; the
    curriculum works on them.
    """

    parameters: dict[str, float]
    object_poses: dict[str, tuple[float, ...]]
    goal: tuple[float, ...]
    home_positions: tuple[float, ...] | None = None

    def to_json(self) -> str:
        """One JSON object; `from_json` gives the same scenario back."""
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is no scenario.
        """
        try:
            data = json.loads(text)
            return cls(
                parameters={str(k): float(v) for k, v in data["parameters"].items()},
                object_poses={str(k): tuple(map(float, v)) for k, v in data["object_poses"].items()},
                goal=tuple(map(float, data["goal"])),
                home_positions=None
                if data.get("home_positions") is None
                else tuple(map(float, data["home_positions"])),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"not a scenario: {text[:120]!r}; expected a JSON object with parameters, object_poses and goal"
            ) from error


@dataclass
class Outcome:
    """Verdict of a task's test at one instant; fields as in TaskOutcome.msg."""

    done: bool = False
    success: bool = False
    reward: float = 0.0
    failure_mode: str = "none"
    stage: str = ""
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskAction:
    """A decision for one policy step: `ee_delta` (6,) [m, rad] in the base frame and `gripper` in -1 ... 1."""

    ee_delta: np.ndarray
    gripper: float


class Task(ABC):
    """A goal for the arm: scenario, success test, failure evidence, scripted expert. No physics and no ROS.

    Attributes:
        name: how it is called in commands and messages; of one's own task, that by which `load_task` finds it.
        instruction: the task in words.
        objects: rigid objects of the scene.
        action_axes: components of `ee_delta` that the policy controls, a subset of (0, ..., 5).
        action_scale: largest displacement a policy step of each of these axes [m or rad].
        time_limit: time after which an episode has failed [s].
        force_budget: tool force that the task allows [N].
        delicate: whether a demonstrator is disturbed, and a policy tries something else, in proportion to what it does,
            since it could not finish else.
    """

    name: str
    instruction: str
    objects: tuple[ObjectSpec, ...] = ()
    action_axes: tuple[int, ...] = (0, 1, 2, 5)
    action_scale: tuple[float, ...] = (0.025, 0.025, 0.025, 0.12)
    time_limit: float = 12.0
    force_budget: float = 40.0
    delicate: bool = False

    @property
    @abstractmethod
    def scenario_bounds(self) -> dict[str, tuple[float, float]]:
        """Lower and upper bound of every scenario parameter."""

    @abstractmethod
    def scenario(self, parameters: dict[str, float]) -> Scenario:
        """The scenario of these parameters."""

    def sample_scenario(self, generator: np.random.Generator) -> Scenario:
        """A scenario drawn uniformly from the bounds."""
        return self.scenario(
            {k: float(generator.uniform(low, high)) for k, (low, high) in self.scenario_bounds.items()}
        )

    @abstractmethod
    def features(self, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """What the policy sees of the task in one state: (n,) relative poses [m, rad], fixed length for a task."""

    def remaining(self, state: RobotState, goal: np.ndarray) -> float:
        """Path that is left until the task is solved [m], zero when it is; NaN where the task cannot tell."""
        return float("nan")

    def achieved_goal(self, state: RobotState) -> np.ndarray | None:
        """The goal (k,) that would be achieved in this state, None where there is none; then hindsight has no say."""
        return None

    def mishap(self, state: RobotState, goal: np.ndarray) -> str:
        """What a bystander sees go wrong in this state, in one word; empty while nothing does."""
        return ""

    @abstractmethod
    def test(self) -> TaskTest:
        """A fresh success test for one episode."""

    @abstractmethod
    def expert(self, generator: np.random.Generator) -> Expert:
        """A fresh scripted expert for one episode."""


class TaskTest(ABC):
    """Judges one episode, state by state. States carry true object poses in simulation, perceived ones on an arm."""

    @abstractmethod
    def update(self, state: RobotState, elapsed: float, goal: np.ndarray) -> Outcome:
        """Outcome after one more state, `elapsed` [s] into the episode; once done it stays as it is."""


class Expert(ABC):
    """Solves one episode, closed loop, one decision a policy step."""

    @abstractmethod
    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """Next decision, given the state and the commanded tool pose (position (3,), rotation (3, 3))."""
