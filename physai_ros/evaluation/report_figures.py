"""Pictures of a run, drawn without a screen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from physai_ros.evaluation.report_style import ALONE, CONTROL, FAILED, HELD_OUT, HELPED, INK, SOFT, figure_at
from physai_ros.evaluation.run_record import EpisodeRow, FrameStrip, HeldOutEvaluation, RunRecord
from physai_ros.evaluation.statistics import clopper_pearson, wilson

WINDOW = 20


def draw_success(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: success over episodes and over time."""
    episodes = [e for e in run.episodes if e.purpose == "train"]
    if not episodes and not run.evaluations:
        return False
    with figure_at(path, 11, 4.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08})
        counts = np.arange(1, len(episodes) + 1)
        minutes = np.array([e.wall_time / 60.0 for e in episodes])
        _success_axes(left, run, episodes, counts, "training episodes", over_time=False)
        _success_axes(right, run, episodes, minutes, "time since start [min]", over_time=True)
        left.set_title("Success over episodes")
        right.set_title("Success over time")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=len(labels), bbox_to_anchor=(0.5, -0.07))
    return True


def _success_axes(
    axes: Axes, run: RunRecord, episodes: list[EpisodeRow], x: np.ndarray, label: str, *, over_time: bool
) -> None:
    for change in run.changes:
        when = change.wall_time / 60.0 if over_time else change.after_episodes
        colour = FAILED if change.verdict == "rollback" else CONTROL
        axes.axvline(when, color=colour, linewidth=0.8, linestyle=":", zorder=1)
    if run.changes:
        axes.plot([], [], color=CONTROL, linewidth=1.2, linestyle=":", label="promotion")
    if episodes:
        alone = np.array([e.success and e.interventions == 0 for e in episodes])
        helped = np.array([e.success and e.interventions > 0 for e in episodes])
        _rolling_band(axes, x, alone)
        for mask, height, colour, name in (
            (alone, 1.06, ALONE, "success alone"),
            (helped, 1.06, HELPED, "success with help"),
            (~alone & ~helped, -0.06, FAILED, "failure"),
        ):
            axes.scatter(
                x[mask], np.full(mask.sum(), height), marker="|", s=45, color=colour, linewidth=1.3, label=name
            )
    for i, evaluation in enumerate(e for e in run.evaluations if e.role != "control"):
        rate, lower, upper = _rate(evaluation)
        axes.errorbar(
            evaluation.wall_time / 60.0 if over_time else evaluation.after_episodes,
            rate,
            yerr=[[rate - lower], [upper - rate]],
            fmt="D",
            color=HELD_OUT,
            markersize=7,
            capsize=4,
            linewidth=1.6,
            zorder=5,
            label="held-out scenarios, 95 %" if i == 0 else None,
        )
    axes.set_ylim(-0.11, 1.11)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(label)


def _rolling_band(axes: Axes, x: np.ndarray, alone: np.ndarray) -> None:
    """Success without help over the last `WINDOW` episodes, with its Wilson interval."""
    if len(alone) < 3:
        return
    starts = [max(0, i + 1 - WINDOW) for i in range(len(alone))]
    sums = np.array([alone[s : i + 1].sum() for i, s in enumerate(starts)])
    sizes = np.array([i + 1 - s for i, s in enumerate(starts)])
    bounds = np.array([wilson(int(k), int(n)) for k, n in zip(sums, sizes, strict=True)])
    axes.fill_between(x, bounds[:, 0], bounds[:, 1], color=ALONE, alpha=0.13, linewidth=0)
    axes.plot(x, sums / sizes, color=ALONE, linewidth=2.0, label=f"alone, last {WINDOW}")


def draw_arms(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: held-out success before, after and of the control arms."""
    shown = [e for role in ("before", "after", "control") for e in run.evaluations if e.role == role]
    if not shown:
        return False
    with figure_at(path, 11, 0.9 + 0.62 * len(shown)) as figure:
        axes = figure.subplots()
        colours = {"before": CONTROL, "after": ALONE, "control": "#c4ccd5"}
        for i, evaluation in enumerate(shown):
            rate, lower, upper = _rate(evaluation)
            axes.barh(i, rate, height=0.62, color=colours[evaluation.role])
            axes.errorbar(rate, i, xerr=[[rate - lower], [upper - rate]], color=INK, capsize=4, linewidth=1.3)
            n = len(evaluation.successes)
            axes.text(1.02, i, f"{rate:.0%}   ({lower:.0%} to {upper:.0%}, n = {n})", va="center", color=INK)
        axes.set_yticks(range(len(shown)), [e.label for e in shown])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_title("Success on held-out scenarios, 95 % interval")
    return True


def draw_gate(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: what the gate selected, and how often."""
    if not run.selection and not run.activation:
        return False
    with figure_at(path, 11, 4.0) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.22})
        rows = np.arange(len(run.selection))
        left.barh(rows - 0.19, [s.offered for s in run.selection], 0.36, color="#c4ccd5", label="offered")
        left.barh(rows + 0.19, [s.selected for s in run.selection], 0.36, color=HELD_OUT, label="trained on")
        for row, share in zip(rows, run.selection, strict=True):
            factor = f"  {share.selected / share.offered:.1f}×" if share.offered > 0 else ""
            left.text(max(share.selected, share.offered), row, factor, va="center", color=SOFT)
        left.set_yticks(rows, [s.kind for s in run.selection])
        left.tick_params(axis="y", length=0, labelcolor=INK)
        left.invert_yaxis()
        left.grid(visible=True, axis="x")
        left.grid(visible=False, axis="y")
        left.margins(x=0.15)
        left.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
        left.set_title("What the gate let through")
        minutes = [a.wall_time / 60.0 for a in run.activation]
        right.plot(minutes, [a.rate for a in run.activation], color=HELD_OUT, linewidth=1.8, label="measured")
        if np.isfinite(run.activation_target):
            right.axhline(run.activation_target, color=HELPED, linewidth=1.4, linestyle="--", label="target")
        finite = [a.rate for a in run.activation if np.isfinite(a.rate)] + [np.nan_to_num(run.activation_target)]
        right.set_ylim(0.0, 1.3 * max(finite) or 1.0)
        right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        right.set_xlabel("time since start [min]")
        right.legend(loc="lower right")
        right.set_title("Activation rate: trained on of offered")
    return True


