"""A folder of its own for every run."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path


def new_run_folder(name: str, parent: Path = Path("runs")) -> Path:
    """A folder `parent/name-TIME` that was just made; two runs that start in the same second get one each."""
    parent.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in count(1):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("there is always a next number")
