"""The trainer of the `adaptive-sparse-training` package, made to run on a policy: a comparison, used by nothing else.

Its loop scores a whole batch by a forward pass, lets its gate choose, and trains on the batch with the rest masked out.
That is repeated here step by step with the gate of the package itself; its entropy term needs classes, so it is given
equal scores there, and its loss is the one our trainer uses. The package is on PyPI and no requirement of this one.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import torch

from physai_ros.training.trainer import SparseTrainer, UpdateStats

PACKAGE = "adaptive-sparse-training==1.0.1 tqdm"  # it imports the latter, and asks for it among much else


def is_installed() -> bool:
    """Whether the package is there, and what it imports."""
    return all(find_spec(name) is not None for name in ("adaptive_sparse_training", "tqdm"))


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
        self.normalize()
        pool = self.demonstrations
        draw = pool.sampler.draw_uniform(self.config.batch_size, self.generator)
        batch = self.assemble([(pool, draw)])
        losses = torch.from_numpy(self.algorithm.losses(batch))
        mask, _ = self._gate.select_samples(losses, torch.zeros(len(losses), 2))
        self.counters.selection_seconds += time.process_time() - started
        self.algorithm.set_learning_rate(learning_rate or self.config.fine_learning_rate)
        chosen = int(mask.sum())
        lesson = self.algorithm.update(batch, (mask.float() * len(mask) / chosen).numpy())
        self.counters.forward += len(losses) + lesson.forward
        self.algorithm.follow(self.counters.updates)
        seconds = time.process_time() - started
        return self.loop.count(lesson.loss, lesson.value_loss, draw.offered, chosen, seconds)
