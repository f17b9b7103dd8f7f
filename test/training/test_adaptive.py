"""The trainer for anybody's model and loader: it learns, counts, leaves out what is broken, and tells what it took."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from physai_ros.training.adaptive import AdaptiveSparseTrainer
from physai_ros.training.loop import SparseLoop
from physai_ros.training.robot_manipulation import train_robot_manipulation
from physai_ros.training.trainer import SparseTrainer


def loader(count: int, seed: int, spoil=lambda _inputs, _targets: None):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    targets = torch.tanh(inputs[:, :2] + 0.5 * inputs[:, 2:4] ** 2)
    spoil(inputs, targets)
    return DataLoader(TensorDataset(inputs, targets), batch_size=32)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 64), nn.LayerNorm(64), nn.SiLU(), nn.Linear(64, 2))


CONFIG = {
    "lr": 3e-3,
    "target_activation_rate": 0.1,
    "significance_config": {"w_learning": 0.2, "w_difficulty": 0.5, "w_novelty": 0.1, "w_physical": 0.0},
    "use_proxy_model": True,
}


def test_it_learns_from_a_tenth_of_what_it_is_offered_and_says_what_it_took():
    trainer = AdaptiveSparseTrainer(model(), loader(4000, 0), loader(400, 1), "vector", "cpu", CONFIG)
    before = trainer.validate()
    told = trainer.train(epochs=20)
    assert told["epochs"][-1].validation_loss < 0.3 * before
    assert told["samples_offered"] >= 20 * 4000
    assert told["epochs"][-1].activation_rate == pytest.approx(0.1, abs=0.02)
    assert told["samples_backward"] <= told["samples_forward"]
    assert 0.0 < told["selection_seconds"] < told["cpu_seconds"]
    assert told["total_training_time"] > 0.0
    dense = told["seconds_per_trained_sample"] * told["samples_offered"]
    assert told["time_saved"] == pytest.approx(1.0 - told["cpu_seconds"] / dense)


@pytest.mark.parametrize("sampler", ["uniform", "infobatch", "prioritized"])
def test_an_epoch_offers_each_sample_about_once_whatever_the_sampler(sampler):
    trainer = AdaptiveSparseTrainer(model(), loader(640, 0), loader(50, 1), "vector", "cpu", {"sampler": sampler})
    trainer.train(4)
    assert 4 * 640 <= trainer.counters.offered < 4 * 640 + 4 * 64
    assert trainer.counters.updates >= 4 * 640 / 2 / 32


def test_trials_judge_the_model_as_it_acts():
    layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 2))
    trainer = AdaptiveSparseTrainer(layers, loader(200, 0), loader(100, 1), "vector", "cpu", CONFIG)
    before = layers[1].running_mean.clone()
    assert trainer.validate() == trainer.validate()
    assert torch.equal(layers[1].running_mean, before)


def test_it_is_the_same_mechanism_as_on_the_robot(builder, demonstrations):
    rows = builder.build(demonstrations[0])
    robot = SparseTrainer(rows.observations.shape[1], rows.actions.shape[2])
    mine = AdaptiveSparseTrainer(model(), loader(100, 0), loader(50, 1), "vector")
    assert type(mine.loop) is type(robot.loop) is SparseLoop
    assert type(mine.loop.control) is type(robot.loop.control)


def test_the_same_seed_gives_the_same_weights():
    trained = []
    for _ in range(2):
        network = model()
        AdaptiveSparseTrainer(network, loader(500, 0), loader(50, 1), "vector", "cpu", CONFIG).train(2)
        trained.append(network.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_a_broken_sample_is_named_and_training_goes_on():
    def spoil(inputs, _targets) -> None:
        inputs[7] = torch.nan

    trainer = AdaptiveSparseTrainer(model(), loader(200, 0, spoil), loader(50, 1), "vector", "cpu", CONFIG)
    told = trainer.train(40)  # enough for every sample to be met
    assert told["quarantined"] == ["training sample 7: it holds numbers that are not finite"]
    assert np.isfinite(told["epochs"][-1].validation_loss)


class Ragged(TensorDataset):
    """A data set with one sample of another shape."""

    def __getitem__(self, index) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, target = super().__getitem__(index)
        return (inputs[:-1] if index == 3 else inputs), target


def test_a_sample_of_another_shape_is_named_and_training_goes_on():
    plain = loader(100, 0).dataset.tensors
    trainer = AdaptiveSparseTrainer(
        model(), DataLoader(Ragged(*plain), batch_size=32), loader(50, 1), "vector", "cpu", CONFIG
    )
    trainer.train(40)
    assert trainer.quarantined == ["training sample 3: it has shapes ((5,), (2,)), expected ((6,), (2,))"]


def test_images_of_bytes_are_given_to_the_model_as_numbers_up_to_one():
    seen = []

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(12, 2)

        def forward(self, images) -> torch.Tensor:
            seen.append(float(images.max()))
            return self.head(images.flatten(1))

    images = torch.randint(200, 256, (64, 2, 2, 3), dtype=torch.uint8)
    data = DataLoader(TensorDataset(images, torch.zeros(64, 2)), batch_size=8)
    AdaptiveSparseTrainer(Looking(), data, data, "vision", "cpu", CONFIG).update()
    assert seen and max(seen) <= 1.0


def test_a_reduced_criterion_is_refused_in_words():
    config = CONFIG | {"criterion": nn.functional.mse_loss}
    trainer = AdaptiveSparseTrainer(model(), loader(100, 0), loader(50, 1), "vector", "cpu", config)
    with pytest.raises(ValueError, match='reduction="none"'):
        trainer.update()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"modality": "smell"}, "expected one of robot, vision, vector"),
        ({"config": {"learning_rate": 1.0}}, "unknown keys learning_rate; known are lr"),
        ({"config": {"sampler": "best"}}, "there is no sampler 'best'"),
    ],
)
def test_what_it_cannot_do_is_refused_in_words(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        AdaptiveSparseTrainer(model(), loader(10, 0), loader(10, 1), **arguments)


def test_the_example_trains_a_policy_for_a_manipulator(builder, demonstrations):
    network, told = train_robot_manipulation(demonstrations, builder, epochs=30)
    first, last = told["epochs"][0], told["epochs"][-1]
    assert last.validation_loss < 0.5 * first.validation_loss
    assert told["quarantined"] == []
    rows = builder.build(demonstrations[0])
    with torch.inference_mode():
        predicted = network(torch.from_numpy(rows.observations)).actions.mean(dim=1).numpy()
    assert np.abs(predicted - rows.actions).mean() < np.abs(rows.actions).mean()
