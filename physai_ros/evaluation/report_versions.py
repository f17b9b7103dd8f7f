"""Pictures of a run version by version, and of how it went: verdicts, outcomes, health, latency."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from physai_ros.evaluation.report_style import ALONE, CONTROL, FAILED, HELD_OUT, HELPED, INK, LINE, SOFT, figure_at
from physai_ros.evaluation.run_record import EpisodeRow, RunRecord

_VERDICT = {"better": ALONE, "not_worse": HELD_OUT, "worse": FAILED, "no_difference": CONTROL}
_HEALTH = {"not_started": LINE, "learning": ALONE, "stuck": HELPED, "broken": FAILED}
_FAILURES = ("#c8443c", "#a8527c", "#7a5ca8", "#d98a82", "#8c2f39", "#b56b45", "#5f4b66", "#d9b3ae")
_MOST = 24  # versions and tests that one picture shows; the newest


def draw_versions(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: verdicts on versions, and what became of the episodes that each drove."""
    tests = run.tests[-_MOST:]
    by_version = _driven(run)
    if not tests and len(by_version) < 2:
        return False
    rows = max(len(tests), len(by_version), 4)
    with figure_at(path, 12, 1.5 + 0.34 * rows) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.85, "width_ratios": [1.0, 1.0]})
        _gains(left, tests)
        _outcomes(right, by_version)
    return True


def draw_health(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: how the learning stood, episode by episode, and how long decisions take."""
    if not run.health and not run.latency:
        return False
    with figure_at(path, 11, 2.9) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.42, "width_ratios": [1.25, 1.0]})
        _health(left, run)
        _latency(right, run)
    return True


def _gains(axes: Axes, tests: list) -> None:
    axes.set_title("Gain in each test, same scenarios, 95 %")
    axes.axvline(0.0, color=SOFT, linewidth=1.0)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    for i, test in enumerate(tests):
        colour = _VERDICT.get(test.verdict, CONTROL)
        axes.plot([test.gain_lower, test.gain_upper], [i, i], color=colour, linewidth=2.4, solid_capstyle="round")
        axes.plot(test.gain, i, "o", color=colour, markersize=6)
        words = f"{test.verdict.replace('_', ' ') or 'no verdict'}, n = {test.pairs}"
        axes.text(1.04, i, words, va="center", color=INK, fontsize=8.5)
    names = [f"{_short(test.version)} against {_short(test.against)}" for test in tests]
    axes.set_yticks(range(len(tests)), names, fontsize=8.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(max(len(tests), 4) - 0.5, -0.6)
    if not tests:
        axes.text(0.5, 0.5, "no version was tested", ha="center", va="center", transform=axes.transAxes, color=SOFT)


def _driven(run: RunRecord) -> dict[str, list[EpisodeRow]]:
    """Training episodes by the version that drove, in the order in which versions came."""
    found: dict[str, list[EpisodeRow]] = {}
    for episode in run.episodes:
        if episode.purpose == "train" and episode.policy_version:
            found.setdefault(episode.policy_version, []).append(episode)
    return dict(list(found.items())[-_MOST:])


def _outcomes(axes: Axes, by_version: dict[str, list[EpisodeRow]]) -> None:
    axes.set_title("What became of each version's episodes")
    axes.grid(visible=False)
    modes = Counter(e.failure_mode for rows in by_version.values() for e in rows if not e.success)
    kinds = ["alone", "helped", *(mode for mode, _ in modes.most_common())]
    colours = [ALONE, HELPED, *_FAILURES]
    for i, rows in enumerate(by_version.values()):
        counts = Counter(_kind(episode) for episode in rows)
        done = 0.0
        for place, kind in enumerate(kinds):
            share = counts[kind] / len(rows)
            axes.barh(i, share, left=done, height=0.66, color=colours[min(place, len(colours) - 1)])
            done += share
        axes.text(1.02, i, f"n = {len(rows)}", va="center", color=SOFT, fontsize=8.5)
    axes.set_yticks(range(len(by_version)), [f"version {_short(name)}" for name in by_version], fontsize=8.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(max(len(by_version), 4) - 0.5, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    names = ["success alone", "with help", *(kind.replace("_", " ") for kind in kinds[2:])]
    handles = [Patch(color=colours[min(i, len(colours) - 1)], label=name) for i, name in enumerate(names)]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.32 / (1 + 0.17 * len(by_version))), ncols=4
    )


def _kind(episode: EpisodeRow) -> str:
    if episode.success:
        return "helped" if episode.interventions else "alone"
    return episode.failure_mode


def _health(axes: Axes, run: RunRecord) -> None:
    axes.set_title("Health of the learning")
    axes.set_yticks([])
    axes.grid(visible=False)
    rows, last = run.health, max((row.after_episodes for row in run.health), default=0)
    if not last:
        axes.text(0.5, 0.5, "no training episodes", ha="center", va="center", transform=axes.transAxes, color=SOFT)
        axes.set_axis_off()
        return
    for row, after in zip(rows, [*rows[1:], rows[-1]], strict=True):
        width = after.after_episodes - row.after_episodes
        if width > 0:
            left = row.after_episodes if row is not rows[0] else 0
            axes.barh(0, after.after_episodes - left, left=left, height=0.34, color=_HEALTH.get(row.state, CONTROL))
    shown = [state for state in _HEALTH if any(row.state == state for row in rows)]
    handles = [Patch(color=_HEALTH[state], label=state.replace("_", " ")) for state in shown]
    axes.legend(handles=handles, loc="upper left", ncols=4, bbox_to_anchor=(0.0, 1.02))
    axes.set_xlim(0, last)
    axes.set_ylim(-0.75, 0.75)
    axes.set_xlabel("training episodes")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.text(0.02, 0.08, _wrapped(rows[-1].evidence), transform=axes.transAxes, color=SOFT, fontsize=8.5, va="bottom")


def _latency(axes: Axes, run: RunRecord) -> None:
    axes.set_title("Latency [ms], median and 99th percentile")
    rows = run.latency
    if not rows:
        axes.text(0.5, 0.5, "not measured in this run", ha="center", va="center", transform=axes.transAxes, color=SOFT)
        axes.set_axis_off()
        return
    places = np.arange(len(rows))
    axes.barh(places, [row.p99 for row in rows], 0.5, color="#c4ccd5", label="p99")
    axes.barh(places, [row.p50 for row in rows], 0.5, color=HELD_OUT, label="median")
    budgets = [row.budget for row in rows if np.isfinite(row.budget)]
    if budgets:
        axes.axvline(min(budgets), color=FAILED, linestyle="--", linewidth=1.3, label="control cycle")
    for place, row in zip(places, rows, strict=True):
        axes.text(row.p99, place, f"  {row.p50:.1f} / {row.p99:.1f} ms", va="center", color=INK, fontsize=9)
    axes.set_yticks(places, [row.name for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.45 * max([row.p99 for row in rows] + budgets))
    axes.set_ylim(max(len(rows), 2) - 0.4, -0.8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=3)


def _short(version: str) -> str:
    return version.lstrip("0") or version


def _wrapped(text: str, width: int = 74) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
