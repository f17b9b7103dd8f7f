"""Replay in memory: samples with priorities, drawn in proportion to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.priorities import PriorityIndex


class ReplayBatch(NamedTuple):
    """Samples drawn: their `indices` (b,), `rows` of each column (b, ...), and the `probabilities` (b,) of the draw."""

    indices: np.ndarray
    rows: dict[str, np.ndarray]
    probabilities: np.ndarray


class PrioritizedReplay:
    """Samples in columns, kept for good; what is drawn follows priorities that training keeps up to date.

    A sample that is inserted without a priority gets the highest one so far, so that it is seen soon (Schaul et al.,
    2016). One over `len(replay) * probability` is the weight that takes the preference back out of a gradient.
    """

    def __init__(self) -> None:
        self._columns = ChunkedColumns()
        self._index = PriorityIndex()
        self._highest = 1.0

    def __len__(self) -> int:
        return len(self._columns)

    def insert(self, rows: dict[str, np.ndarray], priorities: np.ndarray | None = None) -> None:
        """Add n samples, each column (n, ...), with priorities (n,).

        Raises:
            ValueError: columns do not fit each other or those before, or a priority is refused; nothing is added then.
        """
        count = len(next(iter(rows.values())))
        if priorities is None:
            priorities = np.full(count, self._highest)
        elif np.shape(priorities) != (count,):
            raise ValueError(f"priorities of shape {np.shape(priorities)} for {count} samples: give one for each")
        self._columns.check(rows)
        self._index.insert(priorities)
        self._columns.append(rows)
        self._raise(priorities)

    def draw(self, count: int, generator: np.random.Generator) -> ReplayBatch:
        """`count` samples, with replacement.

        Raises:
            ValueError: no sample has a priority above zero.
        """
        indices, probabilities = self._index.draw(count, generator)
        rows = {name: self._columns.gather(name, indices) for name in self._columns.names}
        return ReplayBatch(indices, rows, probabilities)

    def update(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Give the samples `indices` (k,) new priorities (k,); the next draw follows them.

        Raises:
            ValueError: a priority is refused, or there is not one for each index.
            IndexError: there is no such sample.
        """
        self._index.update(indices, priorities)
        self._raise(priorities)

    def _raise(self, priorities: np.ndarray) -> None:
        if len(priorities):
            self._highest = max(self._highest, float(np.max(priorities)))
