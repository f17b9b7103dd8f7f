"""How long the nodes of control took over a run: what each of them said every second, put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physai_ros.evaluation.run_record import TimingRow
from physai_ros.experience.timing_log import TimingSample, read_timing

FILE = "timing.jsonl"
MOST_ROWS = 240
"""Rows of a node; in a longer run each stands for more than a second."""
SHARES = np.array([0.5, 0.95, 0.99, 1.0])
"""Of the four times of a row: median, 95th and 99th percentile, maximum."""
_LOOP = ("driver", "sensor_fusion", "policy_inference", "safety_monitor")


def timing_of(folder: Path) -> list[TimingRow]:
    """What a run's folder holds of the timing of its nodes, node by node in the order of the control loop."""
    samples = read_timing(folder / FILE)
    began = min((sample.time for sample in samples), default=0.0)
    rows = []
    for node in sorted({sample.node for sample in samples}, key=_place):
        own = [sample for sample in samples if sample.node == node]
        new = [_since(before, now) for before, now in zip([None, *own], own, strict=False)]
        size = math.ceil(len(own) / MOST_ROWS)
        each = [
            TimingRow(node, now.time - began, cycles, missed, now.deadline_ms, _cycle(now), _age(now))
            for now, (cycles, missed) in zip(own, new, strict=True)
        ]
        rows += [together(each[first : first + size]) for first in range(0, len(each), size)]
    return rows


def together(rows: Sequence[TimingRow]) -> TimingRow:
    """One row for several of one node, as `pooled` puts their times together."""
    weights = [row.cycles for row in rows]
    return TimingRow(
        node=rows[0].node,
        wall_time=rows[-1].wall_time,
        cycles=sum(weights),
        missed=sum(row.missed for row in rows),
        deadline=rows[-1].deadline,
        cycle=pooled([row.cycle for row in rows], weights),
        age=pooled([row.age for row in rows], weights),
    )


def pooled(figures: Sequence[Sequence[float]], weights: Sequence[float]) -> tuple[float, ...]:
    """Estimates of the percentiles (`SHARES`) of a whole whose parts are known by theirs (parts, 4).

    What lies between two percentiles of a part counts half to each of them. Where the parts are alike these are the
    percentiles themselves; the maximum always is.
    """
    table = np.array(figures, dtype=float).reshape(-1, len(SHARES))
    known = np.isfinite(table).all(axis=1) & (np.array(weights) > 0)
    if not known.any():
        return (math.nan,) * len(SHARES)
    between = np.diff(SHARES, prepend=0.0)
    shares = (between + np.append(between[1:], 0.0)) / 2.0
    mass = np.outer(np.array(weights, dtype=float)[known], shares).ravel()
    times = table[known].ravel()
    order = times.argsort(kind="stable")
    below = between[0] / 2.0  # the quicker half of those below the median, which nothing is known of
    reached = below + (1.0 - below) * mass[order].cumsum() / mass.sum()
    places = np.minimum(np.searchsorted(reached, SHARES - 1e-9), len(times) - 1)
    return tuple(times[order][places].tolist())


def _since(before: TimingSample | None, now: TimingSample) -> tuple[int, int]:
    """Cycles and missed deadlines between two samples of a node; one that was activated anew began from nothing."""
    if before is None or now.cycles < before.cycles:
        return now.cycles, now.missed_deadlines
    return now.cycles - before.cycles, now.missed_deadlines - before.missed_deadlines


def _cycle(sample: TimingSample) -> tuple[float, float, float, float]:
    return sample.cycle_p50_ms, sample.cycle_p95_ms, sample.cycle_p99_ms, sample.cycle_max_ms


def _age(sample: TimingSample) -> tuple[float, float, float, float]:
    return (
        sample.observation_age_p50_ms,
        sample.observation_age_p95_ms,
        sample.observation_age_p99_ms,
        sample.observation_age_max_ms,
    )


def _place(node: str) -> tuple[int, str]:
    """Where a node stands in the control loop; every driver comes first."""
    kind = "driver" if node in ("driver_node", "hardware_node", "gazebo_driver") else node
    return (_LOOP.index(kind) if kind in _LOOP else len(_LOOP), node)
