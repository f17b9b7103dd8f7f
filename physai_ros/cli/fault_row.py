"""A row of the fault matrix, and the table of all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class FaultRow:
    """What became of one fault; names and units as in docs/faults.md, times in milliseconds."""

    fault: str
    expected: str
    seen: str
    detect_ms: float
    rest_ms: float
    braking_bound_ms: float
    recovery_ms: float
    lost: int
    repeat: int
    speed_share: float
    off_path_rad: float
    start_rad: float
    disturbed: int
    late_ms: float
    passed: bool


def show_rows(rows: list[FaultRow], console: Console) -> None:
    """One line a fault: median and worst of its repeats."""
    from rich.table import Table

    table = Table(title="fault matrix: median (worst) of the repeats", title_justify="left")
    for name in ("fault", "detect [ms]", "rest [ms]", "bound [ms]", "back [ms]", "lost", "passed"):
        table.add_column(name, justify="left" if name == "fault" else "right", no_wrap=True)
    for name in dict.fromkeys(row.fault for row in rows):
        same = [row for row in rows if row.fault == name]
        figures = [
            _median_and_worst([row.detect_ms for row in same]),
            _median_and_worst([row.rest_ms for row in same]),
            _median_and_worst([row.braking_bound_ms for row in same], worst=False),
            _median_and_worst([row.recovery_ms for row in same], worst=False),
        ]
        passed = f"{sum(row.passed for row in same)}/{len(same)}"
        table.add_row(name, *figures, str(sum(row.lost for row in same)), passed)
    console.print(table)


def _median_and_worst(values: list[float], *, worst: bool = True) -> str:
    from statistics import median

    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "—"
    return f"{median(known):.0f} ({max(known):.0f})" if worst else f"{median(known):.0f}"
