"""Files that are whole or as they were, whatever dies meanwhile, and folders that one process holds."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, alone: bool = False) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends, durably; nobody ever reads half of it.

    Makes the folder if need be. Where the block raises, `path` stays as it was. Where one process `alone` ever writes
    `path`, what it leaves beside when it is killed is written over the next time.

    Raises:
        OSError: the disk does not take it; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if alone:
        scratch = path.with_name(f".{path.name}.new")
        file = scratch.open("wb")
    else:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.fchmod(handle, 0o644)  # as other files are, not as temporary ones
        scratch, file = Path(name), os.fdopen(handle, "wb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes | str) -> None:
    """Put `data` in the place of what `path` holds, as `replacing` does."""
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def sync_file(path: Path) -> None:
    """Make durable what was written to a file by whoever wrote it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder has, and under which names."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold_folder(folder: Path) -> int:
    """Descriptor by which this process alone holds a folder until it is closed; the folder is made if need be.

    Raises:
        BlockingIOError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
