"""The samples in memory, as growing columns, and what training learned about each of them in passing."""

from __future__ import annotations

import numpy as np

from physai_ros.training.significance import TrainingSampleContext


class GrowingColumns:
    """Columns of equal length that grow by doubling; `view(name)` is the filled part."""

    def __init__(self) -> None:
        self._columns: dict[str, np.ndarray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: dict[str, np.ndarray]) -> None:
        """Add rows; the first call fixes names, shapes and types.

        Raises:
            ValueError: names or shapes differ from those of the first call.
        """
        if not self._columns:
            self._columns = {name: np.array(values) for name, values in rows.items()}
            self._count = len(next(iter(rows.values())))
            return
        if set(rows) != set(self._columns):
            raise ValueError(f"columns are {sorted(self._columns)}, given were {sorted(rows)}")
        count = len(next(iter(rows.values())))
        for name, values in rows.items():
            column = self._columns[name]
            if values.shape != (count, *column.shape[1:]):
                raise ValueError(f"column {name}: rows of shape {values.shape}, expected ({count}, {column.shape[1:]})")
        for name, values in rows.items():
            column = self._columns[name]
            if self._count + count > len(column):
                larger = np.empty((max(2 * len(column), self._count + count), *column.shape[1:]), dtype=column.dtype)
                larger[: self._count] = column[: self._count]
                self._columns[name] = column = larger
            column[self._count : self._count + count] = values
        self._count += count

    def view(self, name: str) -> np.ndarray:
        """The rows of one column; writing to it writes to the column."""
        return self._columns[name][: self._count]

    def state(self) -> dict[str, np.ndarray]:
        """The columns, not copied; `append` on an empty object restores them."""
        return {name: self.view(name) for name in self._columns}

    def truncate(self, count: int) -> None:
        """Forget all rows from `count` on."""
        self._count = min(self._count, count)


class SampleLedger:
    """What is known of every sample of a pool without looking at it again: stale scores, free from the forward pass."""

    _LEARNED = ("loss", "previous_loss", "novelty", "uncertainty")
    _PHYSICAL = ("failure_time", "force_excess", "intervention_age", "event_time")

    def __init__(self) -> None:
        self._columns = GrowingColumns()
        nothing = np.zeros(0)
        self.append(nothing, nothing, nothing)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def loss(self) -> np.ndarray:
        """Loss (n,) at the last visit, NaN where there was none."""
        return self._columns.view("loss")

    @property
    def visits(self) -> np.ndarray:
        """Training visits (n,) of every sample."""
        return self._columns.view("visits")

    @property
    def motion(self) -> np.ndarray:
        """Motion (n,) of every sample, as `strata.motion_of` numbers them."""
        return self._columns.view("motion")

    def append(
        self,
        failure_time: np.ndarray,
        force_excess: np.ndarray,
        intervention_age: np.ndarray,
        event_time: np.ndarray | None = None,
        motion: np.ndarray | None = None,
    ) -> None:
        """Add samples that were never visited, with their physical feedback and their motion, each (n,).

        No `event_time` is inf; without `motion` all samples are alike.
        """
        unknown = np.full(len(failure_time), np.nan, dtype=np.float32)
        event_time = np.full(len(failure_time), np.inf) if event_time is None else event_time
        motion = np.zeros(len(unknown), dtype=np.int64) if motion is None else motion
        physical = zip(self._PHYSICAL, (failure_time, force_excess, intervention_age, event_time), strict=True)
        self._columns.append(
            {name: unknown for name in self._LEARNED}
            | {"visits": np.zeros(len(unknown), dtype=np.int64), "motion": motion}
            | {name: values.astype(np.float32) for name, values in physical}
        )

    def truncate(self, count: int) -> None:
        """Forget the samples from `count` on."""
        self._columns.truncate(count)

    def record(self, indices: np.ndarray, loss: np.ndarray) -> None:
        """Keep what a training forward pass said about the samples `indices` (n,): their loss (n,)."""
        column = self._columns.view
        column("previous_loss")[indices] = column("loss")[indices]
        column("loss")[indices] = loss
        np.add.at(column("visits"), indices, 1)

    def measure(self, indices: np.ndarray, uncertainty: np.ndarray, novelty: np.ndarray) -> None:
        """Keep the spread of the ensemble and the novelty of the samples `indices` (n,), each (n,)."""
        self._columns.view("uncertainty")[indices] = uncertainty
        self._columns.view("novelty")[indices] = novelty

    def context(self, indices: np.ndarray | slice) -> TrainingSampleContext:
        """What is known of the samples `indices` (n,), or of a slice of them."""
        names = (*self._LEARNED, *self._PHYSICAL)
        return TrainingSampleContext(**{name: self._columns.view(name)[indices] for name in names})

    def sample(self, count: int) -> TrainingSampleContext:
        """What is known of about `count` samples, evenly spaced."""
        return self.context(slice(None, None, max(len(self) // count, 1)))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same ledger."""
        return self._columns.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave; where it is of an earlier version, which knew no motions, all are alike."""
        self._columns = GrowingColumns()
        self._columns.append({"motion": np.zeros(len(state["visits"]), dtype=np.int64)} | state)
