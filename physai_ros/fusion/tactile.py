"""Tactile arrays on a gripper's pads: the total normal force of each."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from physai_ros.fusion.timeline import Reading, SensorTimeline

_PULL = 0.05  # of the largest force: what a pad may seem to pull, by drift of its zero


class TactilePads:
    """Taxels of several pads on their own stamps, read as one force a pad at the instants of joint samples.

    A taxel measures normal force in units of `newtons` [N]. A pad is not believed to feel more than `largest` [N].
    """

    def __init__(self, pads: int, *, timeout: float, newtons: float = 1.0, largest: float = np.inf) -> None:
        self._pads = pads
        self._newtons = newtons
        self._largest = largest
        self._timeline = SensorTimeline(pads, timeout=timeout, check=self._range_reason)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._timeline.reset()
        self._taxels = 0

    def add(self, stamp: float, taxels: np.ndarray, sizes: Sequence[int] = ()) -> str:
        """Why taxels (n,), pad by pad, felt at `stamp` [s], were refused; empty when they were taken in.

        `sizes` are those of the array's dimensions, the pads first; empty where the array does not say.
        """
        count = len(taxels)
        said = tuple(sizes) or (self._pads, count // self._pads)
        if said[0] != self._pads or prod(said) != count or not count or count != (self._taxels or count):
            expected = f"{self._pads} pads of as many taxels" + (f", {self._taxels} in all" if self._taxels else "")
            shape = " x ".join(map(str, sizes)) or "of no stated size"
            return self._timeline.refuse(f"length: {count} taxels {shape}, expected {expected}")
        reason = self._timeline.add(stamp, self._newtons * np.reshape(taxels, (self._pads, -1)).sum(axis=1))
        if not reason:
            self._taxels = count
        return reason

    def reading(self, instant: float) -> Reading:
        """Normal force (pads,) [N] at an instant [s]."""
        return self._timeline.reading(instant)

    def _range_reason(self, forces: np.ndarray) -> str:
        beyond = np.maximum(forces - self._largest, -_PULL * self._largest - forces)
        worst = int(beyond.argmax())
        if not beyond[worst] > 0.0:
            return ""
        return (
            f"range: pad {worst} feels {forces[worst]:.4g} N; believed are up to {self._largest:.4g} N and no pull; "
            "check the zero and the unit of its taxels"
        )
