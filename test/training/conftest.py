"""Recorded episodes of the simulated arm, made once."""

from __future__ import annotations

import pytest

from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("reach")


@pytest.fixture(scope="session")
def rollout(task) -> Rollout:
    return Rollout(RobotSpec.load("fr3_sim"), task)


@pytest.fixture(scope="session")
def builder(rollout, task) -> TransitionBuilder:
    return TransitionBuilder(rollout.arm.kinematics, task)


@pytest.fixture(scope="session")
def demonstrations(rollout, task) -> list[Episode]:
    return [
        rollout.run(
            scenario_of(task, seed),
            seed,
            Purpose.DEMONSTRATE,
            episode_id=f"demonstration-{index:03d}",
            noise=DemonstrationNoise(0.2),
        )
        for index, seed in enumerate(scenario_seeds("warm_start", 0, 4))
    ]


@pytest.fixture
def config() -> TrainerConfig:
    """A recipe that is quick."""
    return TrainerConfig(
        batch_size=32, hidden_sizes=(32, 32), warm_start_updates=20, updates_per_episode=10, refresh_every=25
    )
