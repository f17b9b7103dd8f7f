"""The trainer: it learns, counts what it does, and goes on after any death as if nothing had been."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.policy.registry import PolicyRegistry, weights_of
from physai_ros.safety.command import CommandSource
from physai_ros.training.background import BackgroundTraining, TrainingFolders
from physai_ros.training.checkpoint import CheckpointError, load_checkpoint, replay_folder, save_checkpoint
from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.samplers import SAMPLERS
from physai_ros.training.trainer import SparseTrainer


def corrected(episode, number: int):
    """A training episode in which an operator took over half-way."""
    source = np.full(len(episode), CommandSource.POLICY, dtype=np.uint8)
    source[len(episode) // 2 :] = CommandSource.OPERATOR
    context = dataclasses.replace(episode.context, purpose=Purpose.TRAIN, episode_id=f"train-{number:03d}")
    return dataclasses.replace(episode, context=context, series=episode.series | {"command_source": source})


def made(builder, episodes, config) -> SparseTrainer:
    transitions = [builder.build(episode) for episode in episodes]
    trainer = SparseTrainer(transitions[0].observations.shape[1], transitions[0].actions.shape[2], config)
    for episode, rows in zip(episodes, transitions, strict=True):
        trainer.add(rows, episode.context.episode_id)
    return trainer


def weights(trainer: SparseTrainer) -> bytes:
    return weights_of(trainer.policy_network())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_it_learns_and_counts(builder, demonstrations, config, sampler):
    config = dataclasses.replace(config, sampler=sampler)
    trainer = made(builder, demonstrations, config)
    first = trainer.update(1e-3).loss
    stats = [trainer.update(1e-3) for _ in range(150)]
    assert np.mean([s.loss for s in stats[-20:]]) < 0.5 * first
    counters = trainer.counters
    assert counters.updates == 151
    assert counters.backward <= counters.offered
    assert counters.backward <= counters.forward
    assert 0.0 < counters.selection_seconds < counters.cpu_seconds


def test_an_episode_counts_once(builder, demonstrations, config):
    trainer = made(builder, demonstrations, config)
    samples = len(trainer)
    assert trainer.add(builder.build(demonstrations[0]), demonstrations[0].context.episode_id) == 0
    assert len(trainer) == samples


def test_a_quarter_of_a_batch_is_demonstrations_once_there_are_corrections(builder, demonstrations, config):
    config = dataclasses.replace(config, sampler="uniform", batch_size=64)
    trainer = made(builder, [*demonstrations, corrected(demonstrations[0], 0)], config)
    for _ in range(10):
        trainer.update()
    assert trainer.demonstrations.ledger.visits.sum() == 10 * 16
    assert trainer.corrections.ledger.visits.sum() == 10 * 48


def test_rows_of_another_shape_are_refused(builder, demonstrations, config):
    trainer = made(builder, demonstrations, config)
    rows = builder.build(demonstrations[0])
    rows.observations = rows.observations[:, :-1]
    with pytest.raises(ValueError, match="the network expects"):
        trainer.add(rows, "other")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_resumed_run_gives_the_result_of_one_that_was_not_interrupted(
    builder, demonstrations, config, tmp_path, sampler
):
    config = dataclasses.replace(config, sampler=sampler)
    episodes = [*demonstrations, corrected(demonstrations[0], 0)]
    trainer = made(builder, episodes, config)
    for _ in range(12):
        trainer.update()
    save_checkpoint(trainer, tmp_path / "trainer.safetensors")
    by_id = {episode.context.episode_id: episode for episode in episodes}
    resumed = load_checkpoint(tmp_path / "trainer.safetensors", lambda key: builder.build(by_id[key]))
    late = builder.build(corrected(demonstrations[1], 1))
    for each in (trainer, resumed):
        each.add(late, "late")
        for _ in range(12):
            each.update()
    assert weights(trainer) == weights(resumed)
    assert trainer.counters.backward == resumed.counters.backward


def test_samples_on_disk_need_no_episodes_and_can_be_made_again(builder, demonstrations, config, tmp_path):
    path = tmp_path / "trainer.safetensors"
    replay = ReplayFolder(replay_folder(path))
    transitions = [builder.build(episode) for episode in demonstrations]
    trainer = SparseTrainer(
        transitions[0].observations.shape[1], transitions[0].actions.shape[2], config, replay=replay
    )
    by_id = dict(zip("abcd", transitions, strict=True))
    for key, rows in by_id.items():
        trainer.add(rows, key)
    for _ in range(12):
        trainer.update()
    save_checkpoint(trainer, path)
    with safe_open(path, framework="numpy") as file:
        sizes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    assert [len(trainer.outcomes), trainer.architecture.observation_size] not in sizes
    replay.close()
    results = []
    for damage in (False, True):
        replay = ReplayFolder(replay_folder(path))
        if damage:
            next((replay.folder / "outcomes").glob("observations.*")).unlink()
            with pytest.raises(CheckpointError, match="samples are gone"):
                load_checkpoint(path, replay=replay)
        resumed = load_checkpoint(path, by_id.__getitem__ if damage else None, replay=replay)
        for _ in range(12):
            resumed.update()
        results.append(weights(resumed))
        replay.close()
    for _ in range(12):
        trainer.update()
    assert results == [weights(trainer)] * 2


def test_episodes_that_were_changed_are_not_taken_for_those_that_were_trained_on(
    builder, demonstrations, config, tmp_path
):
    trainer = made(builder, demonstrations, config)
    trainer.update()
    save_checkpoint(trainer, tmp_path / "trainer.safetensors")
    with pytest.raises(CheckpointError, match="they were changed"):
        load_checkpoint(tmp_path / "trainer.safetensors", lambda _: builder.build(demonstrations[0]))


def test_weights_are_mixed_with_fresh_ones_when_episodes_came_and_as_much_as_is_said(
    builder, demonstrations, config, tmp_path
):
    due = [config.warm_start_updates + config.refresh_every * count for count in (1, 2, 3)]
    trainers = {
        keep: made(builder, demonstrations[:2], dataclasses.replace(config, refresh_keep=keep)) for keep in (1.0, 0.0)
    }
    untouched = made(builder, demonstrations[:2], dataclasses.replace(config, refresh_every=0))
    seen = []

    def watched(trainer: SparseTrainer) -> SparseTrainer:
        refresh = trainer.algorithm.refresh
        trainer.algorithm.refresh = lambda *given: (seen.append(trainer.counters.updates), refresh(*given))
        return trainer

    watched(trainers[0.0])
    for _ in range(due[0] + 1):
        for trainer in (*trainers.values(), untouched):
            trainer.update()
    assert not seen  # there was nothing new to learn
    trainers[0.0].add(builder.build(demonstrations[2]), "late")
    save_checkpoint(trainers[0.0], tmp_path / "trainer.safetensors")
    episodes = {episode.context.episode_id: episode for episode in demonstrations[:2]} | {"late": demonstrations[2]}
    resumed = load_checkpoint(tmp_path / "trainer.safetensors", lambda name: builder.build(episodes[name]))
    for trainer in (trainers[0.0], watched(resumed)):
        while trainer.counters.updates <= due[2]:
            trainer.update()
    assert seen == [due[1], due[1]]
    assert weights(trainers[0.0]) == weights(resumed)
    fresh = RobotPolicyNetwork(untouched.architecture, seed=7)
    untouched.algorithm.refresh(0.0, 7)
    for found, expected in zip(untouched.algorithm.network.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    before = [value.clone() for value in trainers[1.0].algorithm.network.parameters()]
    trainers[1.0].algorithm.refresh(0.75, 7)
    for found, old, new in zip(trainers[1.0].algorithm.network.parameters(), before, fresh.parameters(), strict=True):
        torch.testing.assert_close(found, 0.75 * old + 0.25 * new)


def test_an_episode_that_a_full_disk_refused_is_taken_in_later(builder, demonstrations, config, monkeypatch):
    trainer, whole = (made(builder, demonstrations[:2], config) for _ in range(2))
    late = builder.build(demonstrations[2])
    append = ChunkedColumns.append

    def full(self: ChunkedColumns, rows: dict) -> None:
        if self is trainer.demonstrations.held_out:
            raise OSError(28, "No space left on device")
        append(self, rows)

    with monkeypatch.context() as patched:
        patched.setattr(ChunkedColumns, "append", full)
        with pytest.raises(OSError, match="No space"):
            trainer.add(late, "late")
    assert "late" not in trainer
    for each in (trainer, whole):
        each.add(late, "late")
        for _ in range(8):
            each.update()
    assert trainer.signatures() == whole.signatures()
    assert weights(trainer) == weights(whole)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_checkpoint_that_is_none_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "trainer.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checkpoint"):
        load_checkpoint(path)


_CHILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
import torch
torch.set_num_threads(1)
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.training.background import BackgroundTraining, TrainingFolders
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
root, task = Path(sys.argv[1]), load_task("reach")
sizes = dict(batch_size=32, hidden_sizes=(32, 32))
config = TrainerConfig(warm_start_updates=20, updates_per_episode=10, refresh_every=25, **sizes)
folders = TrainingFolders(root / "store", root / "registry", root / "trainer.safetensors")
builder = TransitionBuilder(Kinematics(RobotSpec.load("fr3_sim")), task)
training = BackgroundTraining(folders, task, builder, config, candidate_every=2)
training.reconcile()
print("ready", flush=True)
while training.busy:
    training.work(0.005)
"""


