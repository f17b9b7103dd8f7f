"""The one mechanism of Adaptive Sparse Training: draw, learn, remember, and compare with uniform sampling."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

import numpy as np

from physai_ros.training.algorithm import Algorithm, BatchT, Lesson
from physai_ros.training.control import GateControl
from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import Draw, Sampler
from physai_ros.training.significance import NoveltyMemory

# Uncertainty and novelty cost more than the loss: they are measured every few updates, of some samples.
_SIGNALS_EVERY = 8
_SIGNALS_ROWS = 128
# A trial of the gate against uniform sampling: steps of each, held-out samples of each pool, and of both at least.
_TRIAL_STEPS = 4
_TRIAL_SAMPLES = 512
_TRIAL_LEAST = 32


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


class Pool(Protocol):
    """Samples of one origin with their ledger and sampler; `held_out_count` more are kept for judging."""

    ledger: SampleLedger
    sampler: Sampler

    @property
    def held_out_count(self) -> int:
        """Samples that nothing trains on."""

    def draw(self, count: int, generator: np.random.Generator, *, uniform: bool) -> Draw:
        """About `count` samples by the sampler, or uniform ones in its place."""


Draws = list[tuple[Pool, Draw]]
Share = tuple[Pool, int]
"""A pool, and how many samples of a batch are to come from it."""


class Assembler(Protocol[BatchT]):
    """Makes batches of what was drawn."""

    def assemble(self, draws: Draws) -> BatchT:
        """The samples drawn, in the order of the draws, with whatever else an update needs."""

    def held_out(self, pools: Sequence[Pool], most: int) -> BatchT:
        """Up to `most` held-out samples of each pool."""


class SparseLoop(Generic[BatchT]):
    """Draws by the pools' samplers, has the algorithm learn, and writes down what that said of the samples.

    Whoever trains, on episodes or on a user's own loader, does it with this object: there is no second gate and no
    second significance.
    """

    def __init__(
        self,
        algorithm: Algorithm[BatchT],
        assembler: Assembler[BatchT],
        generator: np.random.Generator,
        novelty: NoveltyMemory,
        *,
        control_every: int = 0,
    ) -> None:
        self.algorithm = algorithm
        self.counters = TrainingCounters()
        self.control = GateControl()
        self.novelty = novelty
        self.loss = math.nan
        self._assembler = assembler
        self._generator = generator
        self._control_every = control_every

    def step(self, shares: Sequence[Share], learning_rate: float) -> UpdateStats:
        """One update on a batch of these shares."""
        started = time.process_time()
        self.algorithm.set_learning_rate(learning_rate)
        if self._control_every and (self.counters.updates + 1) % self._control_every == 0:
            self._compare(shares)
        draws = self._draw(shares, uniform=self.control.uniform)
        self.counters.selection_seconds += time.process_time() - started
        offered = sum(draw.offered for _, draw in draws)
        chosen = sum(len(draw.indices) for _, draw in draws)
        draws = [(pool, draw) for pool, draw in draws if len(draw.indices)]
        loss = value_loss = math.nan
        if draws:
            lesson = self._learn(draws)
            self.algorithm.follow(self.counters.updates)
            self.remember(draws, lesson)
            loss, value_loss = lesson.loss, lesson.value_loss
        return self.count(loss, value_loss, offered, chosen, time.process_time() - started)

    def count(self, loss: float, value_loss: float, offered: int, chosen: int, seconds: float) -> UpdateStats:
        """Note one update of `seconds` of CPU time; what it was is returned."""
        if not math.isnan(loss):
            self.loss = loss if math.isnan(self.loss) else self.loss + 0.02 * (loss - self.loss)
        self.counters.updates += 1
        self.counters.offered += offered
        self.counters.backward += chosen
        self.counters.cpu_seconds += seconds
        return UpdateStats(loss, value_loss, offered, chosen)

    def _draw(self, shares: Sequence[Share], *, uniform: bool) -> Draws:
        return [(pool, pool.draw(count, self._generator, uniform=uniform)) for pool, count in shares if count]

    def _learn(self, draws: Draws) -> Lesson:
        weights = np.concatenate([draw.weights for _, draw in draws])
        signals = draws[0][0].sampler.needs_signals and self.counters.updates % _SIGNALS_EVERY == 0
        lesson = self.algorithm.update(self._assembler.assemble(draws), weights, signals=signals)
        self.counters.forward += lesson.forward
        return lesson

    def remember(self, draws: Draws, lesson: Lesson) -> None:
        """Write into the ledgers what the lesson said of the samples drawn."""
        started = time.process_time()
        begin = 0
        for pool, draw in draws:
            end = begin + len(draw.indices)
            pool.ledger.record(draw.indices, lesson.sample_losses[begin:end])
            if lesson.features is not None:
                some = slice(begin, min(begin + _SIGNALS_ROWS, end))
                novelty = self.novelty.distances(lesson.features[some])
                unknown = np.full(len(novelty), np.nan, dtype=np.float32)
                spread = unknown if lesson.spread is None else lesson.spread[some]
                pool.ledger.measure(draw.indices[:_SIGNALS_ROWS], spread, novelty)
            begin = end
        self.counters.selection_seconds += time.process_time() - started

    def _compare(self, shares: Sequence[Share]) -> None:
        """One trial of the gate against uniform sampling; network, optimiser and samplers stay as they were."""
        pools = [pool for pool, _ in shares if pool.held_out_count]
        if sum(min(pool.held_out_count, _TRIAL_SAMPLES) for pool in pools) < _TRIAL_LEAST:
            return
        batch = self._assembler.held_out(pools, _TRIAL_SAMPLES)
        before = self.algorithm.snapshot()
        samplers = [(pool.sampler, pool.sampler.state()) for pool, _ in shares]
        losses = []
        for uniform in (False, True):
            for _ in range(_TRIAL_STEPS):
                draws = [(pool, draw) for pool, draw in self._draw(shares, uniform=uniform) if len(draw.indices)]
                if draws:
                    self._learn(draws)
            losses.append(float(self.algorithm.losses(batch).mean()))
            self.algorithm.restore(before)
        for sampler, state in samplers:
            sampler.restore(state)
        self.control.judge(*losses)
