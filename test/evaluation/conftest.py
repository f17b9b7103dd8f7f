"""A registry with two policies of the task `reach`: one that goes to the goal, one that stays where it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.trainer import SparseTrainer


def add_policy(registry: PolicyRegistry, task: Task, network: RobotPolicyNetwork, parents: tuple[str, ...] = ()) -> str:
    """Version that a network got in the registry."""
    manifest = registry.add(
        network, task=task.name, action_axes=task.action_axes, action_scale=task.action_scale, parents=parents
    )
    return manifest.version


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return RobotSpec.load("fr3_sim")


@pytest.fixture(scope="session")
def demonstrations(spec: RobotSpec) -> list[Episode]:
    rollout = Rollout(spec, load_task("reach"))
    episodes = []
    for seed in scenario_seeds("warm_start", 0, 12):
        scenario = scenario_of(rollout.task, seed)
        noise = DemonstrationNoise(0.25)
        episodes.append(rollout.run(scenario, seed, Purpose.DEMONSTRATE, episode_id=str(seed), noise=noise))
    rollout.close()
    return episodes


@pytest.fixture(scope="session")
def registry(
    tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec, demonstrations: list[Episode]
) -> PolicyRegistry:
    """Version 000001 has not learned, 000002 imitates demonstrations, 000003 is the same as 000002."""
    task = load_task("reach")
    rollout = Rollout(spec, task)
    builder = TransitionBuilder(rollout.arm.kinematics, task)
    rows = [builder.build(episode) for episode in demonstrations]
    registry = PolicyRegistry(tmp_path_factory.mktemp("registry"))
    trainer = SparseTrainer(rows[0].observations.shape[1], rows[0].actions.shape[2], TrainerConfig())
    for episode, part in zip(demonstrations, rows, strict=True):
        trainer.add(part, episode.context.episode_id)
    trainer.update(1e-3)
    still = trainer.policy_network()
    with torch.no_grad():
        for parameter in still.action_heads.parameters():
            parameter.zero_()
    add_policy(registry, task, still)
    for _ in range(150):
        trainer.update(1e-3)
    add_policy(registry, task, trainer.policy_network(), ("000001",))
    add_policy(registry, task, trainer.policy_network(), ("000002",))
    rollout.close()
    return registry


@pytest.fixture
def own_registry(registry: PolicyRegistry, tmp_path: Path) -> PolicyRegistry:
    """A copy that a test may change."""
    shutil.copytree(registry.folder, tmp_path / "registry")
    return PolicyRegistry(tmp_path / "registry")
