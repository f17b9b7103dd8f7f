"""Columns of samples in blocks: they grow by a block, and nothing that is there already is copied."""

from __future__ import annotations

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
        return sum(self._count * blocks[0][:1].nbytes for blocks in self._blocks.values())

    def append(self, rows: dict[str, np.ndarray]) -> None:
        """Add n rows; each column is (n, ...). The first call fixes names, shapes and types.

        Raises:
            ValueError: the columns are of unequal length, or differ from those of the first call.
        """
        self.check(rows)
        if not self._blocks:
            self._blocks = {name: [self._empty(values)] for name, values in rows.items()}
        count = len(next(iter(rows.values())))
        done = 0
        while done < count:
            block, begin = divmod(self._count, self._block_rows)
            size = min(self._block_rows - begin, count - done)
            for name, values in rows.items():
                blocks = self._blocks[name]
                if block == len(blocks):
                    blocks.append(self._empty(blocks[0]))
                blocks[block][begin : begin + size] = values[done : done + size]
            self._count += size
            done += size

    def check(self, rows: dict[str, np.ndarray]) -> None:
        """Raise what `append` would raise, and add nothing."""
        counts = {name: len(values) for name, values in rows.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"columns are of {counts} rows: give every column the same number of rows")
        if not self._blocks:
            return
        if set(rows) != set(self._blocks):
            raise ValueError(f"columns are {sorted(self._blocks)}, given were {sorted(rows)}")
        for name, values in rows.items():
            shape = self._blocks[name][0].shape[1:]
            if values.shape[1:] != shape:
                raise ValueError(f"column {name}: a row of shape {values.shape[1:]}, expected {shape}")

    def _empty(self, like: np.ndarray) -> np.ndarray:
        return np.empty((self._block_rows, *like.shape[1:]), dtype=like.dtype)

    def gather(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Rows (n, ...) of one column, copied, for indices (n,).

        Raises:
            IndexError: an index is negative or past the end.
        """
        indices = np.asarray(indices)
        if len(indices) and not (0 <= indices.min() and indices.max() < self._count):
            raise IndexError(f"indices from {indices.min()} to {indices.max()}, expected 0 to {self._count - 1}")
        blocks = self._blocks[name]
        if len(blocks) == 1:
            return blocks[0][indices]
        gathered = np.empty((len(indices), *blocks[0].shape[1:]), dtype=blocks[0].dtype)
        block, row = np.divmod(indices, self._block_rows)
        for number in np.unique(block):
            here = block == number
            gathered[here] = blocks[number][row[here]]
        return gathered

    def state(self) -> dict[str, np.ndarray]:
        """The filled part of every block, not copied; `restore` makes the same columns of it."""
        return {
            f"{name}.{number}": block[: self._count - number * self._block_rows]
            for name, blocks in self._blocks.items()
            for number, block in enumerate(blocks)
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave; block by block, so that each can be let go once it is read."""
        self._blocks, self._count = {}, 0
        names = dict.fromkeys(key.rpartition(".")[0] for key in state)
        for number in range(len(state) // max(len(names), 1)):
            self.append({name: state[f"{name}.{number}"] for name in names})
