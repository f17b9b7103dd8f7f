"""One trial of an evaluation: what is run, and what came of it. Both are plain JSON between processes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros.evaluation.album import RolloutCameras
from physai_ros.evaluation.conditions import condition_of
from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.collector import PhysicalFeedbackCollector
from physai_ros.policy.registry import Policy, PolicyRegistry
from physai_ros.robot.command import SafeCommand
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.simulation.twins import Twin
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of an evaluation share.

    `physics` are changes to the nominal arm by name; `operator` lets the scripted operator step in; `store` (a folder)
    keeps every episode, with what `cameras` of `image_size` saw; `speed` is the share of full speed of policies, and
    `exploration` the spread of what they try, in shares of the action scale. With a seed in `twin` the arm is that twin
    (`simulation.twins`) in place of the nominal one.
    """

    task: str
    registry: str = ""
    robot: str = "fr3_sim"
    physics: Mapping[str, float] = field(default_factory=dict)
    operator: bool = False
    store: str = ""
    speed: float = 1.0
    twin: int | None = None
    cameras: tuple[str, ...] = ()
    image_size: int = 84
    exploration: float = 0.0

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives the same settings back."""
        return json.dumps({**asdict(self), "physics": dict(self.physics)})

    @classmethod
    def from_json(cls, text: str) -> TrialSettings:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(**(data | {"cameras": tuple(data.get("cameras", ()))}))


@dataclass(frozen=True)
class Trial:
    """One episode to run: `policy` is a version of the registry, empty for a demonstration by the task's expert.

    The scenario is the one that `scenario_seed` stands for, unless `scenario_json` names another; `noise_spread`
    disturbs a demonstrator. `physics` are changes to the arm of the settings, by name.
    """

    index: int
    scenario_seed: int
    policy: str = ""
    purpose: int = int(Purpose.EVALUATE)
    episode_id: str = ""
    scenario_json: str = ""
    noise_spread: float = 0.0
    physics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialResult:
    """What came of one trial; times in seconds, `peak_force` in newtons.

    `score` is partial credit in 0 ... 1: how much of the way to the goal was made (`Task.remaining`), 1 for a success.
    `condition` names what the trial was run under.
    """

    index: int
    policy: str
    scenario_seed: int
    success: bool
    failure_mode: str
    stage: str
    duration: float
    peak_force: float
    interventions: int
    intervention_seconds: float
    safety_stops: int
    cycles: int
    cpu_seconds: float = 0.0
    score: float = 0.0
    condition: str = "nominal"

    def outcome(self) -> dict[str, Any]:
        """Everything that must not depend on who ran the trial, or how fast."""
        row = asdict(self)
        row.pop("cpu_seconds")
        return row


class TrialRunner:
    """Runs trials one after another; keeps the arm and the policies that it has read."""

    def __init__(self, settings: TrialSettings) -> None:
        self._settings = settings
        self._task = load_task(settings.task)
        spec = RobotSpec.load(settings.robot)
        twin = None if settings.twin is None else Twin.draw(settings.twin)
        self._physics = (twin.physics if twin else PhysicsParameters()).with_values(settings.physics)
        make_arm = partial(twin.arm, spec) if twin else None
        size = settings.image_size
        cameras = RolloutCameras(settings.cameras, size, size) if settings.cameras else None
        self._rollout = Rollout(spec, self._task, physics=self._physics, make_arm=make_arm, cameras=cameras)
        self._rollout.runtime.speed = settings.speed
        self._registry = PolicyRegistry(Path(settings.registry)) if settings.registry else None
        self._policies: dict[str, Policy] = {}
        store = EpisodeStore(settings.store) if settings.store else None
        self._feedback = PhysicalFeedbackCollector(store, lambda _: self._task.force_budget)

    def run(self, trial: Trial) -> TrialResult:
        """The result of one trial.

        Raises:
            PolicyFileError: the trial's policy cannot be used for the task.
            StoreError: its episode cannot be kept.
        """
        began = time.process_time()
        purpose = Purpose(trial.purpose)
        if purpose != Purpose.DEMONSTRATE:
            self._load(trial.policy)
        scenario = (
            Scenario.from_json(trial.scenario_json)
            if trial.scenario_json
            else scenario_of(self._task, trial.scenario_seed)
        )
        condition, goal = condition_of(self._task, trial.scenario_seed), np.array(scenario.goal)
        remaining: list[float] = []

        def look(state: RobotState, _command: SafeCommand) -> None:
            if state.sequence == 0:
                remaining.append(self._task.remaining(self._rollout.arm.task_state(), goal))

        episode = self._rollout.run(
            scenario,
            trial.scenario_seed,
            purpose,
            episode_id=trial.episode_id,
            operator=self._settings.operator,
            noise=DemonstrationNoise(trial.noise_spread) if trial.noise_spread else None,
            physics=self._physics.with_values(trial.physics),
            condition=condition,
            exploration=self._settings.exploration,
            on_cycle=look,
        )
        remaining.append(self._task.remaining(self._rollout.arm.task_state(), goal))
        record = self._feedback.add(episode)
        return TrialResult(
            index=trial.index,
            policy=trial.policy,
            scenario_seed=trial.scenario_seed,
            success=record.success,
            failure_mode=record.failure_mode,
            stage=episode.outcome.stage,
            duration=record.duration,
            peak_force=record.peak_force,
            interventions=record.interventions,
            intervention_seconds=record.intervention_seconds,
            safety_stops=record.safety_stops,
            cycles=len(episode),
            cpu_seconds=time.process_time() - began,
            score=progress(remaining[0], remaining[-1], success=record.success),
            condition=condition.name,
        )

    def close(self) -> None:
        """Release what the arm holds."""
        self._rollout.close()

    def _load(self, version: str) -> None:
        if self._registry is None:
            raise ValueError("no registry is given: name the folder that holds the policies")
        if version not in self._policies:
            self._rollout.runtime.load(self._registry, version)
            self._policies[version] = self._rollout.runtime.policy
        self._rollout.runtime.policy = self._policies[version]


def progress(before: float, after: float, *, success: bool) -> float:
    """Partial credit in 0 ... 1 for a path [m] that was `before` and is `after`; success or not where it is unknown."""
    if success or not (before > 0.0 and np.isfinite(after)):
        return float(success)
    return float(np.clip(1.0 - after / before, 0.0, 1.0))
