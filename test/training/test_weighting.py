"""Level two: what is kept of an episode, and how much each step counts."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.training.dataset import Transitions
from physai_ros.training.trainer import SparseTrainer
from physai_ros.training.weighting import CONTACT, FAILURE, INTERVENTION, TAIL, step_weights


def steps(count: int, seed: int = 0, **columns: np.ndarray) -> Transitions:
    """An ordinary demonstration of `count` steps of 0.1 s that succeeded, with other columns where given."""
    generator = np.random.default_rng(seed)
    full = np.ones(count, dtype=np.float32)
    ordinary = {
        "observations": generator.standard_normal((count, 6)).astype(np.float32),
        "actions": generator.uniform(0.3, 0.9, (count, 1, 4)).astype(np.float32),
        "action_known": full[:, None],
        "imitable": full > 0,
        "demonstration": full > 0,
        "success": full,
        "time_to_end": 0.1 * np.arange(count - 1, -1, -1, dtype=np.float32),
        "force_excess": 0 * full,
        "intervention_age": np.full(count, np.inf, dtype=np.float32),
    }
    return Transitions(**(ordinary | columns))


@settings(deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 99))
def test_what_is_ordinary_counts_as_it_did(count, seed):
    np.testing.assert_array_equal(step_weights(steps(count, seed)), np.ones(count))


@settings(deadline=None)
@given(count=st.integers(2, 60), seed=st.integers(0, 99), taken=st.integers(0, 59))
def test_weights_are_bounded_and_rise_towards_what_went_wrong(count, seed, taken):
    taken = min(taken, count - 1)
    age = np.where(np.arange(count) >= taken, 0.1 * (np.arange(count) - taken), np.inf).astype(np.float32)
    columns = {"success": np.zeros(count, np.float32), "demonstration": np.zeros(count, bool), "intervention_age": age}
    weights = step_weights(steps(count, seed, **columns))
    assert (weights >= 1.0).all()
    assert (weights <= 1.0 + FAILURE + CONTACT + INTERVENTION).all()
    assert (np.diff(weights[: taken + 1]) > 0).all()  # up to the take-over, it and the failure come nearer


def test_a_contact_over_budget_counts_more():
    force = np.zeros(10, np.float32)
    force[4] = 0.5
    np.testing.assert_allclose(step_weights(steps(10, force_excess=force)), 1.0 + CONTACT * force)


def test_an_idle_tail_counts_little_and_a_pause_on_the_way_as_it_did():
    rows = steps(20)
    rows.actions[15:, 0, :-1] = 0.0
    rows.actions[14:, 0, -1] = 1.0
    rows.actions[5:8, 0, :-1] = 0.0
    np.testing.assert_array_equal(step_weights(rows)[:15], 1.0)
    np.testing.assert_array_equal(step_weights(rows)[15:], TAIL)


def test_duplicates_are_not_kept(config):
    rows = steps(30)
    for name in ("observations", "actions"):
        getattr(rows, name)[10:13] = getattr(rows, name)[9]
    weights = step_weights(rows)
    np.testing.assert_array_equal(np.flatnonzero(weights == 0), [10, 11, 12])
    counts = []
    for weighting in (False, True):
        trainer = SparseTrainer(6, 4, dataclasses.replace(config, sampler="uniform", weighting=weighting))
        trainer.add(rows, "one")
        counts.append((len(trainer.demonstrations), len(trainer.outcomes)))
    assert counts == [(30, 30), (27, 30)]


def test_a_weight_is_a_weight_of_the_loss(config):
    """Of two actions in the same state, the one that weighs more is learned, and the mean of both without weights."""
    force = np.zeros(64, np.float32)
    force[:32] = 1.0
    rows = steps(64, force_excess=force)
    rows.observations[32:] = rows.observations[:32]
    rows.actions[:32], rows.actions[32:] = 0.4, -0.4
    means = []
    for weighting in (False, True):
        recipe = dataclasses.replace(config, sampler="uniform", weighting=weighting, huber=10.0, observation_noise=0.0)
        trainer = SparseTrainer(6, 4, recipe)
        trainer.add(rows, "one")
        for _ in range(400):
            trainer.update(3e-3)
        means.append(np.mean([trainer_action(trainer, each) for each in rows.observations[:32]]))
    assert abs(means[0]) < 0.06
    assert abs(means[1] - 0.4 * (2 - 1) / (2 + 1)) < 0.06


def trainer_action(trainer: SparseTrainer, observation: np.ndarray) -> float:
    from physai_ros.policy.acting import ActingNetwork

    return float(ActingNetwork(trainer.policy_network()).predict(observation).actions[0].mean())
