"""Tables in the report of what other commands measured: the files that their `--json` wrote."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MOST_COLUMNS = 10
MOST_ROWS = 60


class Cell(NamedTuple):
    """A text, how strongly it is shaded, 0 to 1, and whether what it says is bad."""

    text: str
    shade: float = 0.0
    bad: bool = False


class ReportTable(NamedTuple):
    """One measurement: `head` names the columns of `rows`."""

    title: str
    caption: str
    head: list[str]
    rows: list[list[Cell]]


def read_table(path: Path) -> ReportTable:
    """The table of a file that `--json` of any command wrote.

    A confusion matrix for `bench classification`, one line a fault for `faults`, else a line for each row of the file,
    or for each figure where it has none.

    Raises:
        ValueError: the file is none of those.
    """
    try:
        result = json.loads(path.read_text())
        command, rows, figures = str(result["command"]), list(result["rows"]), dict(result["figures"])
        machine = result.get("machine", {})
        where = f"seed {result['seed']}, {machine.get('cores', '?')} cores of {machine.get('cpu', 'unknown')}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a result ({problem}); give a file that `--json` of a command wrote") from error
    if command == "bench classification" and rows:
        return _confusion(rows, figures, where)
    if command == "faults" and rows:
        return _faults(rows, where)
    title = f"physai {command}"
    if not rows:
        listed = [[Cell(name), _cell(value)] for name, value in figures.items()]
        return ReportTable(title, where, ["figure", "value"], listed)
    flat = [name for name in _names(rows) if not any(isinstance(row.get(name), (list, dict)) for row in rows)]
    head = flat[:MOST_COLUMNS]
    hidden = len(flat) - len(head)
    more = [f"{len(rows) - MOST_ROWS} more rows"] if len(rows) > MOST_ROWS else []
    more += [f"{hidden} more columns"] if hidden else []
    caption = "; ".join([where, *more])
    return ReportTable(title, caption, head, [[_cell(row.get(name)) for name in head] for row in rows[:MOST_ROWS]])


def _confusion(rows: Sequence[Mapping[str, Any]], figures: Mapping[str, float], where: str) -> ReportTable:
    modes = sorted({str(row["mode"]) for row in rows})
    named = [*modes, *sorted({str(row["named"]) for row in rows} - set(modes))]
    lines = []
    for mode in modes:
        part = [row["named"] for row in rows if row["mode"] == mode]
        counts = [part.count(other) for other in named]
        cells = [
            Cell(str(count or ""), count / len(part), bad=other != mode)
            for other, count in zip(named, counts, strict=True)
        ]
        lines.append([Cell(_words(mode)), *cells, Cell(f"{part.count(mode) / len(part):.1%}")])
    caption = (
        f"Failures that were brought about on simulated arms, by the mode that they were given, from what a real "
        f"driver supplies: {figures['correct']:.1%} of {len(rows)} correct "
        f"(95 %: at least {figures['correct_lower']:.1%}); {where}."
    )
    head = ["brought about", *map(_words, named), "correct"]
    return ReportTable("How failures are told apart", caption, head, lines)


def _faults(rows: Sequence[Mapping[str, Any]], where: str) -> ReportTable:
    lines = []
    for fault in dict.fromkeys(str(row["fault"]) for row in rows):
        same = [row for row in rows if row["fault"] == fault]
        times = [_times(same, name) for name in ("detect_ms", "rest_ms", "braking_bound_ms", "recovery_ms")]
        passed = sum(bool(row["passed"]) for row in same)
        lost = sum(int(row["lost"]) for row in same)
        verdict = Cell(f"{passed} of {len(same)}", float(passed < len(same)), bad=True)
        lines.append([Cell(fault), *map(Cell, times), Cell(str(lost), float(lost > 0), bad=True), verdict])
    caption = (
        f"Parts killed and frozen, messages broken, clock, disk and files, against the live graph with its arm in "
        f"motion; median (worst) in milliseconds, bound: braking time of the profile; {where}."
    )
    head = ["fault", "noticed [ms]", "at rest [ms]", "bound [ms]", "back [ms]", "episodes lost", "passed"]
    return ReportTable("Fault matrix", caption, head, lines)


def _times(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    known = [row[name] for row in rows if row.get(name) is not None]
    if not known:
        return "—"
    return f"{statistics.median(known):.0f}" + (f" ({max(known):.0f})" if len(known) > 1 else "")


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _words(mode: str) -> str:
    return mode.replace("_", " ")


def _cell(value: object) -> Cell:
    if value is None:
        return Cell("—")
    return Cell(f"{value:.4g}" if isinstance(value, float) else str(value))
