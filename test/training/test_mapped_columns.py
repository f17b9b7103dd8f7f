"""Columns on disk: the next process finds them, and what does not fit is never taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.mapped_columns import MappedColumns, ReplayFolder, ReplayFolderError


def rows_of(count: int, first: int = 0) -> dict[str, np.ndarray]:
    values = np.arange(first, first + count)
    return {"pair": np.stack([values, -values], axis=1).astype(np.float32), "flag": values % 3 == 0}


def filled(folder, counts) -> MappedColumns:
    columns, first = MappedColumns(folder, block_rows=5), 0
    for count in counts:
        columns.append(rows_of(count, first))
        first += count
    columns.sync()
    return columns


def test_the_next_process_finds_the_rows_and_goes_on(tmp_path):
    before = filled(tmp_path, (3, 4, 9))
    after = MappedColumns(tmp_path, block_rows=5)
    assert after.open(before.signature())
    after.append(rows_of(4, 16))
    in_memory = ChunkedColumns()
    in_memory.append(rows_of(20))
    assert after.signature() == in_memory.signature()
    indices = np.array([19, 0, 5, 4])
    np.testing.assert_array_equal(after.gather("pair", indices), in_memory.gather("pair", indices))


def test_rows_that_came_after_a_checkpoint_are_written_over(tmp_path):
    columns = filled(tmp_path, (7,))
    kept = columns.signature()
    columns.append(rows_of(6, 100))  # and here the process is killed
    again = MappedColumns(tmp_path, block_rows=5)
    assert again.open(kept)
    again.append(rows_of(2, 7))
    in_memory = ChunkedColumns()
    in_memory.append(rows_of(9))
    assert again.signature() == in_memory.signature()


def _cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _flip, lambda path: path.unlink()])
def test_what_does_not_fit_its_signature_is_not_taken(tmp_path, damage):
    signature = filled(tmp_path, (7,)).signature()
    damage(tmp_path / "pair.000000")
    again = MappedColumns(tmp_path, block_rows=5)
    assert not again.open(signature)
    assert len(again) == 0
    again.append(rows_of(7))
    assert again.signature() == signature


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    columns = filled(tmp_path, (3,))
    before = columns.signature()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(MappedColumns, "_write", full)
        with pytest.raises(OSError, match="No space"):
            columns.append(rows_of(4, 3))
    assert columns.signature() == before
    columns.append(rows_of(4, 3))
    assert len(columns) == 7


def test_two_who_train_with_one_folder_are_refused(tmp_path):
    first = ReplayFolder(tmp_path / "replay")
    with pytest.raises(ReplayFolderError, match="another process trains"):
        ReplayFolder(tmp_path / "replay")
    first.close()
    ReplayFolder(tmp_path / "replay").close()
