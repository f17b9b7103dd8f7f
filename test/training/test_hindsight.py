"""Failures under the goals that they achieved: the task's own test is the judge, and what was done stays as it was."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.safety.command import CommandSource
from physai_ros.tasks.catalog import load_task
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.hindsight import achieved_goals
from physai_ros.training.trainer import SparseTrainer


def missed(episode: Episode, by: float = 0.1) -> Episode:
    """The episode as if its goal had been elsewhere: it came to rest for half a second, but not there."""
    rest = 50
    series = {
        name: np.concatenate([column, column[-1:].repeat(rest, axis=0)]) for name, column in episode.series.items()
    }
    series["stamp"][-rest:] += 0.01 * np.arange(1, rest + 1)
    series["sequence"][-rest:] += np.arange(1, rest + 1, dtype=series["sequence"].dtype)
    goal = tuple(np.array(episode.context.goal) + [by, 0.0, 0.0])
    context = dataclasses.replace(episode.context, goal=goal, purpose=Purpose.TRAIN, episode_id="missed")
    outcome = dataclasses.replace(episode.outcome, success=False, failure_mode="timeout")
    return dataclasses.replace(episode, context=context, outcome=outcome, series=series)


@pytest.fixture(scope="session")
def seeing(rollout, task) -> TransitionBuilder:
    return TransitionBuilder(rollout.arm.kinematics, task, hindsight="final")


def test_a_miss_is_a_hit_of_where_it_ended(seeing, task, demonstrations):
    episode = demonstrations[0]
    found = achieved_goals(missed(episode), task, 1)
    assert len(found) == 1
    goal, last = found[0]
    np.testing.assert_allclose(goal, episode.series["ee_position"][-1], atol=0.01)
    again = seeing.build(missed(episode)).hindsight
    assert (again.success == 1.0).all()
    assert len(again) == -(-(last + 1) // 10)
    as_missed = seeing.build(missed(episode))
    np.testing.assert_array_equal(again.actions, as_missed.actions[: len(again)])
    changed = (again.observations != as_missed.observations[: len(again)]).any(axis=0)
    assert not changed[:30].any()  # of the arm it saw the same
    assert changed.any()  # and of the goal something else


def test_what_only_passed_by_or_never_moved_achieved_nothing(task, demonstrations):
    episode = missed(demonstrations[0])
    half = len(episode) // 2
    passing = dataclasses.replace(episode, series={name: column[:half] for name, column in episode.series.items()})
    assert achieved_goals(passing, task, 1) == []
    still = {name: np.repeat(column[:1], 300, axis=0) for name, column in episode.series.items()}
    still |= {"stamp": 0.01 * np.arange(300), "sequence": episode.context.start_sequence + np.arange(300)}
    assert achieved_goals(dataclasses.replace(episode, series=still), task, 4) == []


def test_a_success_is_not_relabelled_and_a_failure_only_where_asked(seeing, builder, demonstrations):
    assert seeing.build(demonstrations[0]).hindsight is None
    assert builder.build(missed(demonstrations[0])).hindsight is None


@pytest.fixture(scope="session")
def placing() -> Rollout:
    return Rollout(RobotSpec.load("fr3_sim"), load_task("pick_place"))


def test_a_cube_put_down_elsewhere_was_put_down_there_and_one_never_lifted_nowhere(placing):
    seed = scenario_seeds("warm_start", 0, 1)[0]
    episode = placing.run(scenario_of(placing.task, seed), seed, Purpose.DEMONSTRATE, episode_id="shown")
    assert episode.outcome.success
    ((goal, _),) = achieved_goals(missed(episode), placing.task, 1)
    np.testing.assert_allclose(goal[:2], episode.series["object_poses"][-1, 0, :2], atol=0.005)
    builder = TransitionBuilder(placing.arm.kinematics, placing.task, hindsight="future")
    assert (builder.build(missed(episode)).hindsight.success == 1.0).all()
    lifted = episode.series["object_poses"][:, 0, 2] > 0.03
    before = int(np.argmax(lifted)) - 10
    early = dataclasses.replace(episode, series={name: column[:before] for name, column in episode.series.items()})
    assert achieved_goals(missed(early), placing.task, 4) == []


def learner(builder, config, episodes, **changes: object) -> SparseTrainer:
    rows = [builder.build(episode) for episode in episodes]
    sizes = rows[0].observations.shape[1], rows[0].actions.shape[2]
    trainer = SparseTrainer(*sizes, dataclasses.replace(config, sampler="uniform", **changes))
    for number, each in enumerate(rows):
        trainer.add(each, str(number))
    return trainer


def own(episode: Episode, *, success: bool) -> Episode:
    """The episode as the policy's own."""
    source = np.full(len(episode), CommandSource.POLICY, dtype=np.uint8)
    context = dataclasses.replace(episode.context, purpose=Purpose.TRAIN, episode_id=f"own-{success}")
    outcome = dataclasses.replace(episode.outcome, success=success)
    return dataclasses.replace(
        episode, context=context, outcome=outcome, series=episode.series | {"command_source": source}
    )


def test_plain_imitation_leaves_failures_out_and_hindsight_takes_them_in(seeing, config, demonstrations):
    episodes = [demonstrations[0], missed(own(demonstrations[1], success=False))]
    plain, taught = (learner(seeing, config, episodes, hindsight=kind) for kind in ("off", "final"))
    for trainer in (plain, taught):
        for _ in range(30):
            trainer.update(1e-3)
    assert len(plain.hindsight) == 0
    assert taught.hindsight.ledger.visits.sum() > 0
    assert taught.hindsight.ledger.loss[taught.hindsight.ledger.visits > 0].max() < np.inf


def test_a_step_counts_by_what_it_brought_beyond_what_was_expected(seeing, config, demonstrations):
    """In the very same states the policy's own steps went one way where it won, the other way where it lost."""
    won, lost = own(demonstrations[0], success=True), own(demonstrations[0], success=False)
    lost.series = lost.series | {"action_ee_delta": -lost.series["action_ee_delta"]}
    episodes = [demonstrations[1], won, lost]
    rows = seeing.build(won)
    wanted = rows.actions[:, 0, :-1]
    moving = np.abs(wanted).max(axis=1) > 0.5
    assert moving.any()
    agreement = []
    for temperature in (0.2, 100.0):  # so high that all weigh alike
        changes = {"own_parts": 9.0, "observation_noise": 0.0}
        trainer = learner(seeing, config, episodes, advantage=temperature, **changes)
        for _ in range(300):
            trainer.update(3e-3)
        done = np.stack([each.actions[0, :-1] for each in map(_acting(trainer), rows.observations)])
        agreement.append((wanted * done)[moving].sum() / (wanted**2)[moving].sum())
    assert agreement[0] > 0.5
    assert agreement[1] < 0.35  # what won and what lost cancel out


def _acting(trainer: SparseTrainer):  # noqa: ANN202 a function
    from physai_ros.policy.acting import ActingNetwork

    return ActingNetwork(trainer.policy_network()).predict