def test_killed_at_any_moment_it_comes_to_the_same_result_and_counts_nothing_twice(
    builder, demonstrations, task, config, tmp_path
):
    torch.set_num_threads(1)
    store = EpisodeStore(tmp_path / "store")
    for episode in demonstrations:
        store.write(episode)
    for number in range(6):
        store.write(corrected(demonstrations[number % 4], number))
    calm = BackgroundTraining(
        TrainingFolders(tmp_path / "store", tmp_path / "registry-calm", tmp_path / "calm.safetensors"),
        task,
        builder,
        config,
        candidate_every=2,
    )
    calm.reconcile()
    while calm.busy:
        calm.work(1.0)
    arguments = [sys.executable, "-c", _CHILD, str(tmp_path), os.pathsep.join(p for p in sys.path if p)]
    for delay in (0.02, 0.15, None):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline().strip() == "ready"
            if delay is not None:
                time.sleep(delay)  # the moment of the kill, not a wait for anything
                child.send_signal(signal.SIGKILL)
    replay = ReplayFolder(replay_folder(tmp_path / "trainer.safetensors"))
    trainer = load_checkpoint(tmp_path / "trainer.safetensors", replay=replay)
    replay.close()
    assert trainer.counters.updates == calm.trainer.counters.updates == 20 + 6 * 10
    assert sorted(trainer.episode_ids) == sorted(calm.trainer.episode_ids)
    assert weights(trainer) == weights(calm.trainer)
    registries = PolicyRegistry(tmp_path / "registry"), PolicyRegistry(tmp_path / "registry-calm")
    hashes = [[registry.manifest(v).sha256 for v in registry.versions()] for registry in registries]
    assert hashes[0] == hashes[1]
    assert hashes[0][-1] == hashlib.sha256(weights(trainer)).hexdigest()


