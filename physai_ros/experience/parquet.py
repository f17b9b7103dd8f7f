"""Tables of a LeRobotDataset as Parquet files; by pyarrow, an optional extra."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from physai_ros.experience.lerobot_layout import DATA_FILE_MEGABYTES, ExchangeError, Feature, Place


def parquet_library() -> tuple[ModuleType, ModuleType]:
    """Pyarrow and its Parquet module.

    Raises:
        ExchangeError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ExchangeError("datasets need pyarrow: pip install 'physai_ros[exchange]'") from error
    return pyarrow, pyarrow.parquet


class TableWriter:
    """Writes tables of the same columns one after another, in files that are begun anew when they are large enough."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._arrow, self._parquet = parquet_library()
        self._folder, self._pattern = folder, pattern
        self._place = Place()
        self._writer: Any = None
        self._bytes = 0
        self._keys: tuple[str, ...] = ()

    def append(self, columns: dict[str, np.ndarray], features: dict[str, Feature]) -> Place:
        """Write columns of equal length, typed by their features; returns the file that they are in."""
        table = self._arrow.table({key: self._array(column, features[key]) for key, column in columns.items()})
        if self._writer is not None and self._bytes + table.nbytes > DATA_FILE_MEGABYTES << 20:
            self.close()
            self._place = self._place.next()
        if self._writer is None:
            path = self._folder / self._place.path(self._pattern)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._parquet.ParquetWriter(path, table.schema)
            self._bytes = 0
        self._writer.write_table(table)
        self._bytes += table.nbytes
        return self._place

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _array(self, column: np.ndarray, feature: Feature) -> Any:  # noqa: ANN401 an array of pyarrow
        kind = getattr(self._arrow, "bool_" if feature.dtype == "bool" else feature.dtype)()
        flat = self._arrow.array(np.ascontiguousarray(column).reshape(-1), kind)
        return flat if column.ndim == 1 else self._arrow.FixedSizeListArray.from_arrays(flat, column.shape[1])


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of plain values."""
    arrow, parquet = parquet_library()
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows), path)


def write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """Write the numbers of the tasks as the table that pandas would: the task is the index of its row."""
    arrow, parquet = parquet_library()
    index = "__index_level_0__"
    described = {
        "index_columns": [index],
        "column_indexes": [
            {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
        "creator": {"library": "pyarrow", "version": arrow.__version__},
        "pandas_version": "2.0.0",
    }
    table = arrow.table({"task_index": arrow.array(list(tasks.values()), arrow.int64()), index: list(tasks)})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)


def read_table(path: Path, columns: list[str] | None = None) -> Any:  # noqa: ANN401 a table of pyarrow
    """A table, or some columns of it.

    Raises:
        ExchangeError: the file cannot be read.
    """
    arrow, parquet = parquet_library()
    try:
        return parquet.read_table(path, columns=columns)
    except (OSError, arrow.ArrowException) as error:
        raise ExchangeError(f"{path} is no Parquet file that can be read: {error}") from error


def column_of(table: Any, name: str) -> np.ndarray:  # noqa: ANN401 a table of pyarrow
    """A column (n,) or (n, width) of a table."""
    column = table.column(name).combine_chunks()
    if hasattr(column, "chunks"):
        column = column.chunk(0)
    if str(column.type).startswith(("list", "fixed_size_list", "large_list")):
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)
