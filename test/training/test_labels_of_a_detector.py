"""What a success detector says of an episode is learned from like what a person says."""

import dataclasses

import numpy as np
import pytest

from physai_ros.experience.annotations import Label
from physai_ros.experience.episode import EpisodeOutcome, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.robot.command import CommandSource
from physai_ros.training.trainer import SparseTrainer

DETECTOR = Label.of_detector(True, 0.01, "0123456789ab")


@pytest.fixture
def store(demonstrations, tmp_path):
    """An episode that the policy ran alone and that the task's test calls failed."""
    shown = demonstrations[0]
    episode = dataclasses.replace(
        shown,
        context=dataclasses.replace(shown.context, episode_id="own", purpose=Purpose.TRAIN, policy_version="000001"),
        outcome=EpisodeOutcome(False, 0.0, "timeout", "reach", dict(shown.outcome.evidence), shown.outcome.stamp),
        series=shown.series | {"command_source": np.full(len(shown), CommandSource.POLICY, dtype=np.uint8)},
    )
    store = EpisodeStore(tmp_path)
    store.write(episode)
    return store


def test_a_detectors_word_is_heard_as_a_persons(store, builder):
    assert not builder.build(store.read("own")).success.any()
    told = {}
    for name, label in (("detector", DETECTOR), ("person", Label.parse("success"))):
        store.annotations.label("own", label)
        told[name] = builder.build(store.read("own")).columns()
    assert told["detector"]["success"].all() and told["detector"]["terminal"][-1]
    for column, values in told["person"].items():
        np.testing.assert_array_equal(told["detector"][column], values, err_msg=column)


@pytest.mark.parametrize("label", [None, DETECTOR, dataclasses.replace(DETECTOR, reward=-1.0)])
def test_an_own_success_by_a_detector_is_imitated_and_a_failure_is_not(store, builder, demonstrations, config, label):
    store.annotations.label("own", label)
    shown, own = builder.build(demonstrations[1]), builder.build(store.read("own"))
    recipe = dataclasses.replace(config, objective="rl", sampler="uniform")
    trainer = SparseTrainer(shown.observations.shape[1], shown.actions.shape[2], recipe)
    trainer.add(shown, "demonstration")
    trainer.add(own, "own")
    assert bool(len(trainer.own)) == (label is not None and label.success)
