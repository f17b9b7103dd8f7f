"""The sim-to-real loop: simulate, train, a few real episodes, learn from them what to simulate, and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physai_ros.curriculum.selector import ScenarioSelector
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario, Task
from physai_ros.transfer.adaptation import METHODS, Adaptation
from physai_ros.transfer.fitted_physics import FittedPhysics
from physai_ros.transfer.reality import Reality
from physai_ros.transfer.simulated_practice import SimulatedPractice


@dataclass(frozen=True)
class Sim2RealConfig:
    """How much is done in each round.

    Attributes:
        demonstrations: simulated, to train each policy on; every round trains a fresh policy on fresh ones.
        updates: gradient steps of each policy.
        milestones: real episodes after which randomization is adapted and a policy trained.
        enough: the loop stops when the newest real batch of at least `enough_of` episodes succeeded to this share.
        enough_of: so many.
    """

    demonstrations: int = 100
    updates: int = 3000
    milestones: tuple[int, ...] = (10, 25, 50)
    enough: float = 0.9
    enough_of: int = 15

    def batches(self, budget: int) -> list[int]:
        """Real episodes of each round, `budget` in all."""
        ends = [*[end for end in self.milestones if end < budget], budget]
        return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


@dataclass
class Sim2RealResult:
    """What came of the loop.

    Attributes:
        first: version that was trained in the nominal simulator.
        versions: real episodes -> version that was trained after them; the last is the result.
        real_successes: of every real episode in turn, on the arm.
        fits: one a round, where the method fits.
        stopped_early: whether the real episodes went so well that the rest of the budget was left.
    """

    first: str
    versions: dict[int, str] = field(default_factory=dict)
    real_successes: list[bool] = field(default_factory=list)
    fits: list[FittedPhysics] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def final(self) -> str:
        """The version to drive with."""
        return self.versions[max(self.versions)] if self.versions else self.first


class AdaptiveSim2RealTrainer:
    """Trains in simulation, listens to an arm, and changes what is simulated by what it heard.

    The policy is always trained in the simulator, from the scripted expert's demonstrations; real episodes are its own
    autonomous runs, without an operator. With scenario significance the demonstrations of later rounds start more often
    where real episodes failed.
    """

    def __init__(
        self,
        spec: RobotSpec,
        task: Task,
        registry: PolicyRegistry,
        reality: Reality,
        adaptation: Adaptation,
        practice: SimulatedPractice,
        config: Sim2RealConfig,
        seed: int,
    ) -> None:
        self.task, self.registry, self.adaptation = task, registry, adaptation
        self.config = config
        self._reality, self._practice, self._seed = reality, practice, seed
        generator = np.random.default_rng([seed, 0x52])
        self._scenarios = ScenarioSelector(task.scenario_bounds, generator, "failure")
        self._uniform = np.random.default_rng([seed, 0x53])

    def first_policy(self) -> str:
        """The version that a nominal simulator teaches."""
        episodes = list(self._practice.demonstrations(self.config.demonstrations, dict, self._uniform_scenario))
        return self._practice.taught(episodes, self.config.updates)

    def run(
        self, budget: int, first: str | None = None, on_event: Callable[[str], None] = lambda text: None
    ) -> Sim2RealResult:
        """The result after at most `budget` real episodes, beginning with the version `first`.

        `on_event` is told in words what was done.

        Raises:
            ValueError: a budget below zero.
        """
        if budget < 0:
            raise ValueError(f"{budget} real episodes; expected 0 or more")
        result = Sim2RealResult(first or self.first_policy())
        on_event(f"version {result.first} was trained in the nominal simulator")
        if not self.adaptation.method.listens:
            if self.adaptation.method.randomizes:
                result.versions[0] = self._teach(result.first, on_event)
            return result
        recordings: list[Episode] = []
        for batch in self.config.batches(budget) if budget else []:
            before = result.final
            recordings += self._real_episodes(before, len(recordings), batch)
            newest = [episode.outcome.success for episode in recordings[-batch:]]
            result.real_successes += newest
            on_event(f"{sum(newest)} of {batch} real episodes of version {before} succeeded")
            if batch >= self.config.enough_of and np.mean(newest) >= self.config.enough:
                result.versions[len(recordings)] = before
                result.stopped_early = True
                on_event("that is enough: the rest of the budget is left")
                break
            fitted = self.adaptation.listen(recordings, batch, before)
            if fitted is not None:
                result.fits.append(fitted)
                told = ", ".join(name for name in fitted.names if name not in fitted.unidentified)
                on_event(
                    f"the recordings tell {told or 'nothing'}; gap {fitted.gap_before:.2f} to {fitted.gap_after:.2f}"
                )
            result.versions[len(recordings)] = self._teach(before, on_event)
        return result

    def _teach(self, parent: str, on_event: Callable[[str], None]) -> str:
        draw = self.adaptation.draw
        episodes = list(self._practice.demonstrations(self.config.demonstrations, draw, self._chosen_scenario))
        version = self._practice.taught(episodes, self.config.updates, (parent,))
        self.adaptation.taught(version)
        on_event(f"version {version} was trained in the randomized simulator")
        return version

    def _real_episodes(self, version: str, done: int, count: int) -> list[Episode]:
        episodes = []
        for index, seed in enumerate(scenario_seeds("train", self._seed, count, done)):
            episode = self._reality.run(version, seed, f"real-{self._seed:04d}-{done + index:05d}")
            self._scenarios.report(scenario_of(self.task, seed).parameters, episode.outcome.success)
            episodes.append(episode)
        return episodes

    def _uniform_scenario(self) -> Scenario:
        return self.task.sample_scenario(self._uniform)

    def _chosen_scenario(self) -> Scenario:
        return self.task.scenario(self._scenarios.next())


def create_adaptive_sim2real_trainer(
    task: str,
    reality: Reality,
    registry: PolicyRegistry,
    *,
    method: str = "adaptive",
    robot: str = "fr3_sim",
    config: Sim2RealConfig | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> AdaptiveSim2RealTrainer:
    """The loop for a task and an arm, with everything that it needs.

    Args:
        task: by name.
        reality: the arm; `TwinReality` for tests.
        registry: where policies are kept; `reality` must read the same.
        method: one of `METHODS`.
        robot: configuration, by name or path.
        config: how much is done in each round.
        options: of `Adaptation`, by name.
        seed: of scenarios, randomization and training.

    Raises:
        ValueError: an unknown task or method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method '{method}'; known are: {', '.join(METHODS)}")
    spec, loaded = RobotSpec.load(robot), load_task(task)
    practice = SimulatedPractice(spec, loaded, registry, seed)
    adaptation = Adaptation(METHODS[method], spec, loaded, practice, seed=seed, **(options or {}))
    return AdaptiveSim2RealTrainer(
        spec, loaded, registry, reality, adaptation, practice, config or Sim2RealConfig(), seed
    )