def draw_safety(run: RunRecord, path: Path) -> bool:
    """Whether there was something to draw: peak force, safety stops, interventions and why episodes failed."""
    if not run.episodes:
        return False
    x = np.arange(1, len(run.episodes) + 1)
    force = np.array([e.peak_force for e in run.episodes])
    stops = np.array([e.safety_stops for e in run.episodes])
    helps = np.cumsum([e.interventions for e in run.episodes])
    with figure_at(path, 11, 5.6) as figure:
        grid = figure.add_gridspec(2, 2, width_ratios=[2.1, 1.0], hspace=0.5, wspace=0.42)
        top, bottom = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        side = figure.add_subplot(grid[:, 1])
        top.vlines(x, 0, force, color="#b8c3ce", linewidth=1.2)
        top.scatter(x, force, s=11, color=HELD_OUT, zorder=3, label="peak tool force")
        if np.isfinite(run.force_budget):
            top.axhline(run.force_budget, color=FAILED, linewidth=1.3, linestyle="--", label="force budget of the task")
        if stops.any():
            hit = stops > 0
            top.scatter(
                x[hit], np.nan_to_num(force[hit]), marker="X", s=62, color=FAILED, zorder=4, label="safety stop"
            )
        top.margins(y=0.3)
        top.set_ylim(bottom=0.0)
        top.set_ylabel("[N]")
        top.set_title("Peak force of each episode")
        top.legend(loc="upper right", ncols=3)
        bottom.step(x, helps, where="post", color=HELPED, linewidth=2.0, label="interventions")
        bottom.step(x, np.cumsum(stops), where="post", color=FAILED, linewidth=2.0, label="safety stops")
        bottom.set_title("Interventions and safety stops so far")
        bottom.set_xlabel("episodes on the arm")
        bottom.legend(loc="upper left")
        bottom.yaxis.set_major_locator(MaxNLocator(integer=True))
        bottom.set_ylim(0.0, 1.1 * max(helps[-1], stops.sum(), 1))  # where nothing happened, not thousandths of it
        _failure_modes(side, run)
    return True


def _failure_modes(axes: Axes, run: RunRecord) -> None:
    modes = Counter(e.failure_mode.replace("_", " ") for e in run.episodes if not e.success).most_common()
    axes.set_title("Why episodes failed")
    axes.grid(visible=False)
    if not modes:
        axes.text(0.5, 0.5, "none failed", ha="center", va="center", transform=axes.transAxes, color=SOFT)
        axes.set_axis_off()
        return
    axes.barh(range(len(modes)), [n for _, n in modes], height=0.55, color=FAILED, alpha=0.85)
    for i, (_, n) in enumerate(modes):
        axes.text(n, i, f" {n}", va="center", color=INK)
    axes.set_yticks(range(len(modes)), [name for name, _ in modes])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_ylim(max(len(modes), 4) - 0.5, -0.5)


def draw_strip(strip: FrameStrip, folder: Path, path: Path) -> bool:
    """Whether there was something to draw: one episode's frames in a row, with their times.

    Raises:
        ValueError: a frame that the record names is not in the run's folder.
    """
    missing = [name for name in strip.frames if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"frame {missing[0]} of '{strip.title}' is not in {folder}; the run's pictures were moved")
    if not strip.frames:
        return False
    images = [mpl.image.imread(folder / name) for name in strip.frames]
    height = 11 / len(images) * images[0].shape[0] / images[0].shape[1]
    with figure_at(path, 11, height + 0.35) as figure:
        row = np.atleast_1d(figure.subplots(1, len(images), gridspec_kw={"wspace": 0.03}))
        for axes, image, time in zip(row, images, strip.times, strict=True):
            axes.imshow(image)
            axes.set_axis_off()
            axes.text(0.0, -0.03, f"{time:.1f} s", transform=axes.transAxes, va="top", color=SOFT, fontsize=9)
    return True


def _rate(evaluation: HeldOutEvaluation) -> tuple[float, float, float]:
    """Success rate and its 95 % interval."""
    successes, trials = sum(evaluation.successes), len(evaluation.successes)
    interval = clopper_pearson(successes, trials)
    return (successes / trials if trials else 0.0), interval.lower, interval.upper
