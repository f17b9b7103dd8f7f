"""Evidence that may be looked at after every episode without inflating error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from physai_ros.evaluation.spending import SpendingTest
from physai_ros.evaluation.statistics import Interval


class BettingMartingale:
    """Wealth of bets against "the candidate's mean gain is at most -margin".

    Paired differences in -1 ... 1 (success, or partial credit, of the candidate minus that of the current policy on the
    same scenario and seed) are bet on one by one, with a uniform mixture of stakes. If the hypothesis holds, the wealth
    exceeds 1 / alpha with probability at most alpha, at whatever moment one stops (Ville 1939).
    Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024.
    """

    def __init__(self, margin: float = 0.0, stakes: int = 100) -> None:
        if not 0.0 <= margin < 1.0:
            raise ValueError(f"margin is {margin}; expected 0 <= margin < 1")
        self.margin = margin
        # A stake of 1 / (1 - margin) would be ruined by one full loss; the grid ends below it.
        self._stakes = np.arange(stakes) / stakes / (1.0 - margin)
        self._log_wealth = np.zeros(stakes)
        self.largest = 1.0

    @property
    def e_value(self) -> float:
        """Wealth now; 1 says nothing, 20 or more is evidence at the 5 % level."""
        peak = self._log_wealth.max()
        return float(np.exp(peak) * np.mean(np.exp(self._log_wealth - peak)))

    def update(self, difference: float) -> float:
        """The e-value after one more paired difference in -1 ... 1.

        Raises:
            ValueError: the difference is outside -1 ... 1.
        """
        if not -1.0 <= difference <= 1.0:
            raise ValueError(f"paired difference is {difference}; expected -1 to 1")
        self._log_wealth += np.log1p(self._stakes * (difference + self.margin))
        value = self.e_value
        self.largest = max(self.largest, value)
        return value


def paired_e_value(differences: Iterable[float], margin: float = 0.0) -> float:
    """E-value of paired differences in -1 ... 1 against "the mean gain is at most -margin"."""
    martingale = BettingMartingale(margin)
    for difference in differences:
        martingale.update(float(difference))
    return martingale.e_value


def betting_interval(
    differences: Sequence[float], confidence: float = 0.95, *, means: int = 801, stakes: int = 50
) -> Interval:
    """Interval of the mean of paired differences in -1 ... 1 that covers at whatever moment one stops.

    Every mean on a grid is bet against from both sides; those against which too much was won are left out. Needs
    nothing of the differences but their bounds, so partial credit is as welcome as success. Source: as
    `BettingMartingale`.
    """
    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    if values.size and not (values.min() >= -1.0 and values.max() <= 1.0):
        raise ValueError(f"paired differences go from {values.min()} to {values.max()}; expected -1 to 1")
    grid = np.linspace(-1.0, 1.0, means)
    shares = np.arange(stakes) / stakes
    wealth = np.zeros((2, means))
    for side, sign in enumerate((1.0, -1.0)):
        # The largest stake that no value can ruin depends on the mean that is bet against.
        most = 1.0 / np.maximum(1.0 + sign * grid, 1e-9)
        bets = sign * shares[:, None, None] * most[None, :, None] * (values[None, None, :] - grid[None, :, None])
        log_wealth = (np.log1p(np.maximum(bets, -1.0 + 1e-12)) * counts).sum(axis=2)
        peak = log_wealth.max(axis=0)
        wealth[side] = peak + np.log(np.exp(log_wealth - peak).mean(axis=0))
    kept = grid[np.logaddexp(*wealth) - np.log(2.0) < np.log(1.0 / (1.0 - confidence))]
    step = grid[1] - grid[0]
    if not kept.size:
        mean = float(np.average(values, weights=counts))
        return Interval(mean, mean)
    return Interval(float(max(-1.0, kept.min() - step)), float(min(1.0, kept.max() + step)))


class SequentialTest:
    """Pairs one by one, looked at after each; says when enough is known, and is wrong no more often than `alpha`.

    - `better`: of a candidate whose gain is not above zero this is said with probability at most `alpha`, over all
      looks together; `worse`: likewise of one whose gain is not below zero.
    - `not_worse` (only with `margin` > 0): likewise of one whose gain is at most `-margin`.

    `better` and `worse` come from `SpendingTest`, which uses up its `alpha` over the `most` pairs that there will be;
    with `partial_credit`, where scores lie anywhere in 0 ... 1, and for `not_worse`, from `BettingMartingale`.
    """

    def __init__(self, most: int, *, margin: float = 0.0, alpha: float = 0.05, partial_credit: bool = False) -> None:
        self.pairs, self.verdict = 0, ""
        self._most, self._enough = most, 1.0 / alpha
        self._spending = None if partial_credit else SpendingTest(most, alpha)
        self._better, self._worse = BettingMartingale(), BettingMartingale()
        self._not_worse = BettingMartingale(margin) if margin > 0.0 else None

    @property
    def finished(self) -> bool:
        """Whether a verdict was reached, or as many pairs were run as there may be."""
        return bool(self.verdict) or self.pairs >= self._most

    @property
    def e_value(self) -> float:
        """Evidence so far that the candidate is better."""
        return self._better.e_value

    def update(self, candidate: float, current: float) -> str:
        """The verdict after one more pair of scores; empty while there is none. The first one stays.

        Raises:
            ValueError: a score is outside 0 ... 1, or lies between them without `partial_credit`.
        """
        if not (0.0 <= candidate <= 1.0 and 0.0 <= current <= 1.0):
            raise ValueError(f"scores are {candidate} and {current}; expected numbers from 0 to 1")
        if self.finished:
            return self.verdict
        difference = float(candidate) - float(current)
        if self._spending is not None:
            if difference not in (-1.0, 0.0, 1.0):
                raise ValueError(f"scores are {candidate} and {current}; say partial_credit for scores between 0 and 1")
            self._spending.update(int(difference))
        self.pairs += 1
        self._better.update(difference)
        self._worse.update(-difference)
        if self._not_worse is not None:
            self._not_worse.update(difference)
        self.verdict = self._judge()
        return self.verdict

    def _judge(self) -> str:
        if self._spending is not None:
            if self._spending.verdict:
                return self._spending.verdict
        elif self._better.e_value >= self._enough:
            return "better"
        elif self._worse.e_value >= self._enough:
            return "worse"
        return "not_worse" if self._not_worse is not None and self._not_worse.e_value >= self._enough else ""
