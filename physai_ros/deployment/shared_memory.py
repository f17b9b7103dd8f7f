"""Shared-memory files that killed processes leave in `/dev/shm`, and their safe removal.

A DDS process that is killed cannot remove its segments. Which segments belong to whom can only be seen while the owner
lives, in `/proc/<pid>/maps`. So one remembers what the own processes had mapped, and removes of that what no living
process maps any more.
"""

import re
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path("/dev/shm")
PATTERN = re.compile(r"/dev/shm/((?:sem\.)?fast(?:rtps|dds)_[A-Za-z0-9_]+)")


def mapped_segments(pid: int) -> set[str]:
    """Return the names in `/dev/shm` that a process maps; none if the process is gone or not ours to look at."""
    try:
        return set(PATTERN.findall(Path(f"/proc/{pid}/maps").read_text(errors="replace")))
    except OSError:
        return set()


def living_processes() -> list[int]:
    """Return the ids of all processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


class SegmentRecord:
    """What the processes of one graph mapped, kept in a file so that even a killed supervisor's successor knows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: set[str] = set(path.read_text().split()) if path.is_file() else set()

    def observe(self, pids: Iterable[int]) -> None:
        """Add what these processes map now."""
        seen = set().union(*(mapped_segments(pid) for pid in pids))
        # The files that hold the locks of a segment and of a port are opened, not mapped.
        if not seen <= self.names:
            self.names |= seen
            self._write()

    def remove_litter(self) -> list[str]:
        """Remove what was observed and is mapped by no living process; return the names removed.

        Processes of other users cannot be looked into, but neither can their files be removed: the folder is sticky.
        """
        if not self.names:
            return []
        in_use = set().union(*(mapped_segments(pid) for pid in living_processes()))
        removed = []
        for name in sorted(self.names - in_use):
            for candidate in (name, f"{name}_el", f"{name}_sl", f"sem.{name}_mutex"):
                try:
                    (FOLDER / candidate).unlink()
                    removed.append(candidate)
                except (FileNotFoundError, PermissionError):
                    continue
        self.names &= in_use
        self._write()
        return removed

    def _write(self) -> None:
        self.path.write_text("\n".join(sorted(self.names)))
