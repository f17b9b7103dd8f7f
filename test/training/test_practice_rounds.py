"""Demonstrations that come by the round: taken in together, followed by their updates and by a candidate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.robot.command import CommandSource
from physai_ros.training.background import BackgroundTraining, TrainingFolders
from physai_ros.training.config import TrainerConfig


@pytest.fixture
def recipe(config) -> TrainerConfig:
    return dataclasses.replace(config, updates_per_practice=7)


@pytest.fixture
def folders(tmp_path, demonstrations) -> TrainingFolders:
    EpisodeStore(tmp_path / "store").write(demonstrations[0])
    return TrainingFolders(
        tmp_path / "store", tmp_path / "registry", tmp_path / "trainer.safetensors", tmp_path / "practice"
    )


def put(folder: Path, episodes: list[Episode]) -> None:
    store = EpisodeStore(folder)
    for episode in episodes:
        store.write(episode)


def own(episode: Episode) -> Episode:
    """A training episode of the policy's own."""
    context = dataclasses.replace(episode.context, purpose=Purpose.TRAIN, episode_id="train-000")
    series = episode.series | {"command_source": np.full(len(episode), CommandSource.POLICY, dtype=np.uint8)}
    return dataclasses.replace(episode, context=context, series=series)


def done(training: BackgroundTraining) -> BackgroundTraining:
    training.reconcile()
    while training.busy:
        training.work(1.0)
    return training


def test_a_round_is_learned_from_at_once_and_offered(builder, demonstrations, task, recipe, folders):
    offered = []
    training = BackgroundTraining(folders, task, builder, recipe, candidate_every=100, on_candidate=offered.append)
    assert done(training).trainer.counters.updates == recipe.warm_start_updates
    assert [manifest.version for manifest in offered] == ["000001"]  # the first, since there was none

    put(folders.practice / "after-1", demonstrations[1:3])
    assert done(training).trainer.counters.updates == recipe.warm_start_updates + 2 * 7
    assert [manifest.version for manifest in offered] == ["000001", "000002"]
    assert len(training.trainer.demonstrations) > 0 and len(training.trainer.episode_ids) == 3

    put(folders.store, [own(demonstrations[3])])
    done(training)
    assert len(offered) == 2  # an own episode waits for its turn
    assert training.trainer.counters.updates == recipe.warm_start_updates + 2 * 7 + recipe.updates_per_episode


def test_a_round_that_is_being_made_is_not_looked_at(builder, demonstrations, task, recipe, folders):
    training = BackgroundTraining(folders, task, builder, recipe)
    put(folders.practice / ".after-1", demonstrations[1:3])
    assert len(done(training).trainer.episode_ids) == 1
    (folders.practice / ".after-1").rename(folders.practice / "after-1")
    assert len(done(training).trainer.episode_ids) == 3


def test_after_a_restart_nothing_of_a_round_is_counted_twice(builder, demonstrations, task, recipe, folders):
    put(folders.practice / "after-1", demonstrations[1:3])
    training = done(BackgroundTraining(folders, task, builder, recipe))
    updates, samples = training.trainer.counters.updates, training.trainer.signatures()
    training.trainer.replay.clear()  # so that samples are made again from the episodes of both stores
    training.close()
    again = done(BackgroundTraining(folders, task, builder, recipe))
    assert again.trainer.counters.updates == updates == recipe.warm_start_updates + 2 * 7
    assert again.trainer.signatures() == samples
    again.close()


def test_without_practice_rounds_are_passed_over(builder, demonstrations, task, recipe, folders):
    put(folders.practice / "after-1", demonstrations[1:3])
    training = BackgroundTraining(dataclasses.replace(folders, practice=None), task, builder, recipe)
    assert len(done(training).trainer.episode_ids) == 1
