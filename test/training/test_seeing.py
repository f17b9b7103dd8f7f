"""Policies that see and that look back: from an episode's pictures to what acts, in memory and from disk."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from torch.utils.data import DataLoader

from physai_ros.policy.acting import ready_to_act
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.registry import weights_of
from physai_ros.training.checkpoint import load_checkpoint, save_checkpoint
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.robot_data import RobotDataset
from physai_ros.training.trainer import SparseTrainer

SENSES = EncoderShape.of_observation(task_features=2, action_axes=1, image=(12, 12, 3), features=32)
SIZE, STEPS = SENSES.vector_size, 24
CONFIG = TrainerConfig(batch_size=48, hidden_sizes=(32,), outcome_batch=8)


def episode(seed: int) -> Transitions:
    """Steps whose action is which half of the picture is bright; the vector says nothing of it."""
    generator = np.random.default_rng(seed)
    side, full = generator.choice([-1.0, 1.0], STEPS), np.ones(STEPS, dtype=np.float32)
    images = generator.integers(0, 100, (STEPS, 12, 12, 3), dtype=np.uint8)
    images[side < 0, :, :6] += 150
    images[side > 0, :, 6:] += 150
    observations = generator.normal(size=(STEPS, SIZE)).astype(np.float32)
    observations[:, SENSES.marks] = 1.0
    actions = np.stack([0.8 * side, full], axis=1).astype(np.float32)[:, None]
    return Transitions(
        observations, actions, full[:, None], full > 0, full > 0, full, full, 0 * full, full * np.inf, images=images
    )


def trainer(architecture: Architecture, replay: ReplayFolder | None = None, episodes: int = 8) -> SparseTrainer:
    made = SparseTrainer(SIZE, 2, CONFIG, architecture=architecture, replay=replay)
    for number in range(episodes):
        made.add(episode(number), str(number))
    return made


def test_what_is_only_in_the_picture_is_learned():
    seeing = trainer(Architecture(SIZE, 2, senses=SENSES))
    for _ in range(120):
        seeing.update(3e-3)
    acting, fresh = ready_to_act(seeing.policy_network()), episode(99)
    found = [acting.predict(*step).actions[0, 0] for step in zip(fresh.observations, fresh.images, strict=True)]
    assert np.mean(np.sign(found) == np.sign(fresh.actions[:, 0, 0])) > 0.9


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(SIZE, 2, senses=SENSES, head="gaussian"),
        Architecture(SIZE, 2, hidden_sizes=(16,), window=5, use_sparse_attention=True),
    ],
)
def test_from_disk_and_after_a_death_it_learns_the_same(tmp_path, architecture):
    whole, folder = trainer(architecture), ReplayFolder(tmp_path / "replay")
    broken = trainer(architecture, folder)
    for each in (whole, broken):
        for _ in range(3):
            each.update(1e-3)
    save_checkpoint(broken, tmp_path / "checkpoint")
    broken.update(1e-3)
    folder.close()
    folder = ReplayFolder(tmp_path / "replay")
    resumed = load_checkpoint(tmp_path / "checkpoint", replay=folder)
    for each in (whole, resumed):
        for _ in range(3):
            each.update(1e-3)
    assert weights_of(resumed.policy_network()) == weights_of(whole.policy_network())
    folder.close()


def test_pictures_that_were_lost_are_made_again_from_the_episodes(tmp_path):
    folder = ReplayFolder(tmp_path / "replay")
    seeing = trainer(Architecture(SIZE, 2, senses=SENSES), folder, episodes=2)
    seeing.update(1e-3)
    save_checkpoint(seeing, tmp_path / "checkpoint")
    folder.close()
    shutil.rmtree(tmp_path / "replay" / "images")
    folder = ReplayFolder(tmp_path / "replay")
    found = load_checkpoint(tmp_path / "checkpoint", lambda number: episode(int(number)), replay=folder)
    rows = np.arange(2 * STEPS)
    np.testing.assert_array_equal(found.outcomes.sight(rows).images.numpy(), seeing_images(2))
    folder.close()


def seeing_images(episodes: int) -> np.ndarray:
    return np.concatenate([episode(number).images for number in range(episodes)])


def test_an_episode_without_a_camera_is_learned_from_as_well():
    blind = episode(0)
    blind.images = None
    both = trainer(Architecture(SIZE, 2, senses=SENSES), episodes=1)
    both.add(blind, "blind")
    assert np.isfinite(both.update(1e-3).loss)
    assert not both.outcomes.sight(np.array([STEPS])).seen.any()


def test_pictures_of_another_size_are_refused_and_nothing_is_taken_in():
    seeing, large = trainer(Architecture(SIZE, 2, senses=SENSES), episodes=1), episode(1)
    large.images = np.zeros((STEPS, 24, 24, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"24, 24.*12, 12"):
        seeing.add(large, "large")
    assert len(seeing) == STEPS
    assert "large" not in seeing


def test_what_was_before_an_episode_is_unknown():
    looking = trainer(Architecture(SIZE, 2, hidden_sizes=(16,), window=4), episodes=2)
    windows = looking.outcomes.sight(np.array([0, 2, STEPS, STEPS + 5])).observations.numpy()
    assert np.isnan(windows).any(axis=2).sum(axis=1).tolist() == [3, 1, 3, 0]
    np.testing.assert_array_equal(windows[3, -1], episode(1).observations[5])


def test_a_loader_has_the_pictures_beside_the_observations():
    inputs, target = next(iter(DataLoader(RobotDataset([episode(0)]), batch_size=4)))
    output = RobotPolicyNetwork(Architecture(SIZE, 2, senses=SENSES))(**inputs)
    assert output.actions.shape == (4, 3, *target.shape[1:])
    blind = episode(1)
    blind.images = None
    assert set(RobotDataset([episode(0), blind])[0][0]) == {"observations"}
