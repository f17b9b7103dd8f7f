"""The gate is compared with uniform sampling, and gives way where it is worse."""

from __future__ import annotations

import numpy as np
import pytest

from physai_ros.training.config import TrainerConfig
from physai_ros.training.control import GateControl
from physai_ros.training.dataset import Transitions
from physai_ros.training.gate import GateConfig
from physai_ros.training.significance import SignificanceConfig
from physai_ros.training.trainer import SparseTrainer


def judged(effect: float, trials: int, seed: int = 0) -> GateControl:
    generator = np.random.default_rng(seed)
    control = GateControl()
    for _ in range(trials):
        control.judge(1.0 + effect + 0.02 * generator.standard_normal(), 1.0)
    return control


def test_a_gate_that_is_worse_gives_way_and_says_why():
    control = judged(0.05, 12)
    assert control.uniform
    assert "uniform" in control.reason
    assert "+5." in control.reason or "+4." in control.reason


def test_a_gate_that_is_better_comes_back():
    control = judged(0.05, 12)
    for _ in range(30):
        control.judge(0.95 + 0.01 * np.sin(_), 1.0)
    assert not control.uniform
    assert control.changes == 2


def test_chance_alone_seldom_changes_anything():
    changed = [judged(0.0, 12, seed).changes > 0 for seed in range(400)]
    assert np.mean(changed) < 0.15


@pytest.mark.parametrize("bad", [(np.nan, 1.0), (1.0, np.inf), (1.0, 0.0)])
def test_a_trial_without_numbers_counts_for_nothing(bad):
    control = GateControl()
    for _ in range(20):
        control.judge(*bad)
    assert not control.uniform
    assert "not been compared" in control.reason


def transitions(count: int, generator: np.random.Generator, wrong: float) -> Transitions:
    """A smooth law with some labels that are wrong."""
    observations = generator.standard_normal((count, 6)).astype(np.float32)
    actions = np.tanh(observations[:, :3] + observations[:, 3:])
    lies = generator.random(count) < wrong
    actions[lies] = generator.choice([-1.0, 1.0], (int(lies.sum()), 3))
    full, unknown = np.ones(count, dtype=np.float32), np.full(count, np.inf, dtype=np.float32)
    return Transitions(
        observations=observations,
        actions=actions[:, None].astype(np.float32),
        action_known=full[:, None],
        imitable=full > 0,
        demonstration=full > 0,
        success=full,
        time_to_end=full,
        force_excess=0 * full,
        intervention_age=unknown,
    )


def trained(gate: GateConfig, wrong: float) -> SparseTrainer:
    config = TrainerConfig(
        batch_size=64,
        hidden_sizes=(64, 64),
        control_every=40,
        gate=gate,
        significance=SignificanceConfig(0, 1, 0, 0, 0),
        outcome_batch=0,
    )
    trainer = SparseTrainer(6, 3, config)
    trainer.add(transitions(4000, np.random.default_rng(0), wrong), "one")
    for _ in range(1200):
        trainer.update(2e-3)
    return trainer


def test_greed_for_loss_among_wrong_labels_falls_back_to_uniform_and_stays_sparse():
    greedy = GateConfig(exploration_floor=0.02, score_cap=100.0, sharpness=4.0, attention=np.inf)
    trainer = trained(greedy, wrong=0.1)
    assert trainer.control.uniform, trainer.control.reason
    assert abs(trainer.counters.activation_rate - 0.06) < 0.01


def test_trials_leave_no_trace_in_the_optimiser():
    trainer = trained(GateConfig(), wrong=0.0)
    assert "last 12 trials" in trainer.control.reason
    assert {int(state["step"]) for state in trainer.algorithm.optimizer.state.values() if state} == {
        trainer.counters.updates
    }
