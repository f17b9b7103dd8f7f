"""The task's expert in simulators of one's choice: demonstrations to imitate, each with physics of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario
from physai_ros.transfer.first_policy import NOISE

Draw = Callable[[], Mapping[str, float]]
"""Gives the physics of the next simulated episode, by name."""

_MOST_ATTEMPTS = 4


@dataclass(frozen=True)
class PracticeRun:
    """One episode in simulation: with which physics, and what came of it."""

    physics: dict[str, float]
    episode: Episode


class SimulatedExpert:
    """Demonstrates in the simulator of `rollout`; ids of its episodes begin with `name`.

    No two of its demonstrations have the same noise, however often it is asked.
    """

    def __init__(self, rollout: Rollout, seed: int, name: str = "demonstration") -> None:
        self._rollout, self._seed, self._name = rollout, seed, name
        self._shown = 0

    def demonstrations(self, count: int, draw: Draw, choose: Callable[[], Scenario]) -> Iterator[PracticeRun]:
        """Demonstrations that succeeded, `count` of them.

        Raises:
            RuntimeError: the expert fails far more often than it succeeds.
        """
        kept = 0
        for seed in scenario_seeds("warm_start", self._seed, _MOST_ATTEMPTS * count, self._shown):
            self._shown += 1
            scenario, values = choose(), dict(draw())
            episode = self._rollout.run(
                scenario,
                seed,
                Purpose.DEMONSTRATE,
                episode_id=f"{self._name}-{self._seed:04d}-{self._shown:05d}",
                noise=NOISE,
                physics=PhysicsParameters().with_values(values),
            )
            if episode.outcome.success:
                kept += 1
                yield PracticeRun(values, episode)
            if kept == count:
                return
        raise RuntimeError(
            f"the expert of '{self._rollout.task.name}' succeeded only {kept} times in {_MOST_ATTEMPTS * count} with "
            "these physics; narrow the randomization, or look at the task's expert"
        )
