"""An exact paired test that is looked at after every pair and uses up its error over a planned number of them."""

from __future__ import annotations

import numpy as np

POWER = 1.0
"""Of the spending function (share of pairs done) ** POWER: 1 spends evenly, more keeps the error for later looks."""


class SpendingTest:
    """Whether the candidate wins more of the pairs that differ than chance would, in at most `most` pairs.

    If neither policy is better, each pair that differs is won by the candidate with probability one half, whichever
    pairs these are. So the probability of every way of winning so far is known exactly, and after pair k as much of it
    is called `better` as fits into `alpha * (k / most) ** POWER`. The same boundary mirrored gives `worse`. Over all
    looks, a candidate that is not better is called so with probability at most `alpha`.

    Sources: Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983; spending by
    powers: Kim and DeMets, Biometrika 74, 1987. It plays the part that STEP plays for unpaired trials (Snyder et al.,
    "Is your imitation learning policy better than mine?", 2025): nearly the power of a test of fixed size, sooner.
    """

    def __init__(self, most: int, alpha: float = 0.05, power: float = POWER) -> None:
        if most < 1 or not 0.0 < alpha < 0.5 or not power > 0.0:
            raise ValueError(f"most {most}, alpha {alpha}, power {power}; expected >= 1, 0 to 0.5, above 0")
        self.pairs = self.wins = self.losses = 0
        self.verdict = ""
        self._walks = SpendingWalks(1, most, alpha, power)

    def update(self, difference: int) -> str:
        """The verdict after one more pair: 1 where the candidate alone succeeded, -1 where the current one did.

        Raises:
            ValueError: there are more pairs than planned, or `difference` is another number.
        """
        if difference not in (-1, 0, 1):
            raise ValueError(f"difference of a pair is {difference}; expected -1, 0 or 1")
        self.pairs += 1
        self.wins += difference > 0
        self.losses += difference < 0
        decided = int(self._walks.update(np.array([difference]))[0])
        self.verdict = {1: "better", -1: "worse", 0: ""}[decided]
        return self.verdict


class SpendingWalks:
    """The test for many runs at once: what 10,000 simulated evaluations would have said.

    `spent` (runs,) is the probability, exactly, with which each would have called an equal candidate better by now.
    """

    def __init__(self, runs: int, most: int, alpha: float = 0.05, power: float = POWER) -> None:
        self._most, self._alpha, self._power = most, alpha, power
        self._pair = 0
        # Probability, if neither is better, of so many wins without a verdict so far; one row a run.
        self._mass = np.zeros((runs, most + 1))
        self._mass[:, 0] = 1.0
        self.spent = np.zeros(runs)
        self._wins = np.zeros(runs, dtype=int)
        self._losses = np.zeros(runs, dtype=int)
        self.decided = np.zeros(runs, dtype=int)

    def update(self, differences: np.ndarray) -> np.ndarray:
        """Verdicts (runs,) after one more pair each, `differences` (runs,) in -1, 0, 1; 1 better, -1 worse, 0 none."""
        if self._pair >= self._most:
            raise ValueError(f"the test was planned for {self._most} pairs; plan a new one for more")
        self._pair += 1
        budget = self._alpha * (self._pair / self._most) ** self._power
        rows = np.flatnonzero((differences != 0) & (self.decided == 0))
        if not rows.size:
            return self.decided
        self._wins[rows] += differences[rows] > 0
        self._losses[rows] += differences[rows] < 0
        size = self._pair + 1
        before = self._mass[rows, :size]
        after = 0.5 * before
        after[:, 1:] += 0.5 * before[:, :-1]
        tails = np.cumsum(after[:, ::-1], axis=1)[:, ::-1]
        # A hair of slack keeps rounding from deciding where tail and budget are equal.
        rejected = self.spent[rows, None] + tails <= budget + 1e-12
        self.spent[rows] += np.where(rejected, after, 0.0).sum(axis=1)
        self._mass[rows, :size] = np.where(rejected, 0.0, after)
        upper = np.where(rejected.any(axis=1), rejected.argmax(axis=1), size)
        better, worse = self._wins[rows] >= upper, self._losses[rows] >= upper
        self.decided[rows] = np.where(better, 1, np.where(worse, -1, 0))
        return self.decided
