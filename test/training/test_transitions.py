"""What a critic learns from: rewards and ends stay where they belong, time running out is no end, borders hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.experience.episode import EpisodeOutcome, Purpose
from physai_ros.robot.command import CommandSource
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.training_data import TrainingData
from physai_ros.training.transitions import came_to_its_end, penalties, returns_over


def reference(rewards, step, known, terminal, horizon, discount, begin):
    """Reward, rows ahead, bootstrap and use of one row, read off the definition."""
    followed = [begin]
    while (
        len(followed) <= horizon
        and not terminal[followed[-1]]
        and followed[-1] + 1 < len(step)
        and step[followed[-1] + 1] == step[followed[-1]] + 1
    ):
        followed.append(followed[-1] + 1)
    ended = bool(terminal[followed[-1]]) and len(followed) <= horizon
    if not known[begin] or (len(followed) == 1 and not ended):
        return 0.0, 0, 0.0, 0.0
    counted = followed if ended else followed[:-1]
    total = sum(discount**k * rewards[row] for k, row in enumerate(counted))
    return total, followed[-1] - begin, 0.0 if ended else discount ** len(counted), 1.0


@st.composite
def episodes(draw):
    count = draw(st.integers(1, 12))
    step = np.cumsum(draw(st.lists(st.sampled_from([1, 1, 1, 2]), min_size=count, max_size=count)))
    rewards = np.array(draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count)))
    known = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    terminal = np.zeros(count, dtype=bool)
    terminal[-1] = draw(st.booleans())
    return rewards, step, known, terminal, draw(st.integers(1, 6)), draw(st.floats(0.5, 0.99))


@given(episodes())
def test_returns_are_those_of_the_definition(episode):
    rewards, step, known, terminal, horizon, discount = episode
    found = returns_over(rewards, step, known, terminal, horizon, discount)
    for row in range(len(step)):
        expected = reference(rewards, step, known, terminal, horizon, discount, row)
        given_back = found.reward[row], found.ahead[row], found.bootstrap[row], found.usable[row]
        if not known[row]:
            assert found.usable[row] == 0.0
        else:
            np.testing.assert_allclose(given_back, expected, atol=1e-6)


@given(episodes())
def test_nothing_is_asked_of_beyond_the_episode(episode):
    found = returns_over(*episode)
    assert (np.arange(len(found.ahead)) + found.ahead < len(found.ahead)).all()
    assert ((found.bootstrap > 0) <= (found.ahead > 0)).all()


def test_a_success_is_worth_less_the_longer_it_takes():
    terminal = np.array([False, False, False, True])
    found = returns_over(1.0 * terminal, np.arange(4), np.ones(4, dtype=bool), terminal, 3, 0.9)
    np.testing.assert_allclose(found.reward, [0.0, 0.81, 0.9, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found.bootstrap, [0.9**3, 0.0, 0.0, 0.0], rtol=1e-6)


def test_time_running_out_is_no_end():
    nothing = np.zeros(4, dtype=bool)
    found = returns_over(0.0 * nothing, np.arange(4), ~nothing, nothing, 3, 0.9)
    np.testing.assert_allclose(found.bootstrap, [0.9**3, 0.9**2, 0.9, 0.0], rtol=1e-6)
    assert found.usable.tolist() == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("reason", "outcome", "ended"),
    [
        ("outcome", EpisodeOutcome(True, 1.0, "none", evidence={"elapsed": 2.0}), True),
        ("outcome", EpisodeOutcome(False, 0.0, "collision", evidence={"elapsed": 2.0}), True),
        ("outcome", EpisodeOutcome(False, 0.0, "timeout", evidence={"elapsed": 6.0}), False),
        ("outcome", EpisodeOutcome(False, 0.0, "drop", evidence={"elapsed": 6.0}), False),
        ("timeout", EpisodeOutcome(False, 0.0, "timeout", evidence={"elapsed": 2.0}), False),
        ("operator", EpisodeOutcome(False, 0.0, "operator_abort", evidence={"elapsed": 2.0}), False),
        ("safety: force", EpisodeOutcome(False, 0.0, "safety_stop", evidence={"elapsed": 2.0}), True),
        ("label", EpisodeOutcome(False, 0.0, "unknown", evidence={"elapsed": 2.0}), True),
    ],
)
def test_what_is_an_end(demonstrations, task, reason, outcome, ended):
    context = dataclasses.replace(demonstrations[0].context, end_reason=reason)
    episode = dataclasses.replace(demonstrations[0], context=context, outcome=outcome)
    assert came_to_its_end(episode, task) == ended


def by_policy(episode, **columns: np.ndarray):
    """A training episode that the policy went through."""
    source = np.full(len(episode), CommandSource.POLICY, dtype=np.uint8)
    context = dataclasses.replace(episode.context, purpose=Purpose.TRAIN, episode_id="train-000")
    series = episode.series | {"command_source": source, "command_altered": np.zeros(len(episode), dtype=bool)}
    return dataclasses.replace(episode, context=context, series=series | columns)


def test_a_demonstration_is_judged_by_what_was_done_not_by_what_was_meant(builder, demonstrations):
    rows = builder.build(demonstrations[0])
    assert np.abs(rows.executed[:, :3] - rows.actions[:, 0, :3]).max() > 0.1
    # What was done in a step is what the next observation names as the action before.
    before = slice(5 + 6 + 2 + 6, 5 + 6 + 2 + 6 + 3)
    moved = rows.observations[1:, before]
    np.testing.assert_allclose(rows.executed[:-1, :3], np.clip(moved, -1, 1), atol=1e-5)


def test_a_step_that_was_permitted_as_proposed_is_the_proposal(builder, demonstrations):
    rows = builder.build(by_policy(demonstrations[0]))
    np.testing.assert_array_equal(rows.executed, rows.actions[:, 0])


def test_a_step_that_was_altered_is_what_was_left_of_it(builder, demonstrations):
    altered = np.zeros(len(demonstrations[0]), dtype=bool)
    altered[25] = True  # in the third policy step
    rows = builder.build(by_policy(demonstrations[0], command_altered=altered))
    as_driven = builder.build(demonstrations[0]).executed
    np.testing.assert_array_equal(rows.executed[2], as_driven[2])
    np.testing.assert_array_equal(np.delete(rows.executed, 2, axis=0), np.delete(rows.actions[:, 0], 2, axis=0))


def test_borders_of_episodes_hold_in_the_samples(builder, demonstrations, config):
    config = dataclasses.replace(config, objective="actor_critic", rl=ActorCriticConfig(horizon=5))
    made = [builder.build(episode) for episode in demonstrations]
    trainer_data = TrainingData(config, architecture_of(made[0], config))
    for number, rows in enumerate(made):
        trainer_data.add(rows, f"episode-{number}")
    outcomes = trainer_data.outcomes.columns
    everything = np.arange(len(outcomes))
    ahead, bootstrap = outcomes.gather("ahead", everything), outcomes.gather("bootstrap", everything)
    episode = np.repeat(np.arange(len(made)), [len(rows) for rows in made])
    assert (episode[everything + ahead] == episode).all()
    worth = config.rl.discount ** np.arange(4, -1, -1)
    for number, rows in enumerate(made):
        last = np.flatnonzero(episode == number)[-5:]
        assert rows.success[0] == 1.0
        assert (bootstrap[last] == 0.0).all()
        np.testing.assert_allclose(outcomes.gather("reward", last), worth, rtol=1e-5)


def architecture_of(rows, config):
    from physai_ros.policy.network import Architecture

    return Architecture(rows.observations.shape[1], rows.actions.shape[2], 1, config.hidden_sizes, config.members)


def test_penalties_cost_what_they_say():
    executed = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
    cost = penalties(executed, np.array([0.0, 0.0, 0.5]), force_weight=0.2, jerk_weight=0.1)
    np.testing.assert_allclose(cost, [0.0, 0.1, 0.1])
