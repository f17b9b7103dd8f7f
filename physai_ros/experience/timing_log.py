"""What the nodes of control say of their timing, kept in a run's folder: one line a node and second.

Lines are JSON. One that is an object names the columns of the lists after it; every start of the recorder writes one,
so that a log is continued by a version with other columns. An hour of one node takes 0.4 MB.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO, Any

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimingSample:
    """What one node said once of the cycles since it spoke last.

    `time` is the system's clock [s]; `deadline_ms` is the time that a cycle may take, NaN where time is driven by
    answers and nothing is due; percentiles and maxima of the cycle and of the age of what it gave out [ms], NaN where
    it has none; `cycles` and `missed_deadlines` count since the node was activated.
    """

    time: float
    node: str
    cycles: int
    missed_deadlines: int
    deadline_ms: float = math.nan
    cycle_p50_ms: float = math.nan
    cycle_p95_ms: float = math.nan
    cycle_p99_ms: float = math.nan
    cycle_max_ms: float = math.nan
    observation_age_p50_ms: float = math.nan
    observation_age_p95_ms: float = math.nan
    observation_age_p99_ms: float = math.nan
    observation_age_max_ms: float = math.nan

    @classmethod
    def of_values(cls, node: str, values: Mapping[str, str], now: float) -> TimingSample | None:
        """The sample in the values of a node's `/diagnostics`; None where they tell of no cycles."""
        known = {field.name for field in fields(cls)} - {"time", "node"}
        try:
            numbers: dict[str, Any] = {name: float(value) for name, value in values.items() if name in known}
            counts = {name: int(numbers[name]) for name in ("cycles", "missed_deadlines")}
            return cls(now, node, **(numbers | counts))
        except (KeyError, ValueError):
            return None


class TimingLog:
    """Appends samples to a file; a disk that takes nothing never raises here, it is counted and said.

    Attributes:
        unwritten: samples that the disk did not take.
        error: why it did not, empty once it does again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._cycles: dict[str, int] = {}
        self.unwritten = 0
        self.error = ""

    def add(self, node: str, values: Mapping[str, str]) -> None:
        """Take what a node says, where it tells of cycles that were not told of before."""
        sample = TimingSample.of_values(node, values, round(time.time(), 3))
        if sample is None or self._cycles.get(node) == sample.cycles:
            return
        self._cycles[node] = sample.cycles
        try:
            if self._file is None:
                self._file = self._open()
            row = [None if isinstance(value, float) and math.isnan(value) else value for value in astuple(sample)]
            self._file.write(json.dumps(row, separators=(",", ":")) + "\n")
            self._file.flush()
            self.error = ""
        except OSError as error:
            self.close()
            self.unwritten += 1
            self.error = f"{self._path}: {error.strerror}"

    def close(self) -> None:
        """Close the file; the next sample opens it again."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self) -> IO[str]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a", encoding="utf-8")
        # A line that a crash cut short ends here.
        file.write("\n" + json.dumps({"columns": [field.name for field in fields(TimingSample)]}) + "\n")
        return file


def read_timing(path: Path) -> list[TimingSample]:
    """Samples of a log in the order in which they came; none where there is no log. Lines cut short are left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    known = {field.name for field in fields(TimingSample)}
    columns: list[str] = []
    samples, broken = [], 0
    for line in filter(str.strip, lines):
        try:
            content = json.loads(line)
            if isinstance(content, dict):
                columns = list(content["columns"])
                continue
            row = dict(zip(columns, content, strict=True))
            samples.append(TimingSample(**{name: row[name] for name in known & set(row) if row[name] is not None}))
        except (ValueError, KeyError, TypeError):
            broken += 1
    if broken:
        _log.warning("%s: %d lines cannot be read and are left out", path, broken)
    return samples
