"""The timing of the nodes of control over a run, as a picture and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from physai_ros.evaluation.report_style import CONTROL, FAILED, HELD_OUT, INK, SOFT, figure_at
from physai_ros.evaluation.report_tables import Cell, ReportTable
from physai_ros.evaluation.run_record import RunRecord, TimingRow
from physai_ros.evaluation.timing import together

_HEAD = ["node", "cycles", "p50", "p95", "p99", "max", "age p50", "age p95", "age p99", "age max", "missed", "share"]
_AGE = "#e0a030"
_SILENT = 5.0  # [s] without a row; nodes tell once a second while they work


def draw_timing(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: every node's cycle over time, the age of what went in, what it missed."""
    nodes = by_node(run.timing)
    if not nodes:
        return False
    with figure_at(path, 11, 0.7 + 1.55 * len(nodes)) as figure:
        grid = figure.subplots(len(nodes), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.55})[:, 0]
        for axes, rows in zip(grid, nodes, strict=True):
            _draw_node(axes, rows)
        grid[-1].set_xlabel("time since the first cycle [min]")
        handles: dict[str, object] = {}
        for axes in grid:
            handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(
            handles.values(), handles.keys(), loc="upper center", ncols=len(handles), bbox_to_anchor=(0.5, 0.02)
        )
    return True


def timing_table(run: RunRecord) -> ReportTable | None:
    """Times of every node over the whole run [ms]; None where none were kept."""
    nodes = [together(rows) for rows in by_node(run.timing)]
    if not nodes:
        return None
    lines = []
    for row in nodes:
        due = math.isfinite(row.deadline)
        share = row.missed / row.cycles if row.cycles else math.nan
        missed = [Cell(str(row.missed), float(row.missed > 0), bad=True), Cell(f"{share:.3%}")]
        times = [Cell(f"{time:.3g}" if math.isfinite(time) else "—") for time in (*row.cycle, *row.age)]
        lines.append([Cell(row.node), Cell(str(row.cycles)), *times, *(missed if due else [Cell("—"), Cell("—")])])
    caption = (
        "Milliseconds. Cycle: from what woke the node to what it gave out. Age: of the oldest thing that went into it, "
        "by the stamps. Percentiles are estimated from those of single seconds; maxima and counts are exact. Missed: "
        "deadlines; in lock-step nothing is due."
    )
    return ReportTable("Timing of the nodes of control", caption, _HEAD, lines)


def by_node(rows: Sequence[TimingRow]) -> list[list[TimingRow]]:
    """The rows of every node, in the order in which the nodes come."""
    return [list(own) for _, own in groupby(rows, key=lambda row: row.node)]


def _draw_node(axes: Axes, rows: list[TimingRow]) -> None:
    seconds = np.array([row.wall_time for row in rows])
    silent = np.flatnonzero(np.diff(seconds) > _SILENT) + 1
    minutes = np.insert(seconds / 60.0, silent, np.nan)  # no line across what nothing is known of
    p50, p95, p99, longest = np.insert(np.array([row.cycle for row in rows]), silent, np.nan, axis=0).T
    whole = together(rows)
    axes.set_title(f"{whole.node.replace('_', ' ')}: {_words(whole)}", fontsize=10, fontweight="normal", color=INK)
    axes.fill_between(minutes, p50, p99, color=HELD_OUT, alpha=0.16, linewidth=0, label="cycle, median to p99")
    axes.plot(minutes, p95, color=HELD_OUT, linewidth=0.8, alpha=0.7, label="p95")
    axes.plot(minutes, p50, color=HELD_OUT, linewidth=1.8, label="median")
    axes.plot(minutes, longest, ".", color=CONTROL, markersize=3.5, label="longest")
    age = np.insert(np.array([row.age for row in rows])[:, 2], silent, np.nan)
    if np.isfinite(age).any() and np.nanmax(age) > 0:
        axes.plot(minutes, np.where(age > 0, age, np.nan), color=_AGE, linewidth=1.2, label="age acted on, p99")
    if math.isfinite(whole.deadline):
        axes.axhline(whole.deadline, color=FAILED, linewidth=1.1, linestyle="--", label="deadline")
        late = np.insert(np.array([row.missed for row in rows]) > 0, silent, False)
        top = np.full(int(late.sum()), 0.97)
        transform = axes.get_xaxis_transform()
        axes.plot(minutes[late], top, "v", color=FAILED, markersize=5, transform=transform, label="deadline missed")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("[ms]", color=SOFT)
    axes.margins(x=0.01)


def _words(row: TimingRow) -> str:
    p50, p95, p99, longest = row.cycle
    text = f"p50 {p50:.2g}, p95 {p95:.2g}, p99 {p99:.2g}, max {longest:.3g} ms"
    if math.isfinite(row.deadline):
        return f"{text}; {row.missed} of {row.cycles} deadlines missed"
    return f"{text}; {row.cycles} cycles in lock-step, nothing due"
