"""What stands for reality in the sim-to-real loop: it runs a policy for an episode and hands back a recording."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.twins import Twin
from physai_ros.tasks.task import Task


class Reality(Protocol):
    """An arm whose physics nobody tells."""

    def run(self, version: str, scenario_seed: int, episode_id: str) -> Episode:
        """The recording of one autonomous episode of a version of the registry."""


class TwinReality:
    """A twin in this process, with safety monitor and driver in the loop; it gives away recordings alone."""

    def __init__(self, spec: RobotSpec, task: Task, registry: PolicyRegistry, twin: Twin) -> None:
        self._registry, self._task = registry, task
        self._rollout = Rollout(spec, task, physics=twin.physics, make_arm=partial(twin.arm, spec))
        self._version = ""

    def run(self, version: str, scenario_seed: int, episode_id: str) -> Episode:
        """The recording of one autonomous episode."""
        if version != self._version:
            self._rollout.runtime.load(self._registry, version)
            self._version = version
        scenario = scenario_of(self._task, scenario_seed)
        return self._rollout.run(scenario, scenario_seed, Purpose.TRAIN, episode_id=episode_id)
