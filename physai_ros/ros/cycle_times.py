"""How long a node's cycles take, how old what it acts on is, and which it missed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

LATE = 1.5
"""Periods between two begins from which a cycle counts as missed."""


class CycleTimes:
    """Times the cycles of one node and sums them up, about once a second.

    A deadline is missed by a cycle that takes longer than `period` [s], and by every whole period more than one that
    lies between the begins of two. While not `paced`, where time is driven by answers, nothing is due and nothing is
    missed.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self.paced = True
        self.reset()

    def reset(self) -> None:
        """Begin anew; time until the next cycle is not counted."""
        self._durations: list[float] = []
        self._ages: list[float] = []
        self._begun: float | None = None
        self._last: dict[str, float] = {}
        self.cycles = self.missed = 0

    def timed(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """The callback, its calls timed as cycles."""

        def call(*arguments: object) -> None:
            begin = time.perf_counter()
            callback(*arguments)
            self.add(begin, time.perf_counter())

        return call

    def add(self, begin: float, end: float) -> None:
        """A cycle lasted from `begin` to `end` on one steady clock [s]."""
        self._durations.append(end - begin)
        self.cycles += 1
        before, self._begun = self._begun, begin
        if not self.paced:
            return
        if before is not None and begin - before > LATE * self._period:
            self.missed += max(1, round((begin - before) / self._period) - 1)
        elif end - begin > self._period:
            self.missed += 1

    def add_age(self, age: float) -> None:
        """What a cycle gave out was made from something of this age [s]."""
        self._ages.append(age)

    def values(self) -> dict[str, str]:
        """Figures since the last call, as `/diagnostics` takes them; the counts are since the last reset."""
        self._last |= _figures("cycle", self._durations) | _figures("observation_age", self._ages)
        self._durations, self._ages = [], []
        figures = {name: f"{value:.3f}" for name, value in self._last.items()}
        if self.paced:
            figures["deadline_ms"] = f"{1e3 * self._period:.3f}"
        return figures | {"cycles": str(self.cycles), "missed_deadlines": str(self.missed)}


def _figures(name: str, seconds: list[float]) -> dict[str, float]:
    """Percentiles and maximum [ms] of times [s]; nothing of no times."""
    if not seconds:
        return {}
    names = (f"{name}_{share}_ms" for share in ("p50", "p95", "p99", "max"))
    return dict(zip(names, 1e3 * np.percentile(seconds, [50, 95, 99, 100]), strict=True))
