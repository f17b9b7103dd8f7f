"""Which samples go into a batch: the controls and Adaptive Sparse Training behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from physai_ros.training.gate import GateConfig, SparseGate
from physai_ros.training.replay import SampleLedger
from physai_ros.training.score_board import ScoreBoard
from physai_ros.training.significance import RobotTrainingSignificance, SignificanceConfig


class Draw(NamedTuple):
    """Samples for one batch: `indices` (b,), loss `weights` (b,), and how many were offered for it."""

    indices: np.ndarray
    weights: np.ndarray
    offered: int


class Sampler(ABC):
    """Draws from the samples of one ledger. None looks at the whole pool with the network: scores are stale.

    Attributes:
        needs_signals: whether uncertainty and novelty of the samples are wanted beside their loss.
    """

    needs_signals: ClassVar[bool] = False

    def __init__(self, ledger: SampleLedger) -> None:
        self.ledger = ledger

    @abstractmethod
    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """About `count` samples of a pool that is not empty."""

    def draw_uniform(self, count: int, generator: np.random.Generator) -> Draw:
        """`count` samples, every one alike: what takes this sampler's place where it does worse."""
        return Draw(generator.integers(len(self.ledger), size=count), np.ones(count, dtype=np.float32), count)

    def visited(self, rows: np.ndarray) -> None:  # noqa: B027 (most samplers have nothing to note)
        """Note that the samples `rows` (b,) were trained on, and the ledger says how that went."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same sampler."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave; a sampler without memory has nothing to take over."""
        if state:
            raise ValueError(f"this sampler keeps nothing, given was {', '.join(state)}: it is another sampler's state")


class UniformSampler(Sampler):
    """Every sample alike: the control that has to be beaten."""

    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """`count` samples, with replacement."""
        return self.draw_uniform(count, generator)


class RandomSubsetSampler(Sampler):
    """A random subset of what is offered: what sparsity does without significance."""

    def __init__(self, ledger: SampleLedger, rate: float = 0.06) -> None:
        super().__init__(ledger)
        self._rate = rate

    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """About `count` samples, each offered one with probability `rate`."""
        return _random_subset(len(self.ledger), count, self._rate, generator)


class PrioritizedSampler(Sampler):
    """In proportion to the stale loss to the power of 0.6, without importance weights.

    A sample that was never visited counts as much as the worst one. Source: Schaul et al., "Prioritized experience
    replay", 2016.
    """

    _ALPHA = 0.6

    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """`count` samples, with replacement."""
        loss = self.ledger.loss.astype(float)
        unseen = np.isnan(loss)
        worst = 1.0 if unseen.all() else float(np.nanmax(loss))
        cumulative = np.cumsum((np.where(unseen, worst, loss) + 1e-6) ** self._ALPHA)
        indices = np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right")
        indices = np.minimum(indices, len(loss) - 1)
        return Draw(indices, np.ones(count, dtype=np.float32), count)


