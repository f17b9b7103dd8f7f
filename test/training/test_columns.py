"""Columns in blocks behave like one long array that only grows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.training.columns import ChunkedColumns


def rows_of(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"pair": np.stack([values, -values], axis=1).astype(np.float32), "flag": values % 2 == 0}


@settings(deadline=None)
@given(
    block_rows=st.integers(1, 7), counts=st.lists(st.integers(0, 12), min_size=1, max_size=8), seed=st.integers(0, 99)
)
def test_rows_come_back_by_index_wherever_the_blocks_end(block_rows, counts, seed):
    columns = ChunkedColumns(block_rows)
    everything = np.arange(sum(counts))
    for part in np.split(everything, np.cumsum(counts)[:-1]):
        columns.append(rows_of(part))
    assert len(columns) == len(everything)
    indices = np.random.default_rng(seed).integers(max(len(everything), 1), size=20)[: 20 * bool(len(everything))]
    for name, values in rows_of(everything).items():
        gathered = columns.gather(name, indices)
        assert gathered.dtype == values.dtype
        np.testing.assert_array_equal(gathered, values[indices])


@settings(deadline=None)
@given(
    block_rows=st.integers(1, 7),
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    asked=st.integers(0, 5),
    kept=st.floats(0, 1),
)
def test_a_signature_tells_rows_and_nothing_of_how_they_came(block_rows, counts, asked, kept):
    columns = ChunkedColumns(block_rows)
    for number, part in enumerate(np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])):
        columns.append(rows_of(part))
        if number == asked:
            columns.signature()  # what was signed on the way is gone on from
    left = int(kept * len(columns))
    columns.truncate(left)
    columns.append(rows_of(np.arange(left, left + 3)))
    at_once = ChunkedColumns(5)
    at_once.append(rows_of(np.arange(left + 3)))
    assert columns.signature() == at_once.signature()
    at_once.append(rows_of(np.arange(1)))
    assert columns.signature() != at_once.signature()


def test_rows_that_do_not_fit_are_refused_and_nothing_is_added():
    columns = ChunkedColumns(4)
    columns.append(rows_of(np.arange(3)))
    for rows, said in (
        ({"pair": np.zeros((1, 2))}, "given were"),
        ({"pair": np.zeros((1, 3)), "flag": np.zeros(1)}, "expected"),
        ({"pair": np.zeros((2, 2)), "flag": np.zeros(1)}, "same number"),
    ):
        with pytest.raises(ValueError, match=said):
            columns.append(rows)
    assert len(columns) == 3


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_without_a_row_is_refused(index):
    columns = ChunkedColumns(4)
    columns.append(rows_of(np.arange(3)))
    with pytest.raises(IndexError, match="expected 0 to 2"):
        columns.gather("flag", np.array([index]))


_GROW = """
import resource, sys
sys.path[:0] = sys.argv[1].split(":")
import numpy as np
from physai_ros.training.columns import ChunkedColumns
columns, rows = ChunkedColumns(4096), {"x": np.ones((1000, 256), dtype=np.float32)}
columns.append(rows)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(60):
    columns.append(rows)
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), columns.nbytes)
"""


def test_growth_never_takes_more_than_the_rows_themselves():
    paths = ":".join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", _GROW, paths], capture_output=True, text=True, check=True)
    peak, held = map(int, done.stdout.split())
    assert held == 61 * 1000 * 1024
    assert peak < 1.15 * held
