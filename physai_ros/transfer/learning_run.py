"""On-robot learning in one process: the loop that the graph runs, for control arms that differ in one thing each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physai_ros.curriculum.selector import ScenarioSelector
from physai_ros.evaluation.rehearsal import Rehearsal
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.start_judge import StartJudge
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.command import CommandSource
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.publishing import publish_policy
from physai_ros.training.trainer import SparseTrainer

Judge = Callable[[str, str], bool]
"""Says whether the first version may replace the second."""


@dataclass(frozen=True)
class LearningPlan:
    """One arm of an experiment; the defaults are what the graph does.

    Attributes:
        episodes: to run on the arm.
        candidate_every: episodes after which the trainer offers a new version.
        operator: whether an operator steps in.
        learn: whether the trainer runs.
        seed: of the scenarios.
        curriculum: how scenarios are chosen, one of `curriculum.selector.METHODS`.
        ask_policy: whether significance asks the policy about start states.
        rehearse: whether the policy tries scenarios in the nominal simulator first, and passes over what it masters.
    """

    episodes: int = 80
    candidate_every: int = 5
    operator: bool = True
    learn: bool = True
    seed: int = 0
    curriculum: str = "uniform"
    ask_policy: bool = False
    rehearse: bool = False


@dataclass(frozen=True)
class LearningResult:
    """The version that drives at the end, and what every episode brought: `own_success` without an operator's help.

    `rehearsals` are scenarios that were tried in the simulator in between.
    """

    version: str
    own_success: tuple[bool, ...]
    interventions: int
    activation_rate: float
    rehearsals: int = 0


def learn_on_arm(
    rollout: Rollout,
    trainer: SparseTrainer,
    registry: PolicyRegistry,
    plan: LearningPlan,
    may_replace: Judge,
    on_episode: Callable[[int], None] = lambda done: None,
) -> LearningResult:
    """Run the episodes of a plan on the rollout's arm, beginning with the registry's active version.

    `on_episode` is told how many episodes are done.
    """
    version = registry.current()[0]
    rollout.runtime.load(registry, version)
    config = trainer.config
    builder = TransitionBuilder(
        rollout.arm.kinematics, rollout.task, chunk_steps=config.chunk_steps, hindsight=config.hindsight
    )
    seeds = scenario_seeds("train", plan.seed, plan.episodes)
    selector = ScenarioSelector(rollout.task.scenario_bounds, np.random.default_rng(seeds[0]), plan.curriculum)
    starts = StartJudge(rollout.arm.kinematics, rollout.task)
    ask = (lambda parameters: starts.judge(rollout.runtime.policy, parameters)) if plan.ask_policy else None
    driving = rollout.runtime
    rehearsal = Rehearsal(rollout.spec, rollout.task, lambda: driving.policy, plan.seed) if plan.rehearse else None
    own_success, interventions = [], 0
    for index, seed in enumerate(seeds):
        scenario = rollout.task.scenario(selector.next(ask, rehearsal))
        episode_id = f"train-{plan.seed:04d}-{index:05d}"
        episode = rollout.run(
            scenario, seed, Purpose.TRAIN, episode_id=episode_id, operator=plan.operator, exploration=config.exploration
        )
        helped = take_overs(episode)
        interventions += helped
        own_success.append(episode.outcome.success and not helped)
        on_episode(index + 1)
        selector.report(scenario.parameters, episode.outcome.success, helped)
        if not plan.learn:
            continue
        trainer.add(builder.build(episode), episode_id)
        for _ in range(config.updates_per_episode):
            trainer.update()
        if (index + 1) % plan.candidate_every == 0:
            candidate = publish_policy(trainer, rollout.task, registry, (version,)).version
            if may_replace(candidate, version):
                registry.activate(candidate, verdict="not_worse")
                rollout.runtime.load(registry, candidate)
                version = candidate
    tried = rehearsal.tried if rehearsal else 0
    return LearningResult(version, tuple(own_success), interventions, trainer.counters.activation_rate, tried)


def take_overs(episode: Episode) -> int:
    """How many times an operator took over in an episode."""
    driving = episode.series["command_source"] == CommandSource.OPERATOR
    return int(np.count_nonzero(driving & ~np.concatenate([[False], driving[:-1]])))
