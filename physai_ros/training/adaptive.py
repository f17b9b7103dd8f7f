"""`AdaptiveSparseTrainer`: Adaptive Sparse Training of any model on any loader, by the mechanism of `SparseTrainer`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from physai_ros.training.gate import GateConfig
from physai_ros.training.loader_pool import LoaderPool, Sample
from physai_ros.training.loop import Draws, SparseLoop, TrainingCounters, UpdateStats
from physai_ros.training.samplers import SAMPLERS
from physai_ros.training.significance import NoveltyMemory, SignificanceConfig
from physai_ros.training.supervised import Criterion, Supervised, action_error


@dataclass(frozen=True)
class AdaptiveConfig:
    """What `AdaptiveSparseTrainer` can be told.

    Attributes:
        lr: learning rate.
        target_activation_rate: share of the offered samples that get a gradient.
        criterion: loss (b, ...) of outputs and targets, not reduced over the samples.
        significance_config: weights `w_learning`, `w_difficulty`, `w_novelty`, `w_uncertainty`, `w_physical`.
        use_proxy_model: whether a cheap model guesses the loss of samples that were never visited.
        sampler: one of `SAMPLERS`.
        control_every: updates between two trials of the gate against uniform sampling; 0 never tries.
        seed: of the sampling.
    """

    lr: float = 1e-3
    target_activation_rate: float = 0.06
    criterion: Criterion = action_error
    significance_config: Mapping[str, float] = field(default_factory=dict)
    use_proxy_model: bool = True
    sampler: str = "ast"
    control_every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr}, expected above 0")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"there is no sampler '{self.sampler}'; there are {', '.join(SAMPLERS)}")

    @classmethod
    def read(cls, config: Mapping[str, Any] | AdaptiveConfig | None) -> AdaptiveConfig:
        """The configuration in a mapping of the names above.

        Raises:
            ValueError: a name is not known or a value out of range.
        """
        if isinstance(config, AdaptiveConfig):
            return config
        given = dict(config or {})
        unknown = sorted(set(given) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(cls.__dataclass_fields__)}")
        return cls(**given)


class Epoch(NamedTuple):
    """One epoch: mean losses of training and validation, and the share of the offered samples that were trained on."""

    loss: float
    validation_loss: float
    activation_rate: float


class AdaptiveSparseTrainer:
    """Trains a model on what a loader's data set holds, sample by sample as significance and gate choose.

    A sample is `(inputs, target)`; inputs are a tensor, or a mapping of tensors that become the model's keyword
    arguments. Samples are fetched by index from the loaders' data sets, batched by their `collate_fn`; their order and
    workers play no part. An epoch has ended when as many samples were offered as the data set holds.

    Raises:
        ValueError: the configuration is none, a data set has no length, or the modality is not known.
    """

    MODALITIES = ("robot", "vision", "vector")

    def __init__(
        self,
        model: nn.Module,
        train_loader: DataLoader[Sample],
        val_loader: DataLoader[Sample],
        modality: str = "robot",
        device: str | torch.device = "cpu",
        config: Mapping[str, Any] | AdaptiveConfig | None = None,
    ) -> None:
        if modality not in self.MODALITIES:
            raise ValueError(f"modality is '{modality}', expected one of {', '.join(self.MODALITIES)}")
        self.config = AdaptiveConfig.read(config)
        self.model = model.to(device)
        self._modality = modality
        self._device = torch.device(device)
        self._batch_size = train_loader.batch_size or 32
        significance = SignificanceConfig(**self.config.significance_config)
        gate = GateConfig(target_activation_rate=self.config.target_activation_rate)
        pool = LoaderPool(
            train_loader, val_loader, self.config.sampler, gate, significance, proxy=self.config.use_proxy_model
        )
        self._pool = pool
        self.generator = np.random.default_rng(self.config.seed)
        algorithm = Supervised(self.model, self.config.criterion, self.config.lr)
        features = algorithm.feature_size(self._on_device(pool.batch(np.zeros(2, dtype=int))))
        self.loop: SparseLoop[Sample] = SparseLoop(
            algorithm,
            self,
            self.generator,
            NoveltyMemory(features, seed=self.config.seed),
            control_every=self.config.control_every if self.config.sampler == "ast" else 0,
        )

    @property
    def counters(self) -> TrainingCounters:
        """What training has cost so far."""
        return self.loop.counters

    @property
    def quarantined(self) -> Sequence[str]:
        """Why samples were left out, one reason each."""
        return self._pool.quarantined

    def update(self) -> UpdateStats:
        """One gradient update."""
        return self.loop.step([(self._pool, self._batch_size)], self.config.lr)

    def train(self, epochs: int = 1) -> dict[str, Any]:
        """Train for `epochs`; what it took and brought.

        | key | meaning |
        |---|---|
        | `total_training_time` | wall-clock, validation included [s] |
        | `cpu_seconds`, `selection_seconds` | of the updates, and of choosing within them [s] |
        | `samples_offered`, `samples_forward`, `samples_backward`, `activation_rate` | counted |
        | `seconds_per_trained_sample` | measured: updates without selection, by samples trained on [s] |
        | `time_saved` | 1 - `cpu_seconds` over what the offered samples would have cost at that price |
        | `epochs` | an `Epoch` each |
        | `quarantined` | why samples were left out |

        `time_saved` compares with a dense pass over the same epochs. It says nothing of uniform sampling with fewer
        epochs, which saves as much: compare success at equal cost for that.
        """
        begun = time.monotonic()
        history = [self._epoch() for _ in range(epochs)]
        counters = self.counters
        price = (counters.cpu_seconds - counters.selection_seconds) / max(counters.backward, 1)
        dense = price * counters.offered
        return {
            "total_training_time": time.monotonic() - begun,
            "cpu_seconds": counters.cpu_seconds,
            "selection_seconds": counters.selection_seconds,
            "samples_offered": counters.offered,
            "samples_forward": counters.forward,
            "samples_backward": counters.backward,
            "activation_rate": counters.activation_rate,
            "seconds_per_trained_sample": price,
            "time_saved": 1.0 - counters.cpu_seconds / dense if dense else float("nan"),
            "epochs": history,
            "quarantined": list(self.quarantined),
        }

    def _epoch(self) -> Epoch:
        offered, backward, losses = self.counters.offered, self.counters.backward, []
        while self.counters.offered - offered < len(self._pool):
            losses.append(self.update().loss)
        rate = (self.counters.backward - backward) / (self.counters.offered - offered)
        return Epoch(float(np.nanmean(losses)), self.validate(), rate)

    def validate(self) -> float:
        """Mean loss of the validation loader's samples, with the model as it acts; NaN where there are none."""
        count = self._pool.held_out_count
        parts = [np.arange(begin, min(begin + 256, count)) for begin in range(0, count, 256)]
        losses = [self.loop.algorithm.losses(self._on_device(self._pool.held_out_batch(rows))) for rows in parts]
        return float(np.concatenate(losses).mean()) if losses else float("nan")

    def assemble(self, draws: Draws) -> Sample:
        """The samples drawn, on the device."""
        ((pool, draw),) = draws
        return self._on_device(self._pool.batch(draw.indices))

    def held_out(self, pools: Sequence[LoaderPool], most: int) -> Sample:
        """Up to `most` validation samples."""
        return self._on_device(self._pool.held_out_batch(self.generator.permutation(pools[0].held_out_count)[:most]))

    def _on_device(self, sample: Sample) -> Sample:
        inputs, target = sample
        if isinstance(inputs, Mapping):
            return {name: self._ready(value) for name, value in inputs.items()}, target.to(self._device)
        return self._ready(inputs), target.to(self._device)

    def _ready(self, values: torch.Tensor) -> torch.Tensor:
        """On the device; for the modality `vision`, images of bytes become numbers in 0 ... 1."""
        if self._modality == "vision" and values.dtype == torch.uint8:
            values = values.float() / 255.0
        return values.to(self._device)
