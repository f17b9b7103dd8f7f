"""Objective rl: of what the policy did itself, only its quickest successes are imitated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physai_ros.policy.registry import weights_of
from physai_ros.training.checkpoint import load_checkpoint, save_checkpoint
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.trainer import SparseTrainer


@pytest.fixture
def recipe(config) -> TrainerConfig:
    return dataclasses.replace(config, objective="rl", sampler="uniform", observation_noise=0.0)


def made(steps: int, action: float, *, own: bool, success: bool = True) -> Transitions:
    """An episode of so many policy steps, all with the same action; the gripper does what it should."""
    generator = np.random.default_rng(steps)
    done = np.tile(np.array([action, 1.0], dtype=np.float32), (steps, 1))
    whose = np.full(steps, own)
    return Transitions(
        observations=generator.standard_normal((steps, 3)).astype(np.float32),
        actions=done[:, None],
        action_known=np.ones((steps, 1), dtype=np.float32),
        imitable=~whose,
        demonstration=~whose,
        success=np.full(steps, success, dtype=np.float32),
        time_to_end=0.1 * np.arange(steps - 1, -1, -1, dtype=np.float32),
        force_excess=np.zeros(steps, dtype=np.float32),
        intervention_age=np.full(steps, np.inf, dtype=np.float32),
        own=whose,
        executed=done,
    )


def demonstrated(recipe: TrainerConfig) -> SparseTrainer:
    trainer = SparseTrainer(3, 2, recipe)
    trainer.add(made(20, 0.0, own=False), "demonstration")
    return trainer


def test_failures_and_slow_successes_are_not_imitated(recipe):
    trainer = demonstrated(recipe)
    for name, steps, success, kept in (
        ("failure", 5, False, 0),
        ("first", 30, True, 30),
        ("quicker", 20, True, 50),
        ("slower", 40, True, 50),
        ("quickest", 10, True, 60),
    ):
        assert trainer.add(made(steps, 0.5, own=True, success=success), name) == 0
        assert len(trainer.own) == kept, name


def test_who_was_helped_did_not_succeed_alone(recipe):
    trainer = demonstrated(recipe)
    helped = made(20, 0.5, own=True)
    helped.own[3] = False
    trainer.add(helped, "helped")
    assert not len(trainer.own)


def test_a_step_of_an_own_success_counts_as_one_that_was_demonstrated(recipe):
    trainer = demonstrated(dataclasses.replace(recipe, batch_size=90))
    assert trainer.data.shares() == [(trainer.demonstrations, 90)]
    trainer.add(made(10, 0.5, own=True), "success")
    assert trainer.data.shares() == [(trainer.demonstrations, 60), (trainer.own, 30)]


def test_what_succeeds_oneself_outweighs_a_few_demonstrations(recipe):
    trainer = demonstrated(recipe)
    for number in range(20):
        trainer.add(made(20, 0.5, own=True), f"success-{number}")
        trainer.add(made(20, -1.0, own=True, success=False), f"failure-{number}")
    for _ in range(150):
        trainer.update(1e-2)
    with torch.no_grad():
        acted = trainer.policy_network()(torch.randn(50, 3)).actions[..., 0].mean()
    assert 0.35 < float(acted) < 0.55


def test_it_goes_on_as_if_it_had_never_stopped(recipe, tmp_path):
    episodes = {"demonstration": made(20, 0.0, own=False), "own": made(15, 0.5, own=True)}
    later = {"slow": made(30, 0.4, own=True), "quick": made(12, 0.6, own=True)}
    trainer = SparseTrainer(3, 2, recipe)
    for name, rows in episodes.items():
        trainer.add(rows, name)
    trainer.update()
    save_checkpoint(trainer, tmp_path / "trainer.safetensors")
    again = load_checkpoint(tmp_path / "trainer.safetensors", episodes.__getitem__)
    for either in (trainer, again):
        for name, rows in later.items():
            either.add(rows, name)
        assert len(either.own) == 27
        for _ in range(30):
            either.update()
    assert weights_of(again.policy_network()) == weights_of(trainer.policy_network())


def test_the_recipe_of_an_objective_can_be_changed_and_is_checked():
    assert TrainerConfig.of_objective("bc") == TrainerConfig()
    assert TrainerConfig.of_objective("rl").observation_noise > TrainerConfig().observation_noise
    assert TrainerConfig.of_objective("rl", observation_noise=0.1).observation_noise == 0.1
    with pytest.raises(ValueError, match="quickest is 1.5"):
        TrainerConfig.of_objective("rl", quickest=1.5)
    with pytest.raises(ValueError, match="of the objective bc"):
        TrainerConfig.of_objective("rl", advantage=0.3)
