"""The trainer: owns the samples, the optimiser and the averaged policy; data come in by the episode."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.training.actor_critic import ActorCritic
from physai_ros.training.config import TrainerConfig
from physai_ros.training.control import GateControl
from physai_ros.training.dataset import Transitions
from physai_ros.training.distributed import Ranks
from physai_ros.training.early_stop import EarlyStop
from physai_ros.training.imitation import Imitation
from physai_ros.training.loop import Draws, SparseLoop, TrainingCounters, UpdateStats
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.pools import Batch, SamplePool
from physai_ros.training.significance import NoveltyMemory
from physai_ros.training.training_data import TrainingData

__all__ = ["SamplePool", "SparseTrainer", "TrainingCounters", "UpdateStats"]


class SparseTrainer:
    """Learns from demonstrations, corrections and its own steps, the samples of a batch chosen by the sampler.

    The pools of `TrainingData` hold them. Everything random in training comes from one generator that is part of the
    state: a run that is resumed gives the result of one that was not interrupted. `progress` holds counts of whoever
    drives the trainer; they are kept with it.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        config: TrainerConfig | None = None,
        *,
        architecture: Architecture | None = None,
        ranks: Ranks | None = None,
        replay: ReplayFolder | None = None,
    ) -> None:
        """Take the sizes of a plain network, or the `architecture` of any other of these sizes."""
        self.config = config or TrainerConfig()
        self.architecture = architecture or Architecture(
            observation_size, action_size, self.config.chunk_steps, self.config.hidden_sizes, self.config.members
        )
        self.generator = np.random.default_rng(self.config.seed)
        self.ranks = ranks or Ranks()
        self.replay = replay
        objective = ActorCritic if self.config.objective == "actor_critic" else Imitation
        self.algorithm: Imitation = objective(self.architecture, self.config, self.generator, self.ranks)
        self.data = TrainingData(self.config, self.architecture, replay)
        self.outcomes, self.validation = self.data.outcomes, self.data.validation
        self.demonstrations, self.corrections = self.data.demonstrations, self.data.corrections
        self.own, self.hindsight = self.data.own, self.data.hindsight
        self.early_stop = EarlyStop(self.config.patience)
        self.loop: SparseLoop[Batch] = SparseLoop(
            self.algorithm,
            self,
            self.generator,
            NoveltyMemory(self.algorithm.network.value_head.in_features, seed=self.config.seed),
            control_every=self.config.control_every if self.config.compares else 0,
        )
        self.progress: dict[str, int] = {}
        self._best: dict[str, np.ndarray] = {}
        self._normalized = False
        self._refreshed_with = -1

    def __len__(self) -> int:
        return len(self.outcomes)

    def __contains__(self, episode_id: str) -> bool:
        return episode_id in self.data

    @property
    def episode_ids(self) -> list[str]:
        """Episodes that were taken in, in their order."""
        return self.data.episode_ids

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
        return self.data.ready

    def add(self, transitions: Transitions, episode_id: str) -> int:
        """Take in one episode, as `TrainingData.add` says; returns how many of its policy steps can be imitated."""
        known = episode_id in self
        imitable = self.data.add(transitions, episode_id)
        if not known and transitions.own.any() and not imitable:
            self.algorithm.hear(bool(transitions.success[0]))
        return imitable

    def update(self, learning_rate: float | None = None) -> UpdateStats:
        """One gradient update.

        Raises:
            RuntimeError: there is nothing to imitate yet.
        """
        if not self.ready:
            raise RuntimeError("there is nothing to imitate: add demonstrations or corrected episodes first")
        self.normalize()
        self._refresh_if_due()
        return self.loop.step(self.data.shares(), learning_rate or self.config.fine_learning_rate)

    def _refresh_if_due(self) -> None:
        """Mix fresh weights in, where episodes came since that was done last, or since the first update."""
        known = len(self.episode_ids)
        if self._refreshed_with < 0:
            self._refreshed_with = known
        if known > self._refreshed_with and self.config.refreshes_after(self.counters.updates):
            self.algorithm.refresh(self.config.refresh_keep, int(self.generator.integers(2**31)))
            self._refreshed_with = known

    def warm_start_rate(self, index: int, count: int) -> float:
        """Learning rate of update `index` of a warm start of `count` updates: a cosine from coarse to fine."""
        share = 0.5 * (1.0 + math.cos(math.pi * index / max(count, 1)))
        return self.config.fine_learning_rate + share * (self.config.learning_rate - self.config.fine_learning_rate)

    def check(self) -> float:
        """Judge what acts on the held-out episodes, for `early_stop`; returns their loss, NaN where there are none."""
        loss = self.data.validation_loss(self.algorithm.acting_loss)
        if self.early_stop.judge(self.counters.updates, loss):
            average = self.algorithm.average.state_dict()
            self._best = {name: value.numpy().copy() for name, value in average.items()}
        return loss

    def policy_network(self) -> RobotPolicyNetwork:
        """A copy of the averaged weights, what acts: the last, or where held-out episodes are judged, the best."""
        network = RobotPolicyNetwork(self.architecture)
        best = {name: torch.from_numpy(value) for name, value in self._best.items()}
        network.load_state_dict(best or self.algorithm.average.state_dict())
        return network.eval().requires_grad_(False)

    def assemble(self, draws: Draws) -> Batch:
        """The samples drawn, with outcomes of any episode for the value head."""
        batch = Batch.joined([pool.batch(draw.indices) for pool, draw in draws])
        batch = batch._replace(steps=self.data.steps_of(draws))
        if not self.config.outcome_batch:
            return batch
        return batch._replace(outcomes=self.data.outcome_batch(self.config.outcome_batch, self.generator))

    def held_out(self, pools: Sequence[SamplePool], most: int) -> Batch:
        """Up to `most` held-out samples of each pool."""
        return self.data.held_out(pools, most, self.generator)

    def normalize(self) -> None:
        """Fix the statistics, at the first update, on what is imitable by then, or an even selection of it."""
        if not self._normalized:
            self.algorithm.set_normalization(*self.data.to_normalize_on())
            self._normalized = True

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON values from which `from_state` makes the same trainer.

        Arrays are not copied. The samples are not among them, for the episodes give them again: `columns` in the values
        is how they are recognized.
        """
        arrays = self.algorithm.weights()

        def put(prefix: str, values: dict[str, np.ndarray]) -> None:
            arrays.update({f"{prefix}.{name}": value for name, value in values.items()})

        for name, pool in self.data.pools.items():
            put(name, pool.state())
        put("novelty", self.loop.novelty.state())
        put("control", self.control.state())
        put("best", self._best)
        values = {
            "config": self.config.to_dict(),
            "architecture": self.architecture.to_dict(),
            "counters": asdict(self.counters),
            "episode_ids": self.episode_ids,
            "imitable_episodes": self.data.imitable_episodes,
            "progress": self.progress,
            "loss": None if math.isnan(self.loss) else self.loss,
            "normalized": self._normalized,
            "refreshed_with": self._refreshed_with,
            "early_stop": self.early_stop.state(),
            "generator": self.generator.bit_generator.state,
            "columns": self.signatures(),
        }
        return arrays, values

    def signatures(self) -> dict[str, Any]:
        """How the samples are recognized: a signature of all columns by name."""
        return self.data.signatures()

    @classmethod
    def from_state(
        cls,
        arrays: dict[str, np.ndarray],
        values: dict[str, Any],
        episodes: Callable[[str], Transitions] | None = None,
        *,
        ranks: Ranks | None = None,
        replay: ReplayFolder | None = None,
    ) -> SparseTrainer:
        """The trainer that `state` described; `episodes` gives its episodes again by id, where `replay` has not all.

        Raises:
            ValueError: the samples cannot be had again, or are not the same.
        """

        def take(prefix: str) -> dict[str, np.ndarray]:
            start = f"{prefix}."
            return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}

        architecture = Architecture.from_dict(values["architecture"])
        config = TrainerConfig.from_dict(values["config"])
        trainer = cls(0, 0, config, architecture=architecture, ranks=ranks, replay=replay)
        if not trainer.data.found(values["columns"], values["episode_ids"], int(values["imitable_episodes"])):
            if episodes is None:
                raise ValueError("its samples are gone, and no episodes are given to make them from")
            for episode_id in values["episode_ids"]:
                trainer.add(episodes(episode_id), episode_id)
            if trainer.signatures() != values["columns"]:
                raise ValueError("the episodes do not give the samples that it was trained on: they were changed")
        trainer.algorithm.load_weights(arrays)
        for name, pool in trainer.data.pools.items():
            pool.restore(take(name))
        trainer.loop.novelty.restore(take("novelty"))
        trainer.control.restore(take("control"))
        trainer.loop.counters = TrainingCounters(**values["counters"])
        trainer.progress = {str(name): int(count) for name, count in values["progress"].items()}
        trainer.loop.loss = math.nan if values["loss"] is None else float(values["loss"])
        trainer.early_stop.restore(values["early_stop"])
        trainer._best = take("best")
        trainer._normalized = bool(values["normalized"])
        trainer._refreshed_with = int(values["refreshed_with"])
        trainer.generator.bit_generator.state = values["generator"]
        return trainer
