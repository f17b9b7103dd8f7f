"""Filters that say how late they make a signal."""

from __future__ import annotations

import numpy as np


class LowPass:
    """First-order low-pass for samples (n,) at a steady rate; where samples fail, it starts again with the next.

    Attributes:
        group_delay: by which a slow signal comes late [s]: of a steady ramp, exactly.
    """

    def __init__(self, cutoff: float, rate: float) -> None:
        """Let pass below `cutoff` [Hz] of samples that come at `rate` [Hz].

        Raises:
            ValueError: the cutoff is not between 0 and half the rate.
        """
        if not 0.0 < cutoff < 0.5 * rate:
            raise ValueError(f"cutoff {cutoff} Hz at {rate} Hz: expected above 0 and below half the rate")
        self._gain = 1.0 - float(np.exp(-2.0 * np.pi * cutoff / rate))
        self.group_delay = (1.0 - self._gain) / self._gain / rate
        self.reset()

    def reset(self) -> None:
        """Forget the signal."""
        self._value: np.ndarray | None = None

    def filtered(self, values: np.ndarray) -> np.ndarray:
        """The filtered sample (n,) for the next sample (n,)."""
        before = self._value
        new = np.array(values, dtype=float)
        if before is None or before.shape != new.shape or not np.isfinite(before).all():
            self._value = new
        else:
            self._value = before + self._gain * (new - before)
        return self._value.copy()