def test_what_cannot_be_learned_from_is_named_and_training_goes_on(builder, demonstrations, task, config, tmp_path):
    store = EpisodeStore(tmp_path / "store")
    store.write(demonstrations[0])
    (Path(store.episodes_folder) / "broken.mcap").write_bytes(b"no episode")
    context = dataclasses.replace(demonstrations[1].context, purpose=Purpose.EVALUATE, episode_id="evaluation")
    store.write(dataclasses.replace(demonstrations[1], context=context))
    training = BackgroundTraining(
        TrainingFolders(tmp_path / "store", tmp_path / "registry", tmp_path / "t.safetensors"), task, builder, config
    )
    training.reconcile()
    while training.busy:
        training.work(1.0)
    assert training.trainer.episode_ids == [demonstrations[0].context.episode_id]
    assert training.trainer.counters.updates == config.warm_start_updates
    assert any("broken" in reason for reason in training.quarantined)
    assert PolicyRegistry(tmp_path / "registry").versions() == ("000001",)


def test_a_state_that_a_full_disk_refused_is_saved_later(builder, demonstrations, task, config, tmp_path, monkeypatch):
    store = EpisodeStore(tmp_path / "store")
    for episode in demonstrations[:2]:
        store.write(episode)
    folders = TrainingFolders(tmp_path / "store", tmp_path / "registry", tmp_path / "t.safetensors")
    training = BackgroundTraining(folders, task, builder, config)
    training.reconcile()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("physai_ros.training.background.save_checkpoint", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                while training.busy:
                    training.work(1.0)
    assert training.busy
    while training.busy:
        training.work(1.0)
    assert training.trainer.counters.updates == config.warm_start_updates
    assert training.trainer.progress["episodes_trained"] == 1
    training.close()
    again = BackgroundTraining(folders, task, builder, config)
    assert again.trainer.counters.updates == config.warm_start_updates
    assert PolicyRegistry(tmp_path / "registry").versions() == ("000001",)
