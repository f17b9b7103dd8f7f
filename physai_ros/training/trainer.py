"""The trainer: owns the samples, the optimiser and the averaged policy; data come in by the episode."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import Draw, Sampler, make_sampler
from physai_ros.training.significance import NoveltyMemory

# Uncertainty and novelty cost more than the loss: they are measured every few updates, of some samples.
_SIGNALS_EVERY = 8
_SIGNALS_ROWS = 128
_NORMALIZED_ON = 200_000  # samples of a pool; more would not move the statistics


@dataclass
class TrainingCounters:
    """What training has cost so far; measured, never derived from a target.

    `offered` samples were drawn and scored, `forward` went through the network, `backward` carried a gradient to the
    policy; `selection_seconds` of `cpu_seconds` went into choosing.
    """

    updates: int = 0
    offered: int = 0
    forward: int = 0
    backward: int = 0
    cpu_seconds: float = 0.0
    selection_seconds: float = 0.0

    @property
    def activation_rate(self) -> float:
        """Share of the offered samples that carried a gradient; NaN before the first."""
        return self.backward / self.offered if self.offered else math.nan


class UpdateStats(NamedTuple):
    """One update: mean `loss` of the batch, `value_loss` (NaN without outcomes), and counts of samples."""

    loss: float
    value_loss: float
    offered: int
    backward: int


class SamplePool:
    """Imitable samples of one origin with their ledger and sampler.

    What a sample's policy saw is kept once, in the trainer's `outcomes`; the column `step` says in which row.
    """

    def __init__(self, config: TrainerConfig, outcomes: ChunkedColumns) -> None:
        self.columns = ChunkedColumns()
        self._outcomes = outcomes
        self.ledger = SampleLedger()
        self.sampler: Sampler = make_sampler(
            config.sampler, self.ledger, config.gate, config.significance, self._observed_and_done
        )

    def __len__(self) -> int:
        return len(self.columns)

    def observations(self, rows: np.ndarray) -> np.ndarray:
        """What the policy saw in the samples `rows` (n,)."""
        return self._outcomes.gather("observations", self.columns.gather("step", rows))

    def _observed_and_done(self, rows: np.ndarray) -> np.ndarray:
        """Observation and first action of the samples `rows` (n,), side by side."""
        return np.concatenate([self.observations(rows), self.columns.gather("actions", rows)[:, 0]], axis=1)


class SparseTrainer:
    """Imitation of demonstrations and corrections, with the samples of every batch chosen by the configured sampler.

    Two pools, demonstrations and the operator's corrections, are drawn from in a fixed proportion, so that corrections
    are heard at once and the demonstrations are not forgotten. Everything random comes from one generator that is part
    of the checkpoint: a run that is resumed gives the result of a run that was not interrupted. `progress` holds counts
    of whoever drives the trainer; they are kept with it.
    """

    def __init__(self, observation_size: int, action_size: int, config: TrainerConfig | None = None) -> None:
        self.config = config or TrainerConfig()
        self.architecture = Architecture(
            observation_size, action_size, self.config.chunk_steps, self.config.hidden_sizes, self.config.members
        )
        self.network = RobotPolicyNetwork(self.architecture, self.config.seed)
        self.average = RobotPolicyNetwork(self.architecture, self.config.seed).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.learning_rate)
        self.generator = np.random.default_rng(self.config.seed)
        self.outcomes = ChunkedColumns()
        self.demonstrations = SamplePool(self.config, self.outcomes)
        self.corrections = SamplePool(self.config, self.outcomes)
        self.novelty = NoveltyMemory(self.config.hidden_sizes[-1], seed=self.config.seed)
        self.counters = TrainingCounters()
        self.episode_ids: list[str] = []
        self.progress: dict[str, int] = {}
        self.loss = math.nan
        self._action_weights = torch.ones(action_size)
        self._action_weights[-1] = self.config.gripper_weight
        self._action_weights /= self._action_weights.mean()
        self._normalized = False

    def __len__(self) -> int:
        return len(self.outcomes)

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
            self._fill(pool, transitions.select(rows), first + np.flatnonzero(rows))
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

    def _fill(self, pool: SamplePool, rows: Transitions, steps: np.ndarray) -> None:
        if not len(rows):
            return
        members = self.generator.random((len(rows), self.config.members)) < self.config.member_share
        # A sample that no member would learn from goes to all.
        members |= ~members.any(axis=1, keepdims=True)
        pool.columns.append(
            {
                "step": steps.astype(np.int32),
                "actions": rows.actions,
                "action_known": rows.action_known,
                "members": members.astype(np.float32),
            }
        )
        failure_time = np.where(rows.success > 0, np.inf, rows.time_to_end)
        age = np.where(rows.demonstration, np.inf, rows.intervention_age)
        pool.ledger.append(failure_time, rows.force_excess, age)

    def update(self, learning_rate: float | None = None) -> UpdateStats:
        """One gradient update.

        Raises:
            RuntimeError: there is nothing to imitate yet.
        """
        if not self.ready:
            raise RuntimeError("there is nothing to imitate: add demonstrations or corrected episodes first")
        started = time.process_time()
        if not self._normalized:
            self._normalize()
        draws = self._draw()
        offered = sum(draw.offered for _, draw in draws)
        self.counters.selection_seconds += time.process_time() - started
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate if learning_rate is not None else self.config.fine_learning_rate
        chosen = sum(len(draw.indices) for _, draw in draws)
        loss = value_loss = math.nan
        if chosen:
            loss, value_loss = self._step([(pool, draw) for pool, draw in draws if len(draw.indices)])
            self.loss = loss if math.isnan(self.loss) else self.loss + 0.02 * (loss - self.loss)
        self.counters.updates += 1
        self.counters.offered += offered
        self.counters.backward += chosen
        self.counters.cpu_seconds += time.process_time() - started
        return UpdateStats(loss, value_loss, offered, chosen)

    def warm_start_rate(self, index: int, count: int) -> float:
        """Learning rate of update `index` of a warm start of `count` updates: a cosine from coarse to fine."""
        share = 0.5 * (1.0 + math.cos(math.pi * index / max(count, 1)))
        return self.config.fine_learning_rate + share * (self.config.learning_rate - self.config.fine_learning_rate)

    def policy_network(self) -> RobotPolicyNetwork:
        """A copy of the averaged weights: what acts."""
        network = RobotPolicyNetwork(self.architecture)
        network.load_state_dict(self.average.state_dict())
        return network.eval().requires_grad_(False)

    def _draw(self) -> list[tuple[SamplePool, Draw]]:
        size = self.config.batch_size
        first, second = len(self.demonstrations), len(self.corrections)
        share = 1.0 if not second else (0.0 if not first else self.config.demonstration_share)
        counts = (round(share * size), size - round(share * size))
        pools = (self.demonstrations, self.corrections)
        return [
            (pool, pool.sampler.draw(count, self.generator)) for pool, count in zip(pools, counts, strict=True) if count
        ]

    def _step(self, draws: list[tuple[SamplePool, Draw]]) -> tuple[float, float]:
        def gather(name: str) -> torch.Tensor:
            return torch.from_numpy(np.concatenate([pool.columns.gather(name, draw.indices) for pool, draw in draws]))

        weights = torch.from_numpy(np.concatenate([draw.weights for _, draw in draws]))
        observations = torch.from_numpy(np.concatenate([pool.observations(draw.indices) for pool, draw in draws]))
        if self.config.observation_noise:
            noise = self.generator.standard_normal(observations.shape, dtype=np.float32) * self.config.observation_noise
            observations = observations + torch.from_numpy(noise) / self.network.observation_scale
        output = self.network(observations)
        error = functional.huber_loss(
            output.actions,
            gather("actions")[:, None].expand_as(output.actions),
            reduction="none",
            delta=self.config.huber,
        )
        known = gather("action_known")
        per_member = ((error * self._action_weights).mean(dim=3) * known[:, None]).sum(dim=2) / known.sum(1)[:, None]
        members = gather("members")
        per_sample = (per_member * members).sum(dim=1) / members.sum(dim=1)
        loss = (per_sample * weights).mean()
        value_loss = self._value_loss()
        self.optimizer.zero_grad(set_to_none=True)
        (loss if value_loss is None else loss + value_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        # Early averages follow closely, or the first policies would be mostly their initialization.
        decay = min(self.config.averaging, (1.0 + self.counters.updates) / (10.0 + self.counters.updates))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1.0 - decay)
        self.counters.forward += len(weights)
        self._remember(draws, per_member, output.actions, output.features)
        return loss.item(), math.nan if value_loss is None else value_loss.item()

    def _value_loss(self) -> torch.Tensor | None:
        """Loss of the value head on outcomes of any episode; its gradient stays in the head."""
        if not self.config.outcome_batch:
            return None
        rows = self.generator.integers(len(self.outcomes), size=self.config.outcome_batch)
        with torch.no_grad():
            features = self.network(torch.from_numpy(self.outcomes.gather("observations", rows))).features
        self.counters.forward += len(rows)
        logits = self.network.value_head(features).squeeze(-1)
        return functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(self.outcomes.gather("success", rows))
        )

    def _remember(
        self,
        draws: list[tuple[SamplePool, Draw]],
        per_member: torch.Tensor,
        actions: torch.Tensor,
        features: torch.Tensor,
    ) -> None:
        started = time.process_time()
        loss = per_member.detach().numpy().mean(axis=1)
        measure = self.demonstrations.sampler.needs_signals and self.counters.updates % _SIGNALS_EVERY == 0
        begin = 0
        for pool, draw in draws:
            rows = slice(begin, begin + len(draw.indices))
            pool.ledger.record(draw.indices, loss[rows])
            if measure:
                some = slice(begin, min(begin + _SIGNALS_ROWS, rows.stop))
                spread = actions.detach()[some, :, 0].numpy().std(axis=1).mean(axis=1)
                novelty = self.novelty.distances(features.detach()[some].numpy())
                pool.ledger.measure(draw.indices[:_SIGNALS_ROWS], spread, novelty)
            pool.sampler.visited(draw.indices)
            begin = rows.stop
        self.counters.selection_seconds += time.process_time() - started

    def _normalize(self) -> None:
        """Fix the statistics at the first update, on what is imitable by then, or an even selection of it."""
        steps = [
            pool.columns.gather("step", np.arange(0, len(pool), len(pool) // _NORMALIZED_ON + 1))
            for pool in (self.demonstrations, self.corrections)
            if len(pool)
        ]
        self.network.set_normalization(self.outcomes.gather("observations", np.concatenate(steps)))
        self.average.observation_mean.copy_(self.network.observation_mean)
        self.average.observation_scale.copy_(self.network.observation_scale)
        self._normalized = True

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON values from which `from_state` makes the same trainer."""
        arrays: dict[str, np.ndarray] = {}

        def put(prefix: str, values: dict[str, np.ndarray]) -> None:
            arrays.update({f"{prefix}.{name}": value for name, value in values.items()})

        for prefix, network in (("network", self.network), ("average", self.average)):
            put(prefix, {name: value.numpy().copy() for name, value in network.state_dict().items()})
        for index, moments in self.optimizer.state_dict()["state"].items():
            put(f"optimizer.{index}", {name: value.numpy().copy() for name, value in moments.items()})
        for prefix, pool in (("demonstrations", self.demonstrations), ("corrections", self.corrections)):
            put(f"{prefix}.columns", pool.columns.state())
            put(f"{prefix}.ledger", pool.ledger.state())
            put(f"{prefix}.sampler", pool.sampler.state())
        put("outcomes", self.outcomes.state())
        put("novelty", self.novelty.state())
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
    def from_state(cls, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> SparseTrainer:
        """The trainer that `state` described."""

        def take(prefix: str) -> dict[str, np.ndarray]:
            start = f"{prefix}."
            return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}

        architecture = Architecture.from_dict(values["architecture"])
        config = TrainerConfig.from_dict(values["config"])
        trainer = cls(architecture.observation_size, architecture.action_size, config)
        for prefix, network in (("network", trainer.network), ("average", trainer.average)):
            network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in take(prefix).items()})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in take("optimizer").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = torch.from_numpy(value.copy())
        trainer.optimizer.load_state_dict(trainer.optimizer.state_dict() | {"state": moments})
        for prefix, pool in (("demonstrations", trainer.demonstrations), ("corrections", trainer.corrections)):
            pool.columns.restore(take(f"{prefix}.columns"))
            pool.ledger.restore(take(f"{prefix}.ledger"))
            if sampler := take(f"{prefix}.sampler"):
                pool.sampler.restore(sampler)
        trainer.outcomes.restore(take("outcomes"))
        trainer.novelty.restore(take("novelty"))
        trainer.counters = TrainingCounters(**values["counters"])
        trainer.episode_ids = list(values["episode_ids"])
        trainer.progress = {str(name): int(count) for name, count in values["progress"].items()}
        trainer.loss = math.nan if values["loss"] is None else float(values["loss"])
        trainer._normalized = bool(values["normalized"])
        trainer.generator.bit_generator.state = values["generator"]
        return trainer
