"""Any model and any loss as an algorithm of the sparse loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from physai_ros.training.algorithm import Algorithm, Lesson
from physai_ros.training.loader_pool import Inputs, Sample

Criterion = Callable[[object, torch.Tensor], torch.Tensor]
"""Returns the loss (b, ...) of a model's outputs and the targets, not reduced over the samples."""


def action_error(outputs: object, target: torch.Tensor) -> torch.Tensor:
    """Huber loss (b, ...) of actions; of a policy's ensemble every member is compared with the target."""
    actions = getattr(outputs, "actions", outputs)
    if actions.ndim == target.ndim + 1:
        target = target[:, None].expand_as(actions)
    return functional.huber_loss(actions, target, reduction="none", delta=0.5)


class Supervised(Algorithm[Sample]):
    """Descends a criterion; the model's outputs, or their field `features`, tell how novel a sample is.

    `spread` is the standard deviation between the members where the outputs are those of an ensemble.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, learning_rate: float) -> None:
        self.network = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        self._criterion = criterion

    def update(self, batch: Sample, weights: np.ndarray, *, signals: bool = False) -> Lesson:
        """One step of the optimiser."""
        inputs, target = batch
        self.network.train()
        outputs = self._outputs(inputs)
        losses = self._per_sample(outputs, target)
        loss = (losses * torch.from_numpy(weights).to(losses)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return Lesson(
            loss=loss.item(),
            value_loss=math.nan,
            sample_losses=losses.detach().cpu().numpy(),
            spread=_spread(outputs) if signals else None,
            features=_features(outputs) if signals else None,
            forward=len(losses),
        )

    def losses(self, batch: Sample) -> np.ndarray:
        """Loss (b,) of every sample, with the model as it acts: without dropout, batch statistics untouched."""
        self.network.eval()
        with torch.no_grad():
            return self._per_sample(self._outputs(batch[0]), batch[1]).cpu().numpy()

    def feature_size(self, batch: Sample) -> int:
        """Length of what tells how novel a sample is."""
        self.network.eval()
        with torch.no_grad():
            return _features(self._outputs(batch[0])).shape[1]

    def _outputs(self, inputs: Inputs) -> object:
        return self.network(**inputs) if isinstance(inputs, Mapping) else self.network(inputs)

    def _per_sample(self, outputs: object, target: torch.Tensor) -> torch.Tensor:
        losses = self._criterion(outputs, target)
        if losses.ndim == 0 or len(losses) != len(target):
            raise ValueError(
                f"the criterion gave a loss of shape {tuple(losses.shape)} for {len(target)} samples, expected one "
                'loss a sample: use reduction="none"'
            )
        return losses.reshape(len(losses), -1).mean(dim=1)


def _features(outputs: object) -> np.ndarray:
    features = getattr(outputs, "features", outputs).detach()
    return features.reshape(len(features), -1).float().cpu().numpy()


def _spread(outputs: object) -> np.ndarray | None:
    actions = getattr(outputs, "actions", None)
    if actions is None or actions.ndim < 3:
        return None
    return actions.detach().std(dim=1, correction=0).flatten(1).mean(dim=1).cpu().numpy()
