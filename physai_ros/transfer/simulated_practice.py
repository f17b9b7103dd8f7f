"""Practice in randomized simulation: demonstrations to imitate, and how a policy fares under the same randomization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario, Task
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.publishing import publish_policy
from physai_ros.transfer.first_policy import NOISE, warm_start

Draw = Callable[[], Mapping[str, float]]
"""Gives the physics of the next simulated episode, by name."""

_MOST_ATTEMPTS = 4


@dataclass(frozen=True)
class PracticeRun:
    """One episode of a policy in simulation: with which physics, and what came of it."""

    physics: dict[str, float]
    episode: Episode


class SimulatedPractice:
    """The simulator that policies are trained in. Nothing there can break, so no safety monitor is in the loop."""

    def __init__(self, spec: RobotSpec, task: Task, registry: PolicyRegistry, seed: int) -> None:
        self.task = task
        self._registry, self._seed = registry, seed
        self._rollout = Rollout(spec, task, filtered=False)
        self._taught = self._tried = 0

    def demonstrations(self, count: int, draw: Draw, choose: Callable[[], Scenario]) -> Iterator[Episode]:
        """Successful demonstrations of the task's expert, each with physics of its own.

        Raises:
            RuntimeError: the expert fails far more often than it succeeds.
        """
        kept = 0
        for seed in scenario_seeds("warm_start", self._seed, _MOST_ATTEMPTS * count, self._taught):
            self._taught += 1
            episode = self._rollout.run(
                choose(),
                seed,
                Purpose.DEMONSTRATE,
                episode_id=f"demonstration-{self._seed:04d}-{self._taught:05d}",
                noise=NOISE,
                physics=PhysicsParameters().with_values(draw()),
            )
            if episode.outcome.success:
                kept += 1
                yield episode
            if kept == count:
                return
        raise RuntimeError(
            f"the expert of '{self.task.name}' succeeded only {kept} times in {_MOST_ATTEMPTS * count} with these "
            "physics; narrow the randomization, or look at the task's expert"
        )

    def taught(self, episodes: list[Episode], updates: int, parents: tuple[str, ...] = ()) -> str:
        """The version that imitates these demonstrations."""
        config = TrainerConfig(sampler="uniform", seed=self._seed, warm_start_updates=updates, outcome_batch=0)
        builder = TransitionBuilder(self._rollout.arm.kinematics, self.task, chunk_steps=config.chunk_steps)
        trainer = warm_start(episodes, self.task, builder, config, lambda _done, _total: None)
        return publish_policy(trainer, self.task, self._registry, parents).version

    def runs(self, version: str, count: int, draw: Draw) -> Iterator[PracticeRun]:
        """Autonomous episodes of a version, each with physics and a scenario of its own."""
        self._rollout.runtime.load(self._registry, version)
        for seed in scenario_seeds("randomized", self._seed, count, self._tried):
            self._tried += 1
            yield self.run(self.task.sample_scenario(np.random.default_rng(seed)), seed, draw())

    def run(self, scenario: Scenario, seed: int, physics: Mapping[str, float], version: str = "") -> PracticeRun:
        """One autonomous episode; of the version that was run last unless another is named."""
        if version:
            self._rollout.runtime.load(self._registry, version)
        values = dict(physics)
        arm = PhysicsParameters().with_values(values)
        return PracticeRun(values, self._rollout.run(scenario, seed, Purpose.TRAIN, physics=arm))
