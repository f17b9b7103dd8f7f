"""How many episodes it takes to see a gain: power of the tests that decide, before a robot's time is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from physai_ros.evaluation.spending import SpendingWalks

MOST = 20_000


@dataclass(frozen=True)
class PlannedGain:
    """What is to be seen: success of the current policy, the candidate's gain, and how alike the two are.

    `correlation` in 0 ... 1 is that of their outcomes on the same scenario: 1 is as alike as two policies of such
    rates can be; at 0 they share no more than chance has it, and pairing helps least.
    """

    success: float
    gain: float
    correlation: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 < self.success < 1.0 and self.gain and 0.0 <= self.success + self.gain <= 1.0):
            raise ValueError(
                f"success {self.success:g}, gain {self.gain:g}; expected both rates from 0 to 1 and a gain other than 0"
            )
        if not 0.0 <= self.correlation <= 1.0:
            raise ValueError(f"correlation is {self.correlation:g}; expected 0 to 1")

    @property
    def probabilities(self) -> tuple[float, float]:
        """Of a pair that the candidate alone wins, and of one that the current policy alone wins."""
        before, after = self.success, self.success + self.gain
        independent = after * (1.0 - before)
        least = max(0.0, self.gain)
        won = independent + self.correlation * (least - independent)
        return won, won - self.gain


def paired_power(plan: PlannedGain, pairs: int, alpha: float = 0.05) -> float:
    """Probability that the exact paired test, one-sided at `alpha`, sees the gain in so many pairs; exact."""
    won, lost = plan.probabilities if plan.gain > 0 else plan.probabilities[::-1]
    differing = np.arange(pairs + 1)
    chance = stats.binom.pmf(differing, pairs, won + lost)
    seen = stats.binom.sf(_critical(differing, alpha) - 1, differing, won / (won + lost))
    return float(chance @ seen)


def unpaired_power(plan: PlannedGain, episodes: int, alpha: float = 0.05) -> float:
    """Probability that Fisher's test, one-sided at `alpha`, sees it in so many episodes of each policy; exact.

    Boschloo's test sees it at least as often.
    """
    before, after = sorted((plan.success, plan.success + plan.gain))
    k = np.arange(episodes + 1)
    low, high = stats.binom.pmf(k, episodes, before), stats.binom.pmf(k, episodes, after)
    # Fewest successes of the better one that are too many, by how many there are of both together.
    fewest = stats.hypergeom.isf(alpha, 2 * episodes, np.arange(2 * episodes + 1), episodes).astype(int) + 1
    return float(high @ (k[:, None] >= fewest[k[:, None] + k[None, :]]) @ low)


@dataclass(frozen=True)
class SequentialPower:
    """What a test that is looked at after every pair does: its `power`, and how many pairs it runs on average."""

    power: float
    mean_pairs: float


def sequential_power(
    plan: PlannedGain, most: int, alpha: float = 0.05, runs: int = 2000, seed: int = 0
) -> SequentialPower:
    """Power and mean number of pairs of `SpendingTest` with at most so many pairs, from simulated runs."""
    won, lost = plan.probabilities
    generator = np.random.default_rng(seed)
    differences = generator.choice([1, -1, 0], p=[won, lost, 1.0 - won - lost], size=(runs, most))
    decided, pairs = run_spending(differences, alpha)
    return SequentialPower(float((decided == np.sign(plan.gain)).mean()), float(pairs.mean()))


def run_spending(differences: np.ndarray, alpha: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts (runs,) of `SpendingTest` on `differences` (runs, most) in -1, 0, 1, and the pairs (runs,) they took."""
    runs, most = differences.shape
    walks, pairs = SpendingWalks(runs, most, alpha), np.full(runs, most)
    for pair in range(most):
        undecided = walks.decided == 0
        pairs[undecided & (walks.update(differences[:, pair]) != 0)] = pair + 1
    return walks.decided, pairs


def episodes_needed(power_at: Callable[[int], float], power: float = 0.8) -> int:
    """Smallest number from which on a test has the power; it rises in saw-teeth, so the last tooth counts.

    Raises:
        ValueError: more than `MOST` would be needed.
    """
    high = 4
    while power_at(high) < power:
        high *= 2
        if high > MOST:
            raise ValueError(f"more than {MOST} episodes would be needed: ask for a larger gain")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    # The teeth are a few episodes wide.
    wide = 8 + high // 50
    below = [n for n in range(high, high + wide) if power_at(n) < power]
    return max(below) + 1 if below else high


def _critical(differing: np.ndarray, alpha: float) -> np.ndarray:
    """Fewest wins of so many pairs that differ which the one-sided sign test calls a gain; above all if none."""
    return stats.binom.isf(alpha, differing, 0.5).astype(int) + 1
