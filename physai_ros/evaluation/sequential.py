"""Evidence that may be looked at after every episode without inflating error."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


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
