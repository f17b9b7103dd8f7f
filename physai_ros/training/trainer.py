"""The trainer: owns the samples, the optimiser and the averaged policy; data come in by the episode."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
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
from physai_ros.training.early_stop import EarlyStop
from physai_ros.training.imitation import Imitation
from physai_ros.training.loop import Draws, Share, SparseLoop, TrainingCounters, UpdateStats
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.pools import Batch, OutcomeBatch, SamplePool
from physai_ros.training.significance import NoveltyMemory
from physai_ros.training.weighting import step_weights

__all__ = ["SamplePool", "SparseTrainer", "TrainingCounters", "UpdateStats"]

_NORMALIZED_ON = 50_000  # samples of a pool; more would not move the statistics
_VALIDATED_ON = 4096  # held-out samples a check


class SparseTrainer:
    """Learns from demonstrations, corrections and its own steps, the samples of a batch chosen by the sampler.

    | pool | holds | learned |
    |---|---|---|
    | `demonstrations` | successful demonstrations | imitated |
    | `corrections` | what an operator did who stepped in | imitated |
    | `own` | what the policy did itself, where `advantage` is set | weighed by its advantage |
    | `hindsight` | failed episodes under the goals that they achieved, where `hindsight` is set | both |

    They are drawn from in a fixed proportion, so that corrections are heard at once and the demonstrations are not
    forgotten. Everything random in training comes from one generator that is part of the state, and what is random
    about an episode's samples from its id: a run that is resumed gives the result of one that was not interrupted, and
    samples that were lost are made again from their episodes. `progress` holds counts of whoever drives the trainer;
    they are kept with it. Samples lie in memory, or in the files of `replay`.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        config: TrainerConfig | None = None,
        *,
        ranks: Ranks | None = None,
        replay: ReplayFolder | None = None,
    ) -> None:
        self.config = config or TrainerConfig()
        self.architecture = Architecture(
            observation_size, action_size, self.config.chunk_steps, self.config.hidden_sizes, self.config.members
        )
        self.generator = np.random.default_rng(self.config.seed)
        self.ranks = ranks or Ranks()
        self.replay = replay
        self.algorithm = Imitation(self.architecture, self.config, self.generator, self.ranks)
        self.columns: dict[str, ChunkedColumns] = {}
        self.outcomes = self._columns("outcomes")
        self.relabelled = self._columns("relabelled")
        self.demonstrations = self._pool("demonstrations", self.outcomes, holds_out=self.config.compares)
        self.corrections = self._pool("corrections", self.outcomes, holds_out=self.config.compares)
        self.own = self._pool("own", self.outcomes)
        self.hindsight = self._pool("hindsight", self.relabelled)
        self.pools = {
            "demonstrations": self.demonstrations,
            "corrections": self.corrections,
            "own": self.own,
            "hindsight": self.hindsight,
        }
        self.validation = self._columns("validation")
        self.early_stop = EarlyStop(self.config.patience)
        self.loop: SparseLoop[Batch] = SparseLoop(
            self.algorithm,
            self,
            self.generator,
            NoveltyMemory(self.config.hidden_sizes[-1], seed=self.config.seed),
            control_every=self.config.control_every if self.config.compares else 0,
        )
        self.progress: dict[str, int] = {}
        self._episodes: dict[str, None] = {}
        self._imitable_episodes = 0
        self._best: dict[str, np.ndarray] = {}
        self._normalized = False

    def _columns(self, name: str) -> ChunkedColumns:
        self.columns[name] = ChunkedColumns() if self.replay is None else self.replay.columns(name)
        return self.columns[name]

    def _pool(self, name: str, observed: ChunkedColumns, *, holds_out: bool = False) -> SamplePool:
        columns, held_out = self._columns(name), self._columns(f"{name}_held_out")
        return SamplePool(self.config, observed, columns, held_out, holds_out=holds_out)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __contains__(self, episode_id: str) -> bool:
        return episode_id in self._episodes

    @property
    def episode_ids(self) -> list[str]:
        """Episodes that were taken in, in their order."""
        return list(self._episodes)

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
            OSError: the disk does not take it; then nothing was taken in.
        """
        if episode_id in self._episodes:
            return 0
        for part in (transitions, transitions.hindsight):
            if part is not None:
                self._check(part)
        before = {name: len(columns) for name, columns in self.columns.items()}
        imitable = int(transitions.imitable.sum())
        try:
            if len(transitions):
                self._take_in(transitions, episode_id)
        except BaseException:
            for name, count in before.items():
                self.columns[name].truncate(count)
            for pool in self.pools.values():
                pool.ledger.truncate(len(pool))
            raise
        self._imitable_episodes += imitable > 0
        self._episodes[episode_id] = None
        return imitable

    def _take_in(self, transitions: Transitions, episode_id: str) -> None:
        config = self.config
        every = round(1.0 / config.validation_share)
        if config.patience and transitions.imitable.any() and self._imitable_episodes % every == 1:
            rows = transitions.select(transitions.imitable)
            columns = {"observations": rows.observations, "actions": rows.actions, "action_known": rows.action_known}
            self.validation.append(columns)
            return
        # What is random about its samples depends on the episode alone.
        digest = hashlib.blake2b(episode_id.encode(), digest_size=8).digest()
        generator = np.random.default_rng([config.seed, int.from_bytes(digest, "big")])
        first = len(self.outcomes)
        self.outcomes.append({"observations": transitions.observations, "success": transitions.success})
        weight = step_weights(transitions) if config.weighting else np.ones(len(transitions), dtype=np.float32)
        kept = weight > 0.0
        for pool, rows, returns in (
            (self.demonstrations, transitions.imitable & transitions.demonstration, None),
            (self.corrections, transitions.imitable & ~transitions.demonstration, None),
            (self.own, transitions.own & bool(config.advantage), transitions.success),
        ):
            rows = np.flatnonzero(rows & kept)
            of_rows = None if returns is None else returns[rows]
            pool.append(transitions.select(rows), first + rows, generator, weight=weight[rows], returns=of_rows)
        again = transitions.hindsight
        if config.hindsight != "off" and again is not None and len(again):
            first = len(self.relabelled)
            self.relabelled.append({"observations": again.observations})
            returns = again.success if config.advantage else None
            self.hindsight.append(again, first + np.arange(len(again)), generator, returns=returns)

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

    def check(self) -> float:
        """Judge what acts on the held-out episodes, for `early_stop`; returns their loss, NaN where there are none."""
        count = len(self.validation)
        rows = (
            np.unique(np.linspace(0, count - 1, min(count, _VALIDATED_ON)).astype(int)) if count else np.zeros(0, int)
        )
        loss = math.nan
        if count:
            named = (self.validation.gather(name, rows) for name in ("observations", "actions", "action_known"))
            loss = self.algorithm.acting_loss(*(torch.from_numpy(column) for column in named))
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

    def _shares(self) -> list[Share]:
        """How a batch is made up of the pools."""
        config = self.config
        first = config.demonstration_share if len(self.corrections) else 1.0
        parts = {
            "demonstrations": first if len(self.demonstrations) else 0.0,
            "corrections": 1.0 - first if len(self.demonstrations) else 1.0,
            "own": config.own_parts,
            "hindsight": config.hindsight_parts,
        }
        present = [(self.pools[name], part) for name, part in parts.items() if part > 0 and len(self.pools[name])]
        total = sum(part for _, part in present)
        shares, given, due = [], 0, 0.0
        for pool, part in present:
            due += config.batch_size * part / total
            shares.append((pool, round(due) - given))
            given = round(due)
        return shares

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
        """Arrays and JSON values from which `from_state` makes the same trainer.

        Arrays are not copied. The samples are not among them, for the episodes give them again: `columns` in the values
        is how they are recognized.
        """
        arrays = self.algorithm.weights()

        def put(prefix: str, values: dict[str, np.ndarray]) -> None:
            arrays.update({f"{prefix}.{name}": value for name, value in values.items()})

        for name, pool in self.pools.items():
            put(name, pool.state())
        put("novelty", self.loop.novelty.state())
        put("control", self.control.state())
        put("best", self._best)
        values = {
            "config": self.config.to_dict(),
            "architecture": self.architecture.to_dict(),
            "counters": asdict(self.counters),
            "episode_ids": self.episode_ids,
            "imitable_episodes": self._imitable_episodes,
            "progress": self.progress,
            "loss": None if math.isnan(self.loss) else self.loss,
            "normalized": self._normalized,
            "early_stop": self.early_stop.state(),
            "generator": self.generator.bit_generator.state,
            "columns": self.signatures(),
        }
        return arrays, values

    def signatures(self) -> dict[str, Any]:
        """How the samples are recognized: a signature of all columns by name."""
        return {name: columns.signature() for name, columns in self.columns.items()}

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
        trainer = cls(architecture.observation_size, architecture.action_size, config, ranks=ranks, replay=replay)
        if replay is not None and replay.open(values["columns"]):
            trainer._episodes = dict.fromkeys(values["episode_ids"])
            trainer._imitable_episodes = int(values["imitable_episodes"])
        elif episodes is None:
            raise ValueError("its samples are gone, and no episodes are given to make them from")
        else:
            for episode_id in values["episode_ids"]:
                trainer.add(episodes(episode_id), episode_id)
            if trainer.signatures() != values["columns"]:
                raise ValueError("the episodes do not give the samples that it was trained on: they were changed")
        trainer.algorithm.load_weights(arrays)
        for name, pool in trainer.pools.items():
            pool.restore(take(name))
        trainer.loop.novelty.restore(take("novelty"))
        trainer.control.restore(take("control"))
        trainer.loop.counters = TrainingCounters(**values["counters"])
        trainer.progress = {str(name): int(count) for name, count in values["progress"].items()}
        trainer.loop.loss = math.nan if values["loss"] is None else float(values["loss"])
        trainer.early_stop.restore(values["early_stop"])
        trainer._best = take("best")
        trainer._normalized = bool(values["normalized"])
        trainer.generator.bit_generator.state = values["generator"]
        return trainer
