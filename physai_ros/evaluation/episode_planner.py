"""Which episode comes next: its start state from the purpose's own stream, its version from the registry."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from physai_ros.curriculum.selector import ScenarioSelector
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import EpisodeContext, Purpose
from physai_ros.policy.activation import read_activation
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario, Task

_SETS = {Purpose.TRAIN: "train", Purpose.EVALUATE: "nominal", Purpose.DEMONSTRATE: "warm_start"}


class EpisodePlanner:
    """Plans episodes of one robot; `task` is run where a request names none.

    Raises:
        ValueError: there is no such task.
    """

    def __init__(
        self,
        task: str,
        robot: str,
        registry: Path,
        *,
        seed: int = 0,
        first_episode: int = 0,
        curriculum: str = "uniform",
    ) -> None:
        self._task = task
        self._robot = robot
        self._registry = registry
        self._seed = seed
        self._next = dict.fromkeys(Purpose, first_episode)
        self._tasks = {task: load_task(task)}
        # The next start state is drawn from the seed itself where every one is as good as another.
        self._selector = None
        if curriculum != "uniform":
            generator = np.random.default_rng([seed, 0xC0])
            self._selector = ScenarioSelector(self._tasks[task].scenario_bounds, generator, curriculum)

    def task(self, name: str) -> Task:
        """A task by name; raises ValueError where there is none."""
        name = name or self._task
        if name not in self._tasks:
            self._tasks[name] = load_task(name)
        return self._tasks[name]

    def plan(
        self, purpose: Purpose, *, task: str = "", scenario_json: str = "", seed: int = 0, policy_version: str = ""
    ) -> EpisodeContext:
        """Context of the next episode; what is left empty is chosen here.

        Raises:
            ValueError: task or scenario is none, or the registry's `CURRENT` cannot be read.
        """
        chosen = self.task(task)
        if not policy_version and purpose != Purpose.DEMONSTRATE:
            policy_version = read_activation(self._registry).version
        if not seed:
            (seed,) = scenario_seeds(_SETS[purpose], self._seed, 1, self._next[purpose])
        if scenario_json:
            scenario = Scenario.from_json(scenario_json)
        elif self._selector is not None and purpose == Purpose.TRAIN and chosen is self._tasks[self._task]:
            scenario = chosen.scenario(self._selector.next())
        else:
            scenario = scenario_of(chosen, seed)
        self._next[purpose] += 1
        return EpisodeContext(
            episode_id=_episode_id(),
            purpose=purpose,
            task=task or self._task,
            instruction=chosen.instruction,
            goal=tuple(scenario.goal),
            scenario_json=scenario.to_json(),
            seed=seed,
            policy_version=policy_version,
            robot=self._robot,
        )

    def report(self, context: EpisodeContext, success: bool, interventions: int) -> None:
        """Let the curriculum know how an episode of its task went."""
        if self._selector is not None and context.purpose == Purpose.TRAIN and context.task == self._task:
            self._selector.report(Scenario.from_json(context.scenario_json).parameters, success, interventions)


def _episode_id() -> str:
    """Unique, and sorted by the instant of its making."""
    instant = datetime.now(timezone.utc)
    return f"{instant:%Y%m%dT%H%M%S}{instant.microsecond:06d}_{secrets.token_hex(2)}"
