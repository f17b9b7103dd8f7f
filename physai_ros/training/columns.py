"""Columns of samples in blocks: they grow by a block, and nothing that is there already is copied."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

BLOCK_ROWS = 1 << 17
"""Rows of a block. Memory that was not written to costs nothing, so a block may be much larger than what it holds."""


class ChunkedColumns:
    """Columns of equal length; rows are appended, read by index, and never change.

    Growing an array by doubling needs three times its size for a moment. A block that is full stays where it is, so the
    peak is what the rows take. Types are kept as given: observations stay float32, for a policy that was trained on
    float16 would act on other numbers than it learned from (2e-3 at the largest component of `pick_place`).
    """

    def __init__(self, block_rows: int = BLOCK_ROWS) -> None:
        if block_rows < 1:
            raise ValueError(f"block_rows is {block_rows}, expected at least 1")
        self._block_rows = block_rows
        self._blocks: dict[str, list[np.ndarray]] = {}
        self._like: dict[str, np.ndarray] = {}
        self._signed: dict[str, tuple[int, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns; none before the first row."""
        return tuple(self._blocks)

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return sum(self._count * like.dtype.itemsize * int(np.prod(like.shape[1:])) for like in self._like.values())

    def append(self, rows: dict[str, np.ndarray]) -> None:
        """Add n rows; each column is (n, ...). The first call fixes names, shapes and types.

        Raises:
            ValueError: the columns are of unequal length, or differ from those of the first call.
        """
        self.check(rows)
        if not self._like:
            # A block of no rows tells shape and type.
            self._like = {name: values[:0].copy() for name, values in rows.items()}
            self._blocks = {name: [] for name in rows}
        count = len(next(iter(rows.values())))
        done = 0
        while done < count:
            number, begin = divmod(self._count + done, self._block_rows)
            size = min(self._block_rows - begin, count - done)
            for name, values in rows.items():
                if number == len(self._blocks[name]):
                    self._blocks[name].append(self._block(name, number, self._like[name]))
                self._write(name, number, begin, values[done : done + size])
            done += size
        # The rows count once all columns have them: an error half-way leaves what was there before.
        self._count += count

    def truncate(self, count: int) -> None:
        """Forget all rows from `count` on.

        Raises:
            ValueError: there are fewer rows.
        """
        if not 0 <= count <= self._count:
            raise ValueError(f"count is {count}, expected 0 to {self._count}")
        self._count = count
        self._signed = {name: signed for name, signed in self._signed.items() if signed[0] <= count}

    def check(self, rows: dict[str, np.ndarray]) -> None:
        """Raise what `append` would raise, and add nothing."""
        counts = {name: len(values) for name, values in rows.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"columns are of {counts} rows: give every column the same number of rows")
        if not self._like:
            return
        if set(rows) != set(self._like):
            raise ValueError(f"columns are {sorted(self._like)}, given were {sorted(rows)}")
        for name, values in rows.items():
            shape = self._like[name].shape[1:]
            if values.shape[1:] != shape:
                raise ValueError(f"column {name}: a row of shape {values.shape[1:]}, expected {shape}")

    def _block(self, name: str, number: int, like: np.ndarray) -> np.ndarray:
        """Room for block `number` of a column whose rows are like those of `like`."""
        return np.empty((self._block_rows, *like.shape[1:]), dtype=like.dtype)

    def _write(self, name: str, number: int, begin: int, values: np.ndarray) -> None:
        """Put values into a block from row `begin` on."""
        self._blocks[name][number][begin : begin + len(values)] = values

    def gather(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Rows (n, ...) of one column, copied, for indices (n,).

        Raises:
            IndexError: an index is negative or past the end.
        """
        indices = np.asarray(indices)
        if len(indices) and not (0 <= indices.min() and indices.max() < self._count):
            raise IndexError(f"indices from {indices.min()} to {indices.max()}, expected 0 to {self._count - 1}")
        blocks, like = self._blocks[name], self._like[name]
        if len(blocks) == 1:
            return blocks[0][indices]
        gathered = np.empty((len(indices), *like.shape[1:]), dtype=like.dtype)
        block, row = np.divmod(indices, self._block_rows)
        for number in np.unique(block):
            here = block == number
            gathered[here] = blocks[number][row[here]]
        return gathered

    def signature(self) -> dict[str, Any]:
        """What the rows are, as JSON writes it: how many, and of each column type, shape and CRC-32.

        Columns with equal signatures hold the same rows.
        """
        names = self._like if self._count else ()
        return {"rows": self._count, "columns": {name: self._column_signature(name) for name in names}}

    def _column_signature(self, name: str) -> dict[str, Any]:
        like, (done, crc) = self._like[name], self._signed.get(name, (0, 0))
        # Rows do not change: what was signed before is gone on from.
        while done < self._count:
            number, begin = divmod(done, self._block_rows)
            end = min(self._block_rows, begin + self._count - done)
            crc = zlib.crc32(np.ascontiguousarray(self._blocks[name][number][begin:end]).view(np.uint8), crc)
            done += end - begin
        self._signed[name] = (done, crc)
        return {"type": like.dtype.str, "shape": list(like.shape[1:]), "crc": crc}
