"""How a method changes randomization by what it heard from the arm: one interface for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Task
from physai_ros.transfer.command_replay import CommandReplay
from physai_ros.transfer.fit import fit_to_many
from physai_ros.transfer.fitted_physics import FittedPhysics
from physai_ros.transfer.randomization import AdaptiveDomainRandomization
from physai_ros.transfer.similarity import explained_by, find_similar_episode
from physai_ros.transfer.simulated_practice import SimulatedPractice
from physai_ros.transfer.widening import bearable_factor

SUCCESS_FLOOR = 0.8
"""Success in the randomized simulator down to which randomization is widened."""

_COMPARED_EPISODES = 5  # real ones of a batch that feedback compares
_SIMULATED_EACH = 4  # simulated episodes beside each of these


@dataclass(frozen=True)
class Method:
    """What a method does: whether it randomizes at all, and how it listens to the arm."""

    randomizes: bool = True
    feedback: bool = False
    fits: bool = False
    widens: bool = False
    spread: float = 0.15

    @property
    def listens(self) -> bool:
        """Whether real episodes or the policy's own success change anything."""
        return self.feedback or self.fits or self.widens


METHODS: dict[str, Method] = {
    "none": Method(randomizes=False),
    "fixed": Method(),
    "feedback": Method(feedback=True),
    "fit": Method(fits=True),
    "widen": Method(widens=True, spread=0.03),
    "adaptive": Method(fits=True, widens=True),
}
"""`none` and `fixed` are controls; `feedback` is the update rule of `AdaptiveDomainRandomization`, `fit` fits physics
to recordings, `widen` widens while the policy succeeds, `adaptive` fits, and widens about the fit."""


class Adaptation:
    """A method at work on one task."""

    def __init__(
        self,
        method: Method,
        spec: RobotSpec,
        task: Task,
        practice: SimulatedPractice,
        *,
        seed: int,
        spread: float | None = None,
        rate: float = 0.1,
        iterations: int = 8,
        trials: int = 24,
    ) -> None:
        """Take what is adapted to what, and how much is done for it.

        `spread` and `rate` are of the randomization at the start (None: the method's own spread), `iterations` of each
        fit, `trials` the simulated episodes that judge what a policy can bear.
        """
        self.method = method
        self.randomization = AdaptiveDomainRandomization(spread=spread or method.spread, rate=rate, seed=seed)
        self._practice, self._iterations, self._trials = practice, iterations, trials
        self._replay = CommandReplay(spec, task)
        self._fitted: FittedPhysics | None = None
        self._factor = 1.0
        self._version = ""

    def draw(self) -> Mapping[str, float]:
        """Physics of the next simulated episode."""
        return self.randomization.sample_parameters() if self.method.randomizes else {}

    def taught(self, version: str) -> None:
        """A version was trained on what `draw` gave."""
        self._version = version
        if self.method.widens:
            self._factor *= self._bearable(version)

    def listen(self, recordings: Sequence[Episode], new: int, version: str) -> FittedPhysics | None:
        """Change randomization by real episodes, the last `new` of which are new runs of `version`.

        Returns what a fit found, None of a method that does not fit.
        """
        if self.method.feedback:
            self._compare(recordings[-new:][:_COMPARED_EPISODES], version)
        if self.method.fits:
            self._fitted = fit_to_many(self._replay, recordings, start=self._fitted, iterations=self._iterations)
            self.randomization.centre_on_fit(self._fitted)
        if self.method.widens:
            self.randomization.widen(self._factor)
            if not self.method.fits:
                self._factor = 1.0  # the distribution keeps what was widened; a fit begins anew
        return self._fitted

    def _compare(self, real: Sequence[Episode], version: str) -> None:
        """One update for each simulated episode that was run beside a real one, with credit by what explains gaps."""
        runs, gaps = [], []
        for index, episode in enumerate(real):
            beside = []
            for physics in (self.draw() for _ in range(_SIMULATED_EACH)):
                start = self._replay.start(episode, PhysicsParameters().with_values(physics))
                beside.append(self._practice.run(start, index, physics, version))
            found = find_similar_episode(episode, [run.episode for run in beside])
            runs += [run.physics for run in beside]
            gaps += [found.gaps[number] for number in range(len(beside))]
        credit = explained_by(self.randomization.space, runs, gaps)
        for physics, gap in zip(runs, gaps, strict=True):
            self.randomization.update_from_physical_feedback(physics, gap, credit)

    def _bearable(self, version: str) -> float:
        points, successes = [], []
        for run in self._practice.runs(version, self._trials, self.draw):
            points.append(self.randomization.space.point(run.physics))
            successes.append(run.episode.outcome.success)
        return bearable_factor(self.randomization.distribution, np.array(points), successes, SUCCESS_FLOOR)