class InfoBatchSampler(Sampler):
    """Epochs that leave out half of the samples below the mean loss and weigh the other half double.

    In expectation the gradient is that of the whole epoch. Source: Qin et al., "InfoBatch: Lossless training speed up
    by unbiased dynamic data pruning", 2024.
    """

    _PRUNED = 0.5

    def __init__(self, ledger: SampleLedger) -> None:
        super().__init__(ledger)
        self._queue = np.zeros(0, dtype=np.int64)
        self._weights = np.zeros(0, dtype=np.float32)

    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """`count` samples; an epoch's samples count as offered when it begins."""
        offered = 0
        while len(self._queue) < count:
            offered += len(self.ledger)
            indices, weights = self._epoch(generator)
            self._queue = np.concatenate([self._queue, indices])
            self._weights = np.concatenate([self._weights, weights])
        drawn, weights = self._queue[:count], self._weights[:count]
        self._queue, self._weights = self._queue[count:], self._weights[count:]
        return Draw(drawn, weights, offered)

    def _epoch(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        loss = self.ledger.loss
        mean = float(np.nanmean(loss)) if np.isfinite(loss).any() else np.nan
        easy = loss < mean
        kept = ~easy | (generator.random(len(loss)) >= self._PRUNED)
        indices = generator.permutation(np.flatnonzero(kept))
        return indices, np.where(easy[indices], 1.0 / (1.0 - self._PRUNED), 1.0).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same sampler."""
        return {"queue": self._queue.copy(), "weights": self._weights.copy()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._queue, self._weights = state["queue"].copy(), state["weights"].copy()


class AdaptiveSparseSampler(Sampler):
    """Adaptive Sparse Training: offers many, scores them by what is known, lets the gate pass a few."""

    needs_signals = True

    def __init__(
        self,
        ledger: SampleLedger,
        gate: GateConfig | None = None,
        significance: SignificanceConfig | None = None,
        inputs: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        importance_correction: bool = False,
    ) -> None:
        super().__init__(ledger)
        self.gate = SparseGate(gate)
        self.board = ScoreBoard(ledger, RobotTrainingSignificance(significance), self.gate.config, inputs)
        self._correct = importance_correction

    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """About `count` samples out of `count / target_activation_rate` offered ones."""
        target = self.gate.config.target_activation_rate
        offered = max(round(count / target), 1)
        # One random number a sample: its whole part says which, what is left is the chance that the gate decides by.
        position = generator.random(offered) * len(self.ledger)
        candidates = position.astype(np.int64)
        mask, probabilities = self.gate.select(self.board.scores[candidates], position - candidates)
        # A gate that has not settled must not make a step many times as long; what is cut is not counted as activated.
        passed = np.flatnonzero(mask)[: 2 * count]
        if self._correct:
            weights = (target / probabilities[passed]).astype(np.float32)
        else:
            weights = np.ones(len(passed), dtype=np.float32)
        return Draw(candidates[passed], weights, offered)

    def draw_uniform(self, count: int, generator: np.random.Generator) -> Draw:
        """About `count` samples regardless of significance, as sparse as the gate is to be."""
        return _random_subset(len(self.ledger), count, self.gate.config.target_activation_rate, generator)

    def visited(self, rows: np.ndarray) -> None:
        """Score again what was trained on."""
        self.board.visited(rows)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same sampler."""
        gate = {f"gate.{name}": np.array([value]) for name, value in self.gate.state().items()}
        return gate | {f"board.{name}": value for name, value in self.board.state().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        self.gate.restore({name: float(value[0]) for name, value in part("gate.").items()})
        self.board.restore(part("board."))


def _random_subset(size: int, count: int, rate: float, generator: np.random.Generator) -> Draw:
    offered = max(round(count / rate), 1)
    indices = generator.integers(size, size=offered)[generator.random(offered) < rate]
    return Draw(indices, np.ones(len(indices), dtype=np.float32), offered)


SAMPLERS = ("ast", "uniform", "random", "prioritized", "infobatch")


def make_sampler(
    name: str,
    ledger: SampleLedger,
    gate: GateConfig | None = None,
    significance: SignificanceConfig | None = None,
    inputs: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Sampler:
    """The sampler of a name; `inputs` gives what a proxy sees of the samples of an index array.

    Raises:
        ValueError: there is no such sampler.
    """
    if name == "ast":
        return AdaptiveSparseSampler(ledger, gate, significance, inputs)
    if name == "random":
        return RandomSubsetSampler(ledger, (gate or GateConfig()).target_activation_rate)
    simple = {"uniform": UniformSampler, "prioritized": PrioritizedSampler, "infobatch": InfoBatchSampler}
    if name not in simple:
        raise ValueError(f"there is no sampler '{name}'; there are {', '.join(SAMPLERS)}")
    return simple[name](ledger)
