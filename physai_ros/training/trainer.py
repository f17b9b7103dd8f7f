"""The trainer: owns the samples, the optimiser and the averaged policy; data come in by the episode."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from physai_ros.policy.network import Architecture, PolicyOutput, RobotPolicyNetwork
from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.config import TrainerConfig
from physai_ros.training.control import GateControl
from physai_ros.training.dataset import Transitions
from physai_ros.training.pools import Batch, SamplePool
from physai_ros.training.samplers import Draw
from physai_ros.training.significance import NoveltyMemory

# Uncertainty and novelty cost more than the loss: they are measured every few updates, of some samples.
_SIGNALS_EVERY = 8
_SIGNALS_ROWS = 128
# A trial of the gate against uniform sampling: steps of each, held-out samples of each pool, and of both at least.
_TRIAL_STEPS = 4
_TRIAL_SAMPLES = 512
_TRIAL_LEAST = 32
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
        self.control = GateControl()
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
        started = time.process_time()
        if not self._normalized:
            self._normalize()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate if learning_rate is not None else self.config.fine_learning_rate
        if self.config.compares and self.counters.updates % self.config.control_every == 0:
            self._compare_with_control()
        draws = self._draw(uniform=self.control.uniform)
        self.counters.selection_seconds += time.process_time() - started
        offered = sum(draw.offered for _, draw in draws)
        chosen = sum(len(draw.indices) for _, draw in draws)
        loss = value_loss = math.nan
        draws = [(pool, draw) for pool, draw in draws if len(draw.indices)]
        if draws:
            output, per_member, loss, value_loss = self._step(draws)
            self._follow()
            self._remember(draws, per_member, output)
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

    def _draw(self, *, uniform: bool) -> list[tuple[SamplePool, Draw]]:
        size = self.config.batch_size
        first, second = len(self.demonstrations), len(self.corrections)
        share = 1.0 if not second else (0.0 if not first else self.config.demonstration_share)
        counts = (round(share * size), size - round(share * size))
        pools = (self.demonstrations, self.corrections)
        return [
            (pool, pool.draw(count, self.generator, uniform=uniform))
            for pool, count in zip(pools, counts, strict=True)
            if count
        ]

    def _step(self, draws: list[tuple[SamplePool, Draw]]) -> tuple[PolicyOutput, torch.Tensor, float, float]:
        """One step of the optimiser: the network's output, the loss (b, members), and the two mean losses."""
        batch = Batch.joined([pool.batch(draw.indices) for pool, draw in draws])
        weights = torch.from_numpy(np.concatenate([draw.weights for _, draw in draws]))
        observations = batch.observations
        if self.config.observation_noise:
            noise = self.generator.standard_normal(observations.shape, dtype=np.float32) * self.config.observation_noise
            observations = observations + torch.from_numpy(noise) / self.network.observation_scale
        output = self.network(observations)
        per_member = self._imitation_loss(output, batch)
        per_sample = (per_member * batch.members).sum(dim=1) / batch.members.sum(dim=1)
        loss = (per_sample * weights).mean()
        value_loss = self._value_loss()
        self.optimizer.zero_grad(set_to_none=True)
        (loss if value_loss is None else loss + value_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.counters.forward += len(weights)
        return output, per_member, loss.item(), math.nan if value_loss is None else value_loss.item()

    def _follow(self) -> None:
        """Let the average follow; early on closely, or the first policies would be mostly their initialization."""
        decay = min(self.config.averaging, (1.0 + self.counters.updates) / (10.0 + self.counters.updates))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1.0 - decay)

    def _imitation_loss(self, output: PolicyOutput, batch: Batch) -> torch.Tensor:
        """Mean Huber loss (b, members) of the actions that are known."""
        wanted = batch.actions[:, None].expand_as(output.actions)
        error = functional.huber_loss(output.actions, wanted, reduction="none", delta=self.config.huber)
        per_step = (error * self._action_weights).mean(dim=3)
        return (per_step * batch.known[:, None]).sum(dim=2) / batch.known.sum(1)[:, None]

    def _compare_with_control(self) -> None:
        """One trial of the gate against uniform sampling; network and optimiser stay as they were."""
        pools = [pool for pool in (self.demonstrations, self.corrections) if len(pool.held_out)]
        held_out = [
            pool.batch(self.generator.permutation(len(pool.held_out))[:_TRIAL_SAMPLES], held_out=True) for pool in pools
        ]
        if sum(len(batch.actions) for batch in held_out) < _TRIAL_LEAST:
            return
        batch = Batch.joined(held_out)
        kept = copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))
        losses = []
        for uniform in (False, True):
            for _ in range(_TRIAL_STEPS):
                draws = [(pool, draw) for pool, draw in self._draw(uniform=uniform) if len(draw.indices)]
                if draws:
                    self._step(draws)
            with torch.no_grad():
                losses.append(float(self._imitation_loss(self.network(batch.observations), batch).mean()))
            self.network.load_state_dict(kept[0])
            self.optimizer.load_state_dict(copy.deepcopy(kept[1]))
        self.control.judge(*losses)

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

    def _remember(self, draws: list[tuple[SamplePool, Draw]], per_member: torch.Tensor, output: PolicyOutput) -> None:
        started = time.process_time()
        loss = per_member.detach().numpy().mean(axis=1)
        measure = self.demonstrations.sampler.needs_signals and self.counters.updates % _SIGNALS_EVERY == 0
        begin = 0
        for pool, draw in draws:
            rows = slice(begin, begin + len(draw.indices))
            pool.ledger.record(draw.indices, loss[rows])
            if measure:
                some = slice(begin, min(begin + _SIGNALS_ROWS, rows.stop))
                spread = output.actions.detach()[some, :, 0].numpy().std(axis=1).mean(axis=1)
                novelty = self.novelty.distances(output.features.detach()[some].numpy())
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
            put(prefix, pool.state())
        put("outcomes", self.outcomes.state())
        put("novelty", self.novelty.state())
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
            pool.restore(take(prefix))
        trainer.outcomes.restore(take("outcomes"))
        trainer.novelty.restore(take("novelty"))
        trainer.control.restore(take("control"))
        trainer.counters = TrainingCounters(**values["counters"])
        trainer.episode_ids = list(values["episode_ids"])
        trainer.progress = {str(name): int(count) for name, count in values["progress"].items()}
        trainer.loss = math.nan if values["loss"] is None else float(values["loss"])
        trainer._normalized = bool(values["normalized"])
        trainer.generator.bit_generator.state = values["generator"]
        return trainer
