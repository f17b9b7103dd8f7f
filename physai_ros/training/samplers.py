"""Which samples go into a batch: the controls and Adaptive Sparse Training behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from physai_ros.training.gate import GateConfig, SparseGate
from physai_ros.training.replay import SampleLedger
from physai_ros.training.score_board import ScoreBoard
from physai_ros.training.significance import RobotTrainingSignificance, SignificanceConfig
from physai_ros.training.strata import dealt_out


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

    needs_signals = False

    def __init__(self, ledger: SampleLedger) -> None:
        self.ledger = ledger

    @abstractmethod
    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """About `count` samples of a pool that is not empty."""

    def draw_uniform(self, count: int, generator: np.random.Generator) -> Draw:
        """`count` samples, every one alike: what takes this sampler's place where it does worse."""
        return Draw(generator.integers(len(self.ledger), size=count), np.ones(count, dtype=np.float32), count)

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


class PassSampler(Sampler):
    """Chooses for a whole pass over the pool at once, and hands that out batch by batch.

    So choosing costs next to nothing a step, and what is chosen is not drawn again before the pass is over. When
    samples are added the pass ends there, so that what is new is heard at once.
    """

    def __init__(self, ledger: SampleLedger) -> None:
        super().__init__(ledger)
        self._indices = np.zeros(0, dtype=np.int64)
        self._weights = np.zeros(0, dtype=np.float32)
        self._size = 0  # of the pool when the pass was chosen
        self._price = self._owed = 0.0  # samples offered for each one chosen, and those not yet counted

    @abstractmethod
    def choose(self, count: int, generator: np.random.Generator) -> Draw:
        """A pass: samples in the order in which they are to come, by batches of `count`."""

    def draw(self, count: int, generator: np.random.Generator) -> Draw:
        """`count` samples."""
        if self._size != len(self.ledger):
            self._indices, self._weights, self._size = self._indices[:0], self._weights[:0], len(self.ledger)
        indices, weights, missing = [], [], count
        while missing:
            if not len(self._indices):
                self._indices, self._weights, offered = self.choose(count, generator)
                self._price = offered / max(len(self._indices), 1)
            indices.append(self._indices[:missing])
            weights.append(self._weights[:missing])
            self._indices, self._weights = self._indices[missing:], self._weights[missing:]
            missing -= len(indices[-1])
            self._owed += self._price * len(indices[-1])
        offered = int(self._owed)
        self._owed -= offered
        return Draw(np.concatenate(indices), np.concatenate(weights), offered)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same sampler."""
        return {
            "indices": self._indices.copy(),
            "weights": self._weights.copy(),
            "pass": np.array([self._size, self._price, self._owed]),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._indices, self._weights = state["indices"].copy(), state["weights"].copy()
        size, self._price, self._owed = (float(value) for value in state["pass"])
        self._size = int(size)


class PrioritizedSampler(PassSampler):
    """In proportion to the stale loss to the power of 0.6, with replacement, without importance weights.

    A sample that was never visited counts as much as the worst one. Source: Schaul et al., "Prioritized experience
    replay", 2016; priorities are looked at once a pass.
    """

    _ALPHA = 0.6

    def choose(self, count: int, generator: np.random.Generator) -> Draw:
        """As many samples as the pool holds."""
        loss = self.ledger.loss.astype(float)
        unseen = np.isnan(loss)
        worst = 1.0 if unseen.all() else float(np.nanmax(loss))
        cumulative = np.cumsum((np.where(unseen, worst, loss) + 1e-6) ** self._ALPHA)
        size = len(loss)
        indices = np.searchsorted(cumulative, generator.random(size) * cumulative[-1], side="right")
        return Draw(np.minimum(indices, size - 1), np.ones(size, dtype=np.float32), size)


class InfoBatchSampler(PassSampler):
    """Passes that leave out half of the samples below the mean loss and weigh the other half double.

    In expectation the gradient is that of the whole pass. Source: Qin et al., "InfoBatch: Lossless training speed up
    by unbiased dynamic data pruning", 2024.
    """

    _PRUNED = 0.5

    def choose(self, count: int, generator: np.random.Generator) -> Draw:
        """What is left of the pool."""
        loss = self.ledger.loss
        mean = float(np.nanmean(loss)) if np.isfinite(loss).any() else np.nan
        easy = loss < mean
        kept = ~easy | (generator.random(len(loss)) >= self._PRUNED)
        indices = generator.permutation(np.flatnonzero(kept))
        weights = np.where(easy[indices], 1.0 / (1.0 - self._PRUNED), 1.0).astype(np.float32)
        return Draw(indices, weights, len(loss))


class AdaptiveSparseSampler(PassSampler):
    """Adaptive Sparse Training: offers the pool many times, scored by what is known; the gate passes about as many.

    All the offers of a pass are judged by one score a sample, as it was when the pass began: a sample is visited about
    once a pass, and what its visit brings is known to the next.
    """

    def __init__(
        self,
        ledger: SampleLedger,
        gate: GateConfig | None = None,
        significance: SignificanceConfig | None = None,
        inputs: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        super().__init__(ledger)
        significance = significance or SignificanceConfig()
        self.gate = SparseGate(gate)
        self.board = ScoreBoard(ledger, RobotTrainingSignificance(significance), self.gate.config, inputs)
        self.needs_signals = bool(significance.w_novelty or significance.w_uncertainty)

    def choose(self, count: int, generator: np.random.Generator) -> Draw:
        """About as many samples as the pool holds, out of that number over `target_activation_rate` offered ones.

        Each batch has about the pass's share of every motion.
        """
        config = self.gate.config
        looks = max(round(1.0 / config.target_activation_rate), 1)
        selection = self.gate.select(self.board.scores(), looks, generator)
        indices = np.repeat(np.arange(len(self.ledger)), selection.counts)
        indices = indices[dealt_out(self.ledger.motion[indices], count, generator)]
        weights = (config.target_activation_rate / selection.probabilities[indices]) ** config.correction
        return Draw(indices, weights.astype(np.float32), looks * len(self.ledger))

    def draw_uniform(self, count: int, generator: np.random.Generator) -> Draw:
        """About `count` samples regardless of significance, as sparse as the gate is to be."""
        return _random_subset(len(self.ledger), count, self.gate.config.target_activation_rate, generator)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same sampler."""
        gate = {f"gate.{name}": np.array([value]) for name, value in self.gate.state().items()}
        return super().state() | gate | {f"board.{name}": value for name, value in self.board.state().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        super().restore(state)
        self.gate.restore({name: float(value[0]) for name, value in part("gate.").items()})
        self.board.restore(part("board."))


def _random_subset(size: int, count: int, rate: float, generator: np.random.Generator) -> Draw:
    """Of `count / rate` offered ones each with probability `rate`, with replacement; about `count` in the end."""
    offered = max(round(count / rate), 1)
    passed = int(generator.binomial(offered, rate))
    return Draw(generator.integers(size, size=passed), np.ones(passed, dtype=np.float32), offered)


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
