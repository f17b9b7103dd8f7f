"""The seam between what is learned and what it is learned from: an algorithm takes batches, a trainer owns the data."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

BatchT = TypeVar("BatchT")


class Lesson(NamedTuple):
    """What one update found, measured before it changed the network.

    `loss` is the mean that was descended, `value_loss` NaN where no outcome was judged, `sample_losses` (b,) without
    weights; `spread` (b,) of the prediction and `features` (b, f) are None where nobody asked or the network has none;
    `forward` samples went through the network.
    """

    loss: float
    value_loss: float
    sample_losses: np.ndarray
    spread: np.ndarray | None
    features: np.ndarray | None
    forward: int


class Algorithm(ABC, Generic[BatchT]):
    """Owns a network and its optimiser; knows nothing of files, pools and samplers.

    The seam is that of LeRobot's `rl/algorithms/base.py`: `update(batch) -> stats` and the weights on this side, data
    and I/O on the trainer's.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer

    @abstractmethod
    def update(self, batch: BatchT, weights: np.ndarray, *, signals: bool = False) -> Lesson:
        """One step on b samples, each counted by its weight (b,); `signals` asks for spread and features."""

    @abstractmethod
    def losses(self, batch: BatchT) -> np.ndarray:
        """Loss (b,) of every sample, without a gradient."""

    def follow(self, updates: int) -> None:  # noqa: B027 (not every algorithm keeps an average)
        """Let what acts follow what learns, after update number `updates`."""

    def refresh(self, keep: float, seed: int) -> None:  # noqa: B027 (not every algorithm loses its suppleness)
        """Mix what learns with a fresh network of this seed, of which it becomes the share 1 - `keep`."""

    def hear(self, success: bool) -> None:  # noqa: B027 (imitation does not ask)
        """Take in how an episode ended that the policy went through alone."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """Take this rate from the next update on."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def snapshot(self) -> tuple[Any, ...]:
        """Copies of what `update` changes, for `restore`."""
        return copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        """Undo every update since the snapshot."""
        self.network.load_state_dict(snapshot[0])
        self.optimizer.load_state_dict(copy.deepcopy(snapshot[1]))
