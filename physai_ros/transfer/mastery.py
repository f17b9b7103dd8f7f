"""From demonstrations to mastery in simulation: rounds of the policy's own episodes, each of them learned from anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.statistics import clopper_pearson
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import shifted_arm
from physai_ros.tasks.catalog import load_task
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.publishing import publish_policy
from physai_ros.training.trainer import SparseTrainer
from physai_ros.transfer.first_policy import demonstrate, warm_start
from physai_ros.transfer.own_practice import OwnPractice, PracticePlan

Row = dict[str, Any]


@dataclass(frozen=True)
class MasteryPlan:
    """What is tried.

    Attributes:
        task: by name.
        seed: of demonstrations, scenarios, weights and sampling.
        demonstrations: successful ones of the task's expert, with noise.
        rounds: of own episodes and a policy that learned from all before.
        episodes: own ones of each round.
        updates: gradient steps of each policy, which is a fresh network.
        objective: of the policies that learn from own episodes, one of `training.config.OBJECTIVES`; the first imitates
            the demonstrations.
        sampler: who chooses their samples, one of `training.samplers.SAMPLERS`.
        observation_noise: of the same; None: that of the objective.
        practice: demonstrations that the expert gives after each round in a simulator with the physics that the
            recordings of own episodes tell of (`transfer.own_practice`); each brings updates of its own.
        operator: whether the scripted operator steps in in own episodes.
        shifted: whether own and held-out episodes are on the shifted arm of the seed, which no demonstration saw.
        held_out: scenarios by which the first and the last policy are judged; nothing learns from them.
        robot: configuration, by name or path.
    """

    task: str
    seed: int = 0
    demonstrations: int = 20
    rounds: int = 2
    episodes: int = 60
    updates: int = 2000
    objective: str = "rl"
    sampler: str = "ast"
    observation_noise: float | None = None
    practice: int = 0
    operator: bool = False
    shifted: bool = False
    held_out: int = 100
    robot: str = "fr3_sim"


class MasteryRun:
    """One plan at work in a folder of its own; every episode passes the safety monitor and is recorded there.

    Each policy is learned from all demonstrations and all own episodes so far. By the objective `rl` the quickest half
    of the own successes are imitated, by `bc` what an operator did who stepped in and nothing else of them, by fresh
    networks: the policies before are nothing but whoever made those episodes. By `actor_critic` critics judge all that
    was done, and one network goes on. What was practised counts as demonstrated.
    """

    def __init__(
        self, plan: MasteryPlan, folder: Path, crew: TrialCrew, on_event: Callable[[str], None] = lambda text: None
    ) -> None:
        """Keep episodes and policies in `folder`, which is new, and let `crew` run them."""
        self._plan, self._crew, self._on_event = plan, crew, on_event
        self._store = EpisodeStore(folder / "episodes")
        self._practice = OwnPractice(
            PracticePlan(
                str(folder / "episodes"),
                str(folder / "practice"),
                plan.task,
                plan.robot,
                plan.seed,
                tuple(plan.episodes * number for number in range(1, plan.rounds + 1)),
                plan.practice,
            )
        )
        self._registry = PolicyRegistry(folder / "registry")
        self._task = load_task(plan.task)
        self._cpu = 0.0
        self._trainer: SparseTrainer | None = None  # that goes on from round to round

    def run(self) -> Row:
        """What came of the plan, as one row of figures; times in seconds, forces in newtons.

        Raises:
            RuntimeError: the task's expert fails more often than it succeeds.
        """
        plan, began = self._plan, time.monotonic()
        rollout = Rollout(RobotSpec.load(plan.robot), self._task)
        builder = TransitionBuilder(rollout.arm.kinematics, self._task)
        started = time.process_time()
        shown = list(demonstrate(rollout, plan.demonstrations, plan.seed, DemonstrationNoise()))
        rollout.close()
        self._cpu += time.process_time() - started
        goes_on = plan.objective == "actor_critic"
        version = self._goes_on(shown, builder) if goes_on else self._taught(shown, builder, "bc")
        row: Row = {
            "task": plan.task,
            "seed": plan.seed,
            "demonstrations": plan.demonstrations,
            "demonstrated_seconds": float(np.median([episode.duration for episode in shown])),
            "before": self._judged(version),
            "rounds": [],
        }
        own: list[Episode] = []
        practised: list[Episode] = []
        for number in range(plan.rounds):
            results = self._own_episodes(version, number)
            fresh = [self._store.read(_name(plan, result.index)) for result in results]
            own += fresh
            if plan.practice:
                shown_now = self._practised(len(own))
                practised, fresh = practised + shown_now, fresh + shown_now
            if goes_on:
                version = self._goes_on(fresh, builder)
            else:
                version = self._taught([*shown, *practised, *own], builder, plan.objective, len(practised))
            row["rounds"].append(
                {
                    "successes": sum(result.success for result in results),
                    "interventions": sum(result.interventions for result in results),
                    "helped": sum(result.interventions > 0 for result in results),
                }
            )
        row["after"] = self._judged(version)
        return row | {"cpu_seconds": self._cpu, "wall_seconds": time.monotonic() - began}

    def _practised(self, episodes: int) -> list[Episode]:
        """What the expert shows with the physics that so many own episodes tell of."""
        started = time.process_time()
        fitted = self._practice.practise(episodes)
        store = EpisodeStore(self._practice.plan.round(episodes), create=False)
        shown = [store.read(key) for key in store.summaries()]
        self._cpu += time.process_time() - started
        self._on_event(
            f"{self._plan.task}, seed {self._plan.seed}: {len(shown)} demonstrations with the physics that {episodes} "
            f"own episodes tell of; they explain them to {fitted.gap_after:.2f} tolerances, nominal ones to "
            f"{fitted.gap_before:.2f}"
        )
        return shown

    def _taught(self, episodes: list[Episode], builder: TransitionBuilder, objective: str, practised: int = 0) -> str:
        """The version that a fresh network becomes by these episodes, of which so many were practised."""
        plan, started = self._plan, time.process_time()
        updates = plan.updates + TrainerConfig.updates_per_practice * practised
        changes: dict[str, Any] = {"seed": plan.seed, "sampler": plan.sampler, "warm_start_updates": updates}
        if plan.observation_noise is not None and len(episodes) > plan.demonstrations:
            changes["observation_noise"] = plan.observation_noise
        config = TrainerConfig.of_objective(objective, **changes)
        trainer = warm_start(episodes, self._task, builder, config, lambda _done, _total: None)
        version = publish_policy(trainer, self._task, self._registry).version
        self._cpu += time.process_time() - started
        return version

    def _goes_on(self, episodes: list[Episode], builder: TransitionBuilder) -> str:
        """The version that the network becomes by going on with these episodes; the first ones are imitated."""
        plan, started = self._plan, time.process_time()
        if self._trainer is None:
            self._trainer = warm_start(episodes, self._task, builder, self._recipe(), lambda _done, _total: None)
        else:
            for episode in episodes:
                self._trainer.add(builder.build(episode), episode.context.episode_id)
            for _ in range(plan.updates):
                self._trainer.update()
        version = publish_policy(self._trainer, self._task, self._registry).version
        self._cpu += time.process_time() - started
        return version

    def _recipe(self) -> TrainerConfig:
        """Of critics, for the task."""
        plan = self._plan
        rl = ActorCriticConfig(delicate=self._task.delicate)
        changes = {"seed": plan.seed, "sampler": plan.sampler, "warm_start_updates": plan.updates, "rl": rl}
        if plan.observation_noise is not None:
            changes["observation_noise"] = plan.observation_noise
        return TrainerConfig.of_objective(plan.objective, **changes)

    def _own_episodes(self, version: str, number: int) -> list[TrialResult]:
        """Training episodes of a version in scenarios of their own, kept in the store."""
        plan, first = self._plan, number * self._plan.episodes
        seeds = scenario_seeds("train", plan.seed, plan.episodes, first)
        trials = [
            Trial(index, seed, version, int(Purpose.TRAIN), _name(plan, index))
            for index, seed in enumerate(seeds, first)
        ]
        exploration = 0.0 if self._trainer is None else self._trainer.config.exploration
        results = self._run(trials, store=str(self._store.folder), operator=plan.operator, exploration=exploration)
        won = sum(result.success for result in results)
        helped = sum(result.interventions > 0 for result in results)
        self._on_event(
            f"{plan.task}, seed {plan.seed}: {won} of {plan.episodes} own episodes of version {version} succeeded"
            + (f", {helped} with an operator's help" if plan.operator else "")
        )
        return results

    def _judged(self, version: str) -> Row:
        """How a version does on the held-out scenarios, nobody helping."""
        plan = self._plan
        seeds = scenario_seeds("held_out", plan.seed, plan.held_out)
        results = self._run([Trial(index, seed, version) for index, seed in enumerate(seeds)])
        won = [result for result in results if result.success]
        lower, upper = clopper_pearson(len(won), plan.held_out)
        self._on_event(
            f"{plan.task}, seed {plan.seed}: version {version} succeeds in {len(won)} of {plan.held_out} held-out "
            "scenarios"
        )
        return {
            "held_out": plan.held_out,
            "successes": len(won),
            "lower": lower,
            "upper": upper,
            "seconds": float(np.median([result.duration for result in won])) if won else float("nan"),
            "peak_force": max(result.peak_force for result in results),
            "failures": _counted(results),
        }

    def _run(self, trials: Sequence[Trial], **settings_of_these: Any) -> list[TrialResult]:  # noqa: ANN401
        """What came of trials; of `TrialSettings` they may have some of their own."""
        plan, started = self._plan, time.process_time()
        settings = TrialSettings(
            plan.task,
            str(self._registry.folder),
            robot=plan.robot,
            physics=shifted_arm(plan.seed).values() if plan.shifted else {},
            **settings_of_these,
        )
        results = self._crew.run(trials, settings)
        in_this_process = not self._crew.workers
        self._cpu += time.process_time() - started if in_this_process else sum(result.cpu_seconds for result in results)
        return results


def _name(plan: MasteryPlan, index: int) -> str:
    return f"own-{plan.seed:04d}-{index:05d}"


def _counted(results: Sequence[TrialResult]) -> dict[str, int]:
    """How often each failure mode came at each stage."""
    found: dict[str, int] = {}
    for result in results:
        if not result.success:
            name = f"{result.failure_mode} at {result.stage}"
            found[name] = found.get(name, 0) + 1
    return found
