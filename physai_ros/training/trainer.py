"""The trainer: owns the samples, the optimiser and the averaged policy; data come in by the episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.config import TrainerConfig
from physai_ros.training.control import GateControl
from physai_ros.training.dataset import Transitions
from physai_ros.training.distributed import Ranks
from physai_ros.training.imitation import Imitation
from physai_ros.training.loop import Draws, Share, SparseLoop, TrainingCounters, UpdateStats
from physai_ros.training.pools import Batch, OutcomeBatch, SamplePool
from physai_ros.training.significance import NoveltyMemory

__all__ = ["SamplePool", "SparseTrainer", "TrainingCounters", "UpdateStats"]

_NORMALIZED_ON = 200_000  # samples of a pool; more would not move the statistics


class SparseTrainer:
    """Imitation of demonstrations and corrections, with the samples of every batch chosen by the configured sampler.

    Two pools, demonstrations and the operator's corrections, are drawn from in a fixed proportion, so that corrections
    are heard at once and the demonstrations are not forgotten. Everything random comes from one generator that is part
    of the checkpoint: a run that is resumed gives the result of a run that was not interrupted. `progress` holds counts
    of whoever drives the trainer; they are kept with it.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        config: TrainerConfig | None = None,
        *,
        ranks: Ranks | None = None,
    ) -> None:
        self.config = config or TrainerConfig()
        self.architecture = Architecture(
            observation_size, action_size, self.config.chunk_steps, self.config.hidden_sizes, self.config.members
        )
        self.generator = np.random.default_rng(self.config.seed)
        self.algorithm = Imitation(self.architecture, self.config, self.generator, ranks or Ranks())
        self.outcomes = ChunkedColumns()
        self.demonstrations = SamplePool(self.config, self.outcomes)
        self.corrections = SamplePool(self.config, self.outcomes)
        self.loop: SparseLoop[Batch] = SparseLoop(
            self.algorithm,
            self,
            self.generator,
            NoveltyMemory(self.config.hidden_sizes[-1], seed=self.config.seed),
            control_every=self.config.control_every if self.config.compares else 0,
        )
        self.episode_ids: list[str] = []
        self.progress: dict[str, int] = {}
        self._normalized = False

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def counters(self) -> TrainingCounters:
        """What training has cost so far."""
        return self.loop.counters

    @property
    def control(self) -> GateControl:
        """Whether the gate is in use, and why."""
        return self.loop.control

    @property
    def loss(self) -> float:
        """Loss, smoothed over the last updates; NaN before the first."""
        return self.loop.loss

    @property
    def ready(self) -> bool:
        """Whether there is anything to imitate."""
        return bool(len(self.demonstrations) or len(self.corrections))

    def add(self, transitions: Transitions, episode_id: str) -> int:
        """Take in one episode; returns how many of its policy steps can be imitated. An episode counts once.

        Raises:
            ValueError: observations or actions have another shape than the network.
        """
        if episode_id in self.episode_ids:
            return 0
        self._check(transitions)
        self.episode_ids.append(episode_id)
        if not len(transitions):
            return 0
        first = len(self.outcomes)
        self.outcomes.append({"observations": transitions.observations, "success": transitions.success})
        for pool, rows in (
            (self.demonstrations, transitions.imitable & transitions.demonstration),
            (self.corrections, transitions.imitable & ~transitions.demonstration),
        ):
            pool.append(transitions.select(rows), first + np.flatnonzero(rows), self.generator)
        return int(transitions.imitable.sum())

    def _check(self, transitions: Transitions) -> None:
        expected = (len(transitions), self.architecture.observation_size)
        if transitions.observations.shape != expected:
            raise ValueError(
                f"observations have shape {transitions.observations.shape}, the network expects {expected}"
            )
        chunk = (len(transitions), self.architecture.chunk_steps, self.architecture.action_size)
        if transitions.actions.shape != chunk:
            raise ValueError(f"actions have shape {transitions.actions.shape}, the network expects {chunk}")

    def update(self, learning_rate: float | None = None) -> UpdateStats:
        """One gradient update.

        Raises:
            RuntimeError: there is nothing to imitate yet.
        """
        if not self.ready:
            raise RuntimeError("there is nothing to imitate: add demonstrations or corrected episodes first")
        self.normalize()
        return self.loop.step(self._shares(), learning_rate or self.config.fine_learning_rate)

    def warm_start_rate(self, index: int, count: int) -> float:
        """Learning rate of update `index` of a warm start of `count` updates: a cosine from coarse to fine."""
        share = 0.5 * (1.0 + math.cos(math.pi * index / max(count, 1)))
        return self.config.fine_learning_rate + share * (self.config.learning_rate - self.config.fine_learning_rate)

    def policy_network(self) -> RobotPolicyNetwork:
        """A copy of the averaged weights: what acts."""
        network = RobotPolicyNetwork(self.architecture)
        network.load_state_dict(self.algorithm.average.state_dict())
        return network.eval().requires_grad_(False)

    def _shares(self) -> list[Share]:
        """How a batch is made up of the pools."""
        size = self.config.batch_size
        first, second = len(self.demonstrations), len(self.corrections)
        share = 1.0 if not second else (0.0 if not first else self.config.demonstration_share)
        demonstrations = round(share * size)
        return [(self.demonstrations, demonstrations), (self.corrections, size - demonstrations)]

    def assemble(self, draws: Draws) -> Batch:
        """The samples drawn, with outcomes of any episode for the value head."""
        batch = Batch.joined([pool.batch(draw.indices) for pool, draw in draws])
        if not self.config.outcome_batch:
            return batch
        rows = self.generator.integers(len(self.outcomes), size=self.config.outcome_batch)
        observations, success = (self.outcomes.gather(name, rows) for name in ("observations", "success"))
        return batch._replace(outcomes=OutcomeBatch(torch.from_numpy(observations), torch.from_numpy(success)))

    def held_out(self, pools: Sequence[SamplePool], most: int) -> Batch:
        """Up to `most` held-out samples of each pool."""
        return Batch.joined(
            [pool.batch(self.generator.permutation(pool.held_out_count)[:most], held_out=True) for pool in pools]
        )

    def normalize(self) -> None:
        """Fix the statistics, at the first update, on what is imitable by then, or an even selection of it."""
        if self._normalized:
            return
        steps = [
            pool.columns.gather("step", np.arange(0, len(pool), len(pool) // _NORMALIZED_ON + 1))
            for pool in (self.demonstrations, self.corrections)
            if len(pool)
        ]
        self.algorithm.set_normalization(self.outcomes.gather("observations", np.concatenate(steps)))
        self._normalized = True

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON values from which `from_state` makes the same trainer."""
        arrays = self.algorithm.weights()

        def put(prefix: str, values: dict[str, np.ndarray]) -> None:
            arrays.update({f"{prefix}.{name}": value for name, value in values.items()})

        for prefix, pool in (("demonstrations", self.demonstrations), ("corrections", self.corrections)):
            put(prefix, pool.state())
        put("outcomes", self.outcomes.state())
        put("novelty", self.loop.novelty.state())
        put("control", self.control.state())
        values = {
            "config": self.config.to_dict(),
            "architecture": self.architecture.to_dict(),
            "counters": asdict(self.counters),
            "episode_ids": self.episode_ids,
            "progress": self.progress,
            "loss": None if math.isnan(self.loss) else self.loss,
            "normalized": self._normalized,
            "generator": self.generator.bit_generator.state,
        }
        return arrays, values

    @classmethod
    def from_state(
        cls, arrays: dict[str, np.ndarray], values: dict[str, Any], *, ranks: Ranks | None = None
    ) -> SparseTrainer:
        """The trainer that `state` described."""

        def take(prefix: str) -> dict[str, np.ndarray]:
            start = f"{prefix}."
            return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}

        architecture = Architecture.from_dict(values["architecture"])
        config = TrainerConfig.from_dict(values["config"])
        trainer = cls(architecture.observation_size, architecture.action_size, config, ranks=ranks)
        trainer.algorithm.load_weights(arrays)
        for prefix, pool in (("demonstrations", trainer.demonstrations), ("corrections", trainer.corrections)):
            pool.restore(take(prefix))
        trainer.outcomes.restore(take("outcomes"))
        trainer.loop.novelty.restore(take("novelty"))
        trainer.control.restore(take("control"))
        trainer.loop.counters = TrainingCounters(**values["counters"])
        trainer.episode_ids = list(values["episode_ids"])
        trainer.progress = {str(name): int(count) for name, count in values["progress"].items()}
        trainer.loop.loss = math.nan if values["loss"] is None else float(values["loss"])
        trainer._normalized = bool(values["normalized"])
        trainer.generator.bit_generator.state = values["generator"]
        return trainer
