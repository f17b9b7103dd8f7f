"""From an episode to samples: what the policy saw is what is learned from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physai_ros.experience.episode import Purpose
from physai_ros.policy.acting import ActingNetwork
from physai_ros.policy.network import Architecture, Prediction, RobotPolicyNetwork
from physai_ros.safety.command import CommandSource
from physai_ros.training.dataset import EpisodeUnusable, TransitionBuilder
from physai_ros.training.robot_data import create_robot_dataloader


class Recording:
    """An untrained policy that remembers what it saw and did."""

    version = "000001"

    def __init__(self, size: int, action_size: int) -> None:
        self.network = ActingNetwork(RobotPolicyNetwork(Architecture(size, action_size), seed=3))
        self.seen: list[np.ndarray] = []
        self.done: list[np.ndarray] = []

    def predict(self, observation: np.ndarray) -> Prediction:
        """Prediction of the untrained network."""
        prediction = self.network.predict(observation)
        self.seen.append(observation)
        self.done.append(prediction.actions[0])
        return prediction


def changed(episode, **columns: np.ndarray):
    """The episode with other columns."""
    return dataclasses.replace(episode, series=episode.series | columns)


def test_a_recording_gives_the_observations_that_the_policy_saw(rollout, task, builder, demonstrations):
    size = builder.build(demonstrations[0]).observations.shape[1]
    policy = Recording(size, len(task.action_axes) + 1)
    rollout.runtime.policy = policy
    episode = rollout.run(task.sample_scenario(np.random.default_rng(0)), 5, Purpose.TRAIN, episode_id="own")
    transitions = builder.build(episode)
    np.testing.assert_array_equal(transitions.observations, np.array(policy.seen))
    np.testing.assert_allclose(transitions.actions[:, 0, :-1], np.array(policy.done)[:, :-1], atol=1e-6)
    assert not transitions.imitable.any()  # its own steps are kept with their outcome, not imitated


def test_demonstrations_are_imitated_where_they_succeeded(builder, demonstrations):
    episode = demonstrations[0]
    transitions = builder.build(episode)
    assert transitions.imitable.all()
    assert transitions.demonstration.all()
    assert len(transitions) == -(-len(episode) // 10)
    failed = dataclasses.replace(episode, outcome=dataclasses.replace(episode.outcome, success=False))
    assert not builder.build(failed).imitable.any()


def test_of_a_training_episode_the_operators_steps_are_imitated(builder, demonstrations):
    episode = demonstrations[0]
    source = np.full(len(episode), CommandSource.POLICY, dtype=np.uint8)
    source[60:] = CommandSource.OPERATOR
    context = dataclasses.replace(episode.context, purpose=Purpose.TRAIN)
    transitions = builder.build(changed(dataclasses.replace(episode, context=context), command_source=source))
    np.testing.assert_array_equal(transitions.imitable, np.arange(len(transitions)) >= 6)
    assert transitions.intervention_age[6] == 0.0
    assert np.isinf(transitions.intervention_age[:6]).all()


def test_bad_samples_are_named_and_left_out(builder, demonstrations):
    labels = demonstrations[0].series["action_ee_delta"].copy()
    labels[10:20] = np.nan
    labels[30:40] = 9.0
    transitions = builder.build(changed(demonstrations[0], action_ee_delta=labels))
    assert len(transitions) == len(builder.build(demonstrations[0])) - 2
    assert "step 1: the label is not finite" in transitions.quarantined[0]
    assert "step 3: the label is more than" in transitions.quarantined[1]
    assert np.isfinite(transitions.actions).all()
    assert np.isfinite(transitions.observations).all()


def test_lost_samples_leave_the_grid_where_it_was(builder, demonstrations):
    episode = demonstrations[0]
    kept = np.delete(np.arange(len(episode)), [10, 11, 25])
    thinned = builder.build(changed(episode, **{name: column[kept] for name, column in episode.series.items()}))
    whole = builder.build(episode)
    assert len(thinned) == len(whole)
    np.testing.assert_array_equal(thinned.observations[4:], whole.observations[4:])


@pytest.mark.parametrize(
    ("purpose", "name", "drop", "reason"),
    [
        (Purpose.EVALUATE, None, None, "evaluation"),
        (None, "pick_place", None, "expected 'reach'"),
        (None, None, "wrench", "lacks the columns wrench"),
    ],
)
def test_an_episode_that_must_not_be_learned_from_is_refused(builder, demonstrations, purpose, name, drop, reason):
    episode = demonstrations[0]
    context = dataclasses.replace(
        episode.context, purpose=purpose or episode.context.purpose, task=name or episode.context.task
    )
    series = {name: column for name, column in episode.series.items() if name != drop}
    with pytest.raises(EpisodeUnusable, match=reason):
        builder.build(dataclasses.replace(episode, context=context, series=series))


def test_a_loader_gives_whole_chunks_alone(rollout, task, demonstrations):
    builder = TransitionBuilder(rollout.arm.kinematics, task, chunk_steps=4)
    loader = create_robot_dataloader(demonstrations[:1], builder, batch_size=8)
    whole = builder.build(demonstrations[0])
    assert len(loader.dataset) == len(whole) - 3
    assert (loader.dataset.transitions.action_known == 1.0).all()


def test_a_label_that_is_no_intent_is_in_no_chunk(rollout, task, demonstrations):
    labels = demonstrations[0].series["action_ee_delta"].copy()
    labels[30:40] = 9.0
    builder = TransitionBuilder(rollout.arm.kinematics, task, chunk_steps=3)
    known = builder.build(changed(demonstrations[0], action_ee_delta=labels)).action_known
    np.testing.assert_array_equal(known[:3], [[1, 1, 1], [1, 1, 0], [1, 0, 1]])


def test_event_time_is_that_to_the_nearest_grasp_or_release_and_no_wrong_label_is_one(builder, demonstrations):
    rows = builder.build(demonstrations[0]).select(np.arange(12))
    rows.time_to_end = np.linspace(1.1, 0.0, 12).astype(np.float32)
    rows.actions[:, 0, -1] = [-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1]
    expected = [0.4, 0.3, 0.2, 0.1, 0.0, 0.1, 0.2, 0.1, 0.0, 0.1, 0.2, 0.3]
    assert np.allclose(rows.event_time, expected, atol=1e-6)
    rows.actions[[0, 11], 0, -1] = 0.9
    assert np.allclose(rows.event_time, expected, atol=1e-6)
    rows.actions[:, 0, -1] = -1
    rows.actions[3, 0, -1] = 0.9
    assert np.isinf(rows.event_time).all()
