"""The picture of `physai bench mastery`: own episodes round by round, and the held-out scenarios before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator, PercentFormatter

from physai_ros.evaluation.report_style import ALONE, CONTROL, HELD_OUT, HELPED, figure_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]

_COLOURS = (ALONE, HELPED, CONTROL)


def draw_mastery(rows: Sequence[Row], path: Path) -> None:
    """A column a task: success over own episodes, a line a seed, with its 95 % intervals on held-out scenarios."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    with figure_at(path, 5.2 * len(tasks), 3.8) as figure:
        every = figure.subplots(1, len(tasks), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.1})[0]
        for axes, task in zip(every, tasks, strict=True):
            _draw_task(axes, [row for row in rows if row["task"] == task])
            axes.set_title(task.rpartition(":")[2])
            axes.set_xlabel("own episodes")
        every[0].set_ylabel("success")
        handles, labels = every[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=len(labels), bbox_to_anchor=(0.5, -0.12))


def _draw_task(axes: Axes, rows: Sequence[Row]) -> None:
    for index, row in enumerate(rows):
        colour, each = _COLOURS[index % len(_COLOURS)], row["plan"]["episodes"]
        shares = [round_["successes"] / each for round_ in row["rounds"]]
        middles = [each * (number + 0.5) for number in range(len(shares))]
        axes.plot(middles, shares, color=colour, linewidth=1.8, marker="o", markersize=3.5, label=f"seed {row['seed']}")
        aside = 0.012 * each * len(shares) * (index - 0.5 * (len(rows) - 1))
        for place, judged in ((0.0, row["before"]), (each * len(shares), row["after"])):
            share = judged["successes"] / judged["held_out"]
            axes.errorbar(
                place + aside,
                share,
                yerr=[[share - judged["lower"]], [judged["upper"] - share]],
                fmt="D",
                color=colour,
                markeredgecolor=HELD_OUT,
                markersize=6,
                capsize=3,
                linewidth=1.2,
            )
    if rows:
        axes.plot([], [], linestyle="none", marker="D", color="white", markeredgecolor=HELD_OUT, label="held out")
    axes.set_ylim(0.0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
