"""Practice in randomized simulation: demonstrations to imitate, and how a policy fares under the same randomization."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

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
from physai_ros.transfer.first_policy import warm_start
from physai_ros.transfer.simulated_expert import Draw, PracticeRun, SimulatedExpert


class SimulatedPractice:
    """The simulator that policies are trained in. Nothing there can break, so no safety monitor is in the loop."""

    def __init__(self, spec: RobotSpec, task: Task, registry: PolicyRegistry, seed: int) -> None:
        self.task = task
        self._registry, self._seed = registry, seed
        self._rollout = Rollout(spec, task, filtered=False)
        self._expert = SimulatedExpert(self._rollout, seed)
        self._tried = 0

    def demonstrations(self, count: int, draw: Draw, choose: Callable[[], Scenario]) -> Iterator[Episode]:
        """Successful demonstrations of the task's expert, each with physics of its own.

        Raises:
            RuntimeError: the expert fails far more often than it succeeds.
        """
        return (run.episode for run in self._expert.demonstrations(count, draw, choose))

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
