"""Columns on disk: written like files, read like memory, and found again by the next process."""

from __future__ import annotations

import mmap
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros.durable import hold_folder, sync_file, sync_folder
from physai_ros.training.columns import BLOCK_ROWS, ChunkedColumns
from physai_ros.training.images import ImageReplay


class ReplayFolderError(RuntimeError):
    """A folder of columns cannot be used; the message says why and what to do."""


class MappedColumns(ChunkedColumns):
    """Columns whose blocks are files of a folder, mapped into memory for reading.

    Rows are written through the file, so that a full disk is an error and not a signal; the map shows them at once.
    Pages that were read are the system's to take back. What is in the files beyond the rows that a checkpoint counts
    has no meaning, and is written over.
    """

    def __init__(self, folder: Path, block_rows: int = BLOCK_ROWS) -> None:
        super().__init__(block_rows)
        self.folder = folder
        self._unsynced: set[Path] = set()
        self._mapped: list[mmap.mmap] = []

    def open(self, signature: dict[str, Any]) -> bool:
        """Take over the rows that are there, if they are those of this signature; all of them are read once."""
        self._like = {
            name: np.empty((0, *column["shape"]), dtype=column["type"]) for name, column in signature["columns"].items()
        }
        self._blocks = {name: [] for name in self._like}
        count = int(signature["rows"])
        try:
            for name, like in self._like.items():
                for number in range(-(-count // self._block_rows)):
                    self._blocks[name].append(self._map(self._path(name, number), like))
            self._count = count
            if self.signature() == signature:
                self._let_go()
                return True
        except (OSError, ValueError):
            pass  # missing, or shorter than a block
        self.forget()
        return False

    def forget(self) -> None:
        """Start anew; files that are there are written over."""
        self._blocks, self._like, self._signed, self._count = {}, {}, {}, 0
        self._unsynced.clear()
        self._mapped.clear()

    def _let_go(self) -> None:
        """Give the pages that were read back to the system; they stay in its cache while it has room."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._mapped:
                mapped.madvise(mmap.MADV_DONTNEED)

    def sync(self) -> None:
        """Make durable what was appended since.

        Raises:
            OSError: the disk does not take it.
        """
        if not self._unsynced:
            return
        for path in sorted(self._unsynced):
            sync_file(path)
        sync_folder(self.folder)
        self._unsynced.clear()
        self._let_go()

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number:06d}"

    def _block(self, name: str, number: int, like: np.ndarray) -> np.ndarray:
        path = self._path(name, number)
        size = self._block_rows * like.dtype.itemsize * int(np.prod(like.shape[1:]))
        self.folder.mkdir(parents=True, exist_ok=True)
        # Whole from the start, so that one map shows all that comes later; what is empty takes no space.
        with path.open("ab") as file:
            file.truncate(size)
        return self._map(path, like)

    def _map(self, path: Path, like: np.ndarray) -> np.ndarray:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)
        self._mapped.append(mapped)
        return np.frombuffer(mapped, dtype=like.dtype).reshape(self._block_rows, *like.shape[1:])

    def _write(self, name: str, number: int, begin: int, values: np.ndarray) -> None:
        if not len(values):
            return
        path = self._path(name, number)
        like = self._like[name]
        with path.open("r+b") as file:
            file.seek(begin * like.dtype.itemsize * int(np.prod(like.shape[1:])))
            file.write(np.ascontiguousarray(values, dtype=like.dtype).data)
        self._unsynced.add(path)


class ReplayFolder:
    """A folder of named columns that one process holds; it can be deleted and is made again from the episodes."""

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            ReplayFolderError: another process trains with it.
            OSError: the folder cannot be made.
        """
        self.folder = folder
        self._lock: int | None = None
        self._columns: dict[str, MappedColumns] = {}
        self._images: ImageReplay | None = None
        try:
            self._lock = hold_folder(folder)
        except BlockingIOError as error:
            raise ReplayFolderError(
                f"another process trains with {folder}: wait for it, stop it, or name another place"
            ) from error

    def columns(self, name: str) -> MappedColumns:
        """The columns of this name, empty until rows are appended or opened."""
        if name not in self._columns:
            self._columns[name] = MappedColumns(self.folder / name)
        return self._columns[name]

    def images(self, shape: tuple[int, int, int]) -> ImageReplay:
        """The pictures (height, width, channels), which are durable as soon as they are appended.

        Raises:
            ImageReplayError: there are pictures of another shape.
        """
        if self._images is None:
            self._images = ImageReplay(self.folder / "images", shape, writable=True)
        return self._images

    def open(self, signatures: dict[str, dict[str, Any]]) -> bool:
        """Take over the columns of these signatures by name; where one does not fit, all are forgotten."""
        if all(self.columns(name).open(signature) for name, signature in signatures.items()):
            return True
        self.clear()
        return False

    def clear(self) -> None:
        """Forget everything."""
        for name, columns in self._columns.items():
            columns.forget()
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if self._images is not None:
            self._images.clear()

    def sync(self) -> None:
        """Make everything durable."""
        for columns in self._columns.values():
            columns.sync()
        sync_folder(self.folder)

    def close(self) -> None:
        """Let others have the folder."""
        if self._images is not None:
            self._images.close()
            self._images = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
