"""The trainer of the `adaptive-sparse-training` package, made to run on a policy: a comparison, used by nothing else.

Its loop scores a whole batch by a forward pass, lets its gate choose, and trains on the batch with the rest masked out.
That is repeated here step by step with the gate of the package itself; its entropy term needs classes, so it is given
equal scores there, and its loss is the one our trainer uses. Package: adaptive-sparse-training 1.0.1 on PyPI.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from physai_ros.training.samplers import Draw
from physai_ros.training.trainer import SparseTrainer, UpdateStats


class PublishedTrainer(SparseTrainer):
    """Our network, loss, optimiser and average; the published selection and its masked step.

    Raises:
        ImportError: the package is not installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 those of the trainer
        from adaptive_sparse_training import ASTConfig, SundewAlgorithm

        super().__init__(*args, **kwargs)
        self._gate = SundewAlgorithm(ASTConfig(target_activation_rate=self.config.gate.target_activation_rate))

    def update(self, learning_rate: float | None = None) -> UpdateStats:
        """Score a batch, choose, and train on it with the others masked out."""
        started = time.process_time()
        if not self._normalized:
            self._normalize()
        pool = self.demonstrations
        draw = pool.sampler.draw_uniform(self.config.batch_size, self.generator)
        batch = pool.batch(draw.indices)
        with torch.no_grad():
            losses = self._imitation_loss(self.network(batch.observations), batch).mean(dim=1)
        mask, _ = self._gate.select_samples(losses, torch.zeros(len(losses), 2))
        self.counters.forward += len(losses)
        self.counters.selection_seconds += time.process_time() - started
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate if learning_rate is not None else self.config.fine_learning_rate
        chosen = int(mask.sum())
        weights = (mask.float() * len(mask) / chosen).numpy()
        _, _, loss, value_loss = self._step([(pool, Draw(draw.indices, weights, draw.offered))])
        self._follow()
        self.counters.updates += 1
        self.counters.offered += draw.offered
        self.counters.backward += chosen
        self.counters.cpu_seconds += time.process_time() - started
        self.loss = loss if math.isnan(self.loss) else self.loss + 0.02 * (loss - self.loss)
        return UpdateStats(loss, value_loss, draw.offered, chosen)
