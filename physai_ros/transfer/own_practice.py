"""Practice after one's own episodes: physics are fitted to their recordings, and the task's expert demonstrates there.

This is model-based: the arm's own episodes, failures as much as successes, say what to simulate, and a policy then
imitates an expert that solves the task in that simulator. It takes a simulator, its expert, and physics that explain
the arm. Sources: Sutton, "Dyna, an integrated architecture for learning, planning, and reacting", 1991 (learn a model
from experience, practise in it); Tiboni, Arndt and Kyrki, "DROPO: Sim-to-real transfer with offline domain
randomization", 2023 (the model is a distribution over a simulator's physics, fitted to recordings).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physai_ros.durable import replace_file, sync_folder
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.transfer.command_replay import CommandReplay
from physai_ros.transfer.fit import fit_to_many
from physai_ros.transfer.fitted_physics import FittedPhysics
from physai_ros.transfer.randomization import AdaptiveDomainRandomization
from physai_ros.transfer.simulated_expert import SimulatedExpert

MILESTONES = (10, 25, 50)
"""Training episodes of the arm after which physics are fitted, anew each time."""

DEMONSTRATIONS = 100
"""Simulated after each fit."""

PHYSICS = "physics.json"
"""In the folder of a round: what the fit found."""


def practice_folder(checkpoint: Path) -> Path:
    """Where the rounds of practice lie of which the trainer with this checkpoint learns."""
    return checkpoint.with_suffix(".practice")


def round_folder(folder: Path, episodes: int) -> Path:
    """Where the round after so many training episodes lies; it is there once all of it is."""
    return folder / f"after-{episodes:05d}"


@dataclass(frozen=True)
class PracticePlan:
    """What is practised after which recordings.

    Attributes:
        recordings: folder of the store that the arm's episodes come into; nothing is written there.
        folder: where each round gets a folder of its own, a store of simulated demonstrations.
        task, robot: by name or path.
        seed: of physics, start states and the expert's noise.
        milestones: training episodes after which there is a round.
        demonstrations: of each round.
    """

    recordings: str
    folder: str
    task: str
    robot: str
    seed: int
    milestones: tuple[int, ...] = MILESTONES
    demonstrations: int = DEMONSTRATIONS

    def round(self, episodes: int) -> Path:
        """Folder of the round after so many training episodes."""
        return round_folder(Path(self.folder), episodes)


class OwnPractice:
    """Rounds of practice, each after a milestone of the arm's own training episodes.

    It knows what recordings tell, `Episode.series` and how the task's test judged them; where things really stood
    (`EpisodeContext.scenario_json`) it does not look at. A round is the same for the same recordings and rounds
    before, and a milestone that was passed while an earlier one was worked on takes its place.
    """

    def __init__(self, plan: PracticePlan) -> None:
        self.plan = plan
        self._spec, self._task = RobotSpec.load(plan.robot), load_task(plan.task)
        self._fitted: FittedPhysics | None = None

    @property
    def over(self) -> bool:
        """Whether no round is left."""
        return self.plan.round(max(self.plan.milestones)).exists()

    def due(self) -> int:
        """The milestone that a round is due for, 0 if none is."""
        done = [milestone for milestone in self.plan.milestones if self.plan.round(milestone).exists()]
        reached = [milestone for milestone in self.plan.milestones if milestone <= len(self._own())]
        return max(reached) if max(reached, default=0) > max(done, default=0) else 0

    def practise(self, episodes: int) -> FittedPhysics:
        """What the first so many training episodes told of the arm; the round after them is then in its folder.

        Raises:
            RuntimeError: with these physics the expert fails far more often than it succeeds.
        """
        plan = self.plan
        store = EpisodeStore(plan.recordings, create=False)
        recordings = [store.read(episode_id) for episode_id in self._own()[:episodes]]
        self._fitted = fitted = fit_to_many(CommandReplay(self._spec, self._task, 1), recordings, start=self._fitted)
        folder = plan.round(episodes)
        scratch = folder.with_name(f".{folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
        self._demonstrate(EpisodeStore(scratch), fitted, episodes)
        replace_file(scratch / PHYSICS, json.dumps(_in_words(fitted, recordings), indent=1))
        os.replace(scratch, folder)
        sync_folder(folder.parent)
        return fitted

    def _demonstrate(self, store: EpisodeStore, fitted: FittedPhysics, episodes: int) -> None:
        """Demonstrations with physics drawn from the fit, what it says nothing of being drawn about the nominal arm."""
        plan, generator = self.plan, np.random.default_rng([self.plan.seed, 0x54, episodes])
        randomization = AdaptiveDomainRandomization(seed=plan.seed + episodes)
        randomization.centre_on_fit(fitted)
        rollout = Rollout(self._spec, self._task, filtered=False)
        expert = SimulatedExpert(rollout, plan.seed, f"simulated-{episodes:05d}")
        shown = expert.demonstrations(
            plan.demonstrations, randomization.sample_parameters, lambda: self._task.sample_scenario(generator)
        )
        for run in shown:
            physics = {f"simulated_{name}": value for name, value in run.physics.items()}
            store.write(run.episode, EpisodeSummary.of(run.episode, physics))
        rollout.close()

    def _own(self) -> list[str]:
        """Ids of the arm's training episodes, in their order."""
        if not Path(self.plan.recordings).is_dir():
            return []
        summaries = EpisodeStore(self.plan.recordings, create=False).summaries()
        return [key for key, each in summaries.items() if _tells(each, self._task.name)]


def _tells(summary: EpisodeSummary, task: str) -> bool:
    context = summary.context
    return context.purpose == Purpose.TRAIN and context.task == task and summary.complete and summary.samples > 1


def _in_words(fitted: FittedPhysics, recordings: list[Episode]) -> dict[str, object]:
    return {
        "recordings": [episode.context.episode_id for episode in recordings],
        "physics": fitted.values,
        "spread": fitted.spread,
        "not_identified": list(fitted.unidentified),
        "gap_nominal": fitted.gap_before,
        "gap_fitted": fitted.gap_after,
        "replays": fitted.simulations,
    }
