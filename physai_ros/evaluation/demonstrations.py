"""Demonstrations by the task's expert: of scenarios drawn uniformly, or chosen where a policy needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from physai_ros.curriculum.selector import ScenarioSelector
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.rehearsal import Rehearsal
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.evaluation.start_judge import StartJudge
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task

_AT_ONCE = 8  # demonstrations between two choices, whatever the number of processes: results must not depend on it


@dataclass(frozen=True)
class CollectionPlan:
    """What is to be demonstrated.

    Attributes:
        task: by name.
        store: folder of the episodes; what is there already is not run again.
        episodes: demonstrations in all.
        noise_spread: of what the demonstrator does.
        seed: of the scenarios.
        robot: configuration, by name or path.
        physics: changes to the nominal arm by name.
        curriculum: how scenarios are chosen, one of `curriculum.selector.METHODS`.
        registry, policy: a version that tries every scenario of a curriculum; where it fails, more is demonstrated.
        rehearse: whether that version tries scenarios before they are chosen; what it masters is passed over.
        cameras, image_size: whose pictures are kept with the episodes, and their height and width [pixel].
    """

    task: str
    store: str
    episodes: int
    noise_spread: float = 0.25
    seed: int = 0
    robot: str = "fr3_sim"
    physics: Mapping[str, float] = field(default_factory=dict)
    curriculum: str = "uniform"
    registry: str = ""
    policy: str = ""
    rehearse: bool = False
    cameras: tuple[str, ...] = ()
    image_size: int = 84


def collect_demonstrations(
    plan: CollectionPlan,
    on_result: Callable[[TrialResult], None] = lambda result: None,
    *,
    crew: TrialCrew | None = None,
) -> list[TrialResult]:
    """Results of the demonstrations that were not there yet; `on_result` hears of each.

    They are run by `crew`, without one in this process.

    A curriculum learns from how the policy did in a scenario, or without one from how the expert did, and asks the
    policy about start states. Run again after it was cut off, it chooses the same scenarios.

    Raises:
        ValueError: an unknown curriculum, a policy that is of another task, or one that is to rehearse and is none, or
            looks at pictures.
        TrialError: an episode cannot be run or kept.
    """
    task, crew = load_task(plan.task), crew or TrialCrew(0)
    store = EpisodeStore(plan.store)
    settings = TrialSettings(
        plan.task,
        robot=plan.robot,
        physics=plan.physics,
        store=plan.store,
        cameras=plan.cameras,
        image_size=plan.image_size,
    )
    generator = np.random.default_rng([plan.seed, 0xC0])
    selector = ScenarioSelector(task.scenario_bounds, generator, plan.curriculum)
    graded = plan.curriculum != "uniform"
    chosen = graded or plan.rehearse
    ask = None
    if plan.policy and graded:
        policy = PolicyRegistry(plan.registry).load(plan.policy)
        judge = StartJudge(Kinematics(RobotSpec.load(plan.robot)), task)
        ask = lambda parameters: judge.judge(policy, parameters)  # noqa: E731
    rehearse = _rehearsal(plan, task) if plan.rehearse else None
    seeds = scenario_seeds("warm_start", plan.seed, plan.episodes)
    results: list[TrialResult] = []
    at_once = _AT_ONCE if chosen else plan.episodes
    for begin in range(0, plan.episodes, at_once):
        indices = range(begin, min(begin + at_once, plan.episodes))
        scenarios = [
            task.scenario(selector.next(ask, rehearse)) if chosen else scenario_of(task, seeds[i]) for i in indices
        ]
        trials = [
            Trial(
                index,
                seeds[index],
                purpose=int(Purpose.DEMONSTRATE),
                episode_id=f"demonstration-{type(task).name}-{plan.seed:04d}-{index:05d}",
                scenario_json=scenario.to_json() if chosen else "",
                noise_spread=plan.noise_spread,
            )
            for index, scenario in zip(indices, scenarios, strict=True)
        ]
        missing = [trial for trial in trials if trial.episode_id not in store]
        results += crew.run(missing, settings, on_result=on_result)
        if graded and indices.stop < plan.episodes:
            for scenario, success in zip(scenarios, _successes(plan, crew, trials, store), strict=True):
                selector.report(scenario.parameters, success)
    return results


def _rehearsal(plan: CollectionPlan, task: Task) -> Rehearsal:
    if not plan.policy:
        raise ValueError("nobody is named who rehearses: give a policy, a version of the registry")
    policy = PolicyRegistry(plan.registry).load(plan.policy)
    if policy.manifest.architecture.sees:
        raise ValueError(f"policy {plan.policy} looks at pictures, and a rehearsal has none: name one that does not")
    physics = PhysicsParameters().with_values(plan.physics)
    return Rehearsal(RobotSpec.load(plan.robot), task, lambda: policy, plan.seed, physics)


def _successes(plan: CollectionPlan, crew: TrialCrew, trials: Sequence[Trial], store: EpisodeStore) -> list[bool]:
    """How the policy does in the scenarios of these trials, or where there is none, how the expert did."""
    if not plan.policy:
        return [store.summary(trial.episode_id).outcome.success for trial in trials]
    settings = TrialSettings(plan.task, registry=plan.registry, robot=plan.robot, physics=plan.physics)
    tried = [
        Trial(trial.index, trial.scenario_seed, plan.policy, scenario_json=trial.scenario_json) for trial in trials
    ]
    return [result.success for result in crew.run(tried, settings)]
