"""Reinforcement learning: gradients, bounds, and that neither demonstrations nor failures alone break it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from physai_ros.experience.episode import Purpose
from physai_ros.policy.exploration import Exploration
from physai_ros.policy.network import Architecture, Prediction
from physai_ros.policy.registry import weights_of
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.caution import Caution
from physai_ros.training.checkpoint import load_checkpoint, save_checkpoint
from physai_ros.training.config import TrainerConfig
from physai_ros.training.critic import CriticEnsemble, pessimistic
from physai_ros.training.dataset import Transitions
from physai_ros.training.trainer import SparseTrainer


@pytest.fixture
def recipe(config) -> TrainerConfig:
    """A recipe that is quick, and heeds its critics soon."""
    quick = ActorCriticConfig(critic_sizes=(32, 32), critics=3, head_start=10, critic_averaging=0.9)
    return dataclasses.replace(config, objective="actor_critic", rl=quick)


def own(rows: Transitions, *, success: bool, terminal: bool) -> Transitions:
    """The same steps as if the policy had done them, with another end."""
    count = len(rows)
    end = np.zeros(count, dtype=bool)
    end[-1] = terminal
    return dataclasses.replace(
        rows,
        own=np.ones(count, dtype=bool),
        imitable=np.zeros(count, dtype=bool),
        demonstration=np.zeros(count, dtype=bool),
        success=np.full(count, success, dtype=np.float32),
        terminal=end,
        actions=rows.executed[:, None].copy(),
    )


def trainer_of(recipe, builder, demonstrations) -> SparseTrainer:
    made = [builder.build(episode) for episode in demonstrations]
    trainer = SparseTrainer(made[0].observations.shape[1], made[0].actions.shape[2], recipe)
    for number, rows in enumerate(made):
        trainer.add(rows, f"demonstration-{number}")
    return trainer


def everything(trainer: SparseTrainer):
    return trainer.outcomes.sight(np.arange(len(trainer.outcomes)))


def test_the_gradient_of_the_critics_is_the_numerical_one():
    critics = CriticEnsemble(4, 2, (8, 8), 3).double()
    observations = torch.randn(5, 4, dtype=torch.float64)
    actions = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: torch.sigmoid(critics(observations, a)), (actions,))
    weights = tuple(critics.parameters())

    def entropy(*_weights: torch.Tensor) -> torch.Tensor:
        logits = critics(observations, actions.detach())
        return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, 0.3))

    assert torch.autograd.gradcheck(entropy, weights)


def test_members_are_perceptrons_of_their_own():
    critics = CriticEnsemble(4, 2, (8,), 3)
    observations, actions = torch.randn(5, 4), torch.randn(5, 2)
    together = critics(observations, actions)
    for member in range(3):
        hidden = torch.cat([observations, actions], dim=1) @ critics.weights[0][member] + critics.biases[0][member]
        hidden = functional.silu(functional.layer_norm(hidden, (8,)))
        alone = hidden @ critics.weights[1][member] + critics.biases[1][member]
        torch.testing.assert_close(together[member], alone[:, 0])
    assert (together[0] - together[1]).abs().min() > 1e-4


def test_the_pessimist_believes_the_least_of_those_asked():
    values = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.0, 0.0]])
    torch.testing.assert_close(pessimistic(values, torch.tensor([0, 1])), torch.tensor([0.1, 0.2]))


def test_values_stay_bounded_on_demonstrations_alone(recipe, builder, demonstrations):
    trainer = trainer_of(recipe, builder, demonstrations)
    for _ in range(300):
        trainer.update(1e-3)
    algorithm, sight = trainer.algorithm, everything(trainer)
    executed = torch.from_numpy(trainer.outcomes.columns.gather("executed", np.arange(len(trainer.outcomes))))
    with torch.no_grad():
        done = algorithm.value(sight, executed)
        unheard_of = algorithm.value(sight, torch.empty_like(executed).uniform_(-1.0, 1.0))
    assert not algorithm.heeds_critics
    assert 0.0 <= min(done.min(), unheard_of.min())
    assert max(done.max(), unheard_of.max()) <= 1.0
    # What is known of the steps: success after so many of them.
    left = np.concatenate([np.arange(len(builder.build(e)) - 1, -1, -1) for e in demonstrations])
    assert float((done - torch.from_numpy(recipe.rl.discount**left)).abs().mean()) < 0.15


def test_a_buffer_of_failures_only_leaves_the_actor_sane(recipe, builder, demonstrations):
    trainer = trainer_of(recipe, builder, demonstrations)
    for index in range(150):
        trainer.update(trainer.warm_start_rate(index, 150))
    before = imitation(trainer)
    for number, episode in enumerate(demonstrations):
        trainer.add(own(builder.build(episode), success=False, terminal=number % 2 == 0), f"failure-{number}")
    for _ in range(120):
        trainer.update()
    assert trainer.algorithm.heeds_critics
    assert imitation(trainer) < before + 0.02
    with torch.no_grad():
        actions = trainer.policy_network()(*everything(trainer)).actions
    assert torch.isfinite(actions).all()
    assert actions.abs().max() < 2.0


def imitation(trainer: SparseTrainer) -> float:
    """Loss of what acts on the demonstrations."""
    pool = trainer.demonstrations
    batch = pool.batch(np.arange(len(pool)))
    return trainer.algorithm.acting_loss(batch.sight, batch.actions, batch.known)


def test_it_learns_from_success_and_failure_what_imitation_cannot(recipe):
    acted = acted_on_a_bandit(recipe, residual_bound=2.0, fine=0.0, pessimism=0.0)
    assert 0.3 < float(acted[0]) < 0.7


def test_it_goes_no_further_from_what_was_taught_than_it_may_and_the_gripper_stays(recipe):
    for bound in (0.05, 0.15):
        acted = acted_on_a_bandit(recipe, residual_bound=bound)
        assert abs(float(acted[0])) < 1.3 * bound
        assert abs(float(acted[1]) - 1.0) < 0.1


def acted_on_a_bandit(recipe, **changes: float) -> torch.Tensor:
    """What is done in the end where demonstrations say 0 and success comes of 0.5 alone."""
    generator = np.random.default_rng(0)
    rl = dataclasses.replace(recipe.rl, loyalty_updates=100, greed=1.5, **changes)
    trainer = SparseTrainer(3, 2, dataclasses.replace(recipe, sampler="uniform", rl=rl))

    def step(action: float, *, demonstrated: bool) -> Transitions:
        done = np.array([[action, 1.0]], dtype=np.float32)
        yes, no, one = np.ones(1, dtype=bool), np.zeros(1, dtype=bool), np.ones(1, dtype=np.float32)
        success = one * (demonstrated or abs(action - 0.5) < 0.2)
        return Transitions(
            observations=generator.standard_normal((1, 3)).astype(np.float32),
            actions=done[:, None],
            action_known=one[:, None],
            imitable=yes if demonstrated else no,
            demonstration=yes if demonstrated else no,
            success=success,
            time_to_end=one,
            force_excess=0.0 * one,
            intervention_age=one * np.inf,
            own=no if demonstrated else yes,
            executed=done,
            terminal=yes,
        )

    for number in range(10):
        trainer.add(step(0.0, demonstrated=True), f"demonstration-{number}")
    for _ in range(200):
        trainer.update(3e-3)
    for number in range(200):
        trainer.add(step(generator.uniform(-1, 1), demonstrated=False), f"own-{number}")
    for _ in range(400):
        trainer.update(3e-3)
    seen = torch.from_numpy(generator.standard_normal((1000, 3), dtype=np.float32))
    with torch.no_grad():
        return trainer.policy_network()(seen).actions.mean(dim=(0, 1, 2))


def test_who_fails_more_often_than_by_imitation_returns_to_it():
    caution = Caution()
    for success in [True, False] * 10:
        caution.hear(success, followed=False)
    assert caution.imitation == 0.5
    failures = 0
    while not caution.retreated:
        caution.hear(False, followed=True)
        failures += 1
    assert 3 < failures < 12
    again = Caution()
    again.restore(caution.state())
    for either in (caution, again):
        either.hear(True, followed=True)
        assert either.retreated  # one success is no return
        for _ in range(10):
            either.hear(True, followed=True)
        assert not either.retreated


def test_retreat_gives_imitation_its_full_weight_back(recipe, builder, demonstrations):
    trainer = trainer_of(recipe, builder, demonstrations)
    rows = builder.build(demonstrations[0])
    for number in range(10):
        trainer.add(own(rows, success=True, terminal=True), f"success-{number}")
    for _ in range(30):
        trainer.update()
    algorithm = trainer.algorithm
    assert algorithm.heeds_critics
    assert algorithm.loyalty < 1.0
    for number in range(10):
        trainer.add(own(rows, success=False, terminal=False), f"failure-{number}")
    trainer.update()
    assert not algorithm.heeds_critics
    assert algorithm.loyalty == 1.0


def test_half_of_a_batch_is_the_policys_own_and_errors_are_remembered(recipe, builder, demonstrations):
    recipe = dataclasses.replace(recipe, sampler="uniform", batch_size=64)
    trainer = trainer_of(recipe, builder, demonstrations)
    trainer.add(own(builder.build(demonstrations[0]), success=False, terminal=False), "own")
    for _ in range(10):
        trainer.update()
    assert trainer.own.ledger.visits.sum() == trainer.demonstrations.ledger.visits.sum() == 320
    seen = trainer.own.ledger.visits > 0
    errors = trainer.own.ledger.loss[seen]
    assert ((errors >= 0.0) & (errors <= 1.0)).all()
    assert errors[-1] == 0.0  # cut off: nobody knows what followed


@pytest.mark.parametrize("sampler", ["ast", "prioritized"])
def test_it_goes_on_as_if_it_had_never_stopped(recipe, builder, demonstrations, tmp_path, sampler):
    recipe = dataclasses.replace(recipe, sampler=sampler)
    made = {f"demonstration-{n}": builder.build(e) for n, e in enumerate(demonstrations)}
    made["own"] = own(builder.build(demonstrations[0]), success=False, terminal=True)
    trainer = SparseTrainer(*(made["own"].observations.shape[1], made["own"].actions.shape[2]), recipe)
    for name, rows in made.items():
        trainer.add(rows, name)
    for _ in range(20):
        trainer.update()
    save_checkpoint(trainer, tmp_path / "trainer.safetensors")
    again = load_checkpoint(tmp_path / "trainer.safetensors", made.__getitem__)
    for either in (trainer, again):
        for _ in range(20):
            either.update()
    assert weights_of(again.policy_network()) == weights_of(trainer.policy_network())
    one, other = trainer.algorithm.weights(), again.algorithm.weights()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_trial_of_the_gate_undoes_what_it_did(recipe, builder, demonstrations):
    trainer = trainer_of(recipe, builder, demonstrations)
    trainer.update()
    before = trainer.algorithm.weights()
    kept = trainer.algorithm.snapshot()
    for _ in range(3):
        trainer.update()
    trainer.algorithm.restore(kept)
    trainer.algorithm.average.load_state_dict(
        {name.removeprefix("average."): torch.from_numpy(v) for name, v in before.items() if name.startswith("average")}
    )
    after = trainer.algorithm.weights()
    assert all(np.array_equal(after[n], v) for n, v in before.items() if not n.startswith(("asked", "average")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "luck"}, "there are bc, rl, actor_critic"),
        ({"hindsight": "final"}, "of the objective bc"),
        ({"rl": {"discount": 1.0}}, "below 1"),
        ({"rl": {"asked": 9}}, "at most the 4 critics"),
        ({"rl": {"critic_sizes": ()}}, "widths"),
    ],
)
def test_a_mistake_in_the_recipe_is_said(changes, said):
    def make() -> TrainerConfig:
        rl = ActorCriticConfig(**changes.get("rl", {}))
        return TrainerConfig(**({"objective": "actor_critic"} | changes | {"rl": rl}))

    with pytest.raises(ValueError, match=said):
        make()


def test_another_head_is_refused(recipe):
    with pytest.raises(ValueError, match="head 'point'"):
        SparseTrainer(0, 0, recipe, architecture=Architecture(4, 2, head="gaussian"))


def test_the_recipe_survives_its_file(recipe):
    assert TrainerConfig.from_dict(recipe.to_dict()) == recipe


@settings(deadline=None)
@given(st.integers(0, 2**20), st.floats(0.01, 0.5))
def test_exploration_is_a_function_of_the_episode_and_bounded(seed, spread):
    one, other = (Exploration.of_episode(spread, seed) for _ in range(2))
    for _ in range(5):
        decided = np.array([[0.9, -1.0, 0.0]])
        tried = one.disturbed(decided)
        np.testing.assert_array_equal(tried, other.disturbed(decided))
        assert (np.abs(tried) <= 1.0).all()


def test_exploration_has_the_spread_that_was_asked_for():
    exploration = Exploration(0.2, np.random.default_rng(0))
    tried = np.array([exploration.disturbed(np.zeros((1, 4)))[0] for _ in range(4000)])
    assert np.abs(tried.mean(axis=0)).max() < 0.02
    np.testing.assert_allclose(tried.std(axis=0), 0.2, atol=0.02)
    assert 0.4 < np.corrcoef(tried[1:, 0], tried[:-1, 0])[0, 1] < 0.6
    assert Exploration.of_episode(0.0, 1) is None


@settings(deadline=None)
@given(st.floats(0.0, 0.9), st.floats(0.05, 0.5))
def test_what_a_delicate_task_has_tried_is_in_proportion_to_what_was_decided(size, spread):
    decided = np.array([[size, 0.0, 0.0, 0.3]])
    steps = [
        Exploration.of_episode(spread, 5, delicate=delicate).disturbed(decided)[0] - decided[0]
        for delicate in (True, False)
    ]
    inside = np.abs(decided[0] + steps[1]) < 1.0
    np.testing.assert_allclose(steps[0][:3][inside[:3]], (size + 0.1) * steps[1][:3][inside[:3]], atol=1e-9)
    assert steps[0][3] == 0.0


class _Still:
    """A policy that would do nothing."""

    version = "still"

    def predict(self, _observation: np.ndarray) -> Prediction:
        return Prediction(np.zeros((1, 4)), 0.5, 0.0)


def test_what_the_policy_tried_is_what_is_learned_from(rollout, task, builder):
    scenario = task.sample_scenario(np.random.default_rng(0))
    rollout.runtime.policy = _Still()
    episode = rollout.run(scenario, 7, Purpose.TRAIN, exploration=0.3)
    rollout.runtime.policy = None
    rows = builder.build(episode)
    tried = Exploration.of_episode(0.3, 7)
    expected = np.array([tried.disturbed(np.zeros((1, 4)))[0] for _ in range(len(rows))])
    unaltered = ~np.logical_or.reduceat(episode.series["command_altered"], np.arange(0, len(episode), 10))
    assert unaltered.mean() > 0.8
    np.testing.assert_allclose(rows.executed[unaltered, :3], expected[unaltered, :3], atol=1e-6)
    assert rows.own.all()
