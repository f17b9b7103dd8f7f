"""What nodes tell of their cycles reaches the report: kept line by line, put together, drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.evaluation.report_timing import timing_table
from physai_ros.evaluation.run_record import RunRecord
from physai_ros.evaluation.timing import MOST_ROWS, pooled, timing_of
from physai_ros.experience.timing_log import TimingLog, read_timing
from physai_ros.ros.cycle_times import CycleTimes

times = st.lists(st.floats(0.01, 50.0), min_size=4, max_size=4).map(sorted)


def kept(folder: Path, *, paced: bool = True, seconds: int = 3) -> Path:
    """A log of one node of 100 Hz that misses one deadline every second, as its `/diagnostics` told it."""
    log, node = TimingLog(folder / "timing.jsonl"), CycleTimes(0.01)
    node.paced = paced
    for second in range(seconds):
        for cycle in range(100):
            begin = second + cycle / 100
            node.add(begin, begin + (0.02 if cycle == 50 else 0.001))
            node.add_age(0.004)
        log.add("policy_inference", node.values())
    log.add("policy_inference", node.values())  # nothing new
    log.add("evaluator", {"cpu_share": "0.1"})  # it has no cycle
    log.close()
    return folder / "timing.jsonl"


def test_what_a_node_tells_is_kept_and_put_together(tmp_path: Path) -> None:
    kept(tmp_path)
    rows = timing_of(tmp_path)
    assert [(row.node, row.cycles, row.missed, row.deadline) for row in rows] == [
        ("policy_inference", 100, 1, 10.0)
    ] * 3
    table = timing_table(RunRecord(timing=rows))
    (line,) = ([cell.text for cell in row] for row in table.rows)
    assert line == ["policy_inference", "300", "1", "1", "1.19", "20", "4", "4", "4", "4", "3", "1.000%"]
    assert timing_table(RunRecord()) is None


def test_in_lock_step_nothing_is_due(tmp_path: Path) -> None:
    kept(tmp_path, paced=False)
    (line,) = timing_table(RunRecord(timing=timing_of(tmp_path))).rows
    assert [cell.text for cell in line[-2:]] == ["—", "—"]


def test_a_log_is_continued_and_what_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    path = kept(tmp_path)
    path.write_text(path.read_text()[:-20])
    kept(tmp_path)  # the node was activated anew: it counts from nothing
    assert len(read_timing(path)) == 5
    assert sum(row.cycles for row in timing_of(tmp_path)) == 500
    with path.open("a") as file:
        file.write(json.dumps({"columns": ["time", "node", "cycles", "missed_deadlines", "of_tomorrow"]}) + "\n")
        file.write(json.dumps([9e9, "policy_inference", 400, 4, "?"]) + "\n")
    assert math.isnan(read_timing(path)[-1].cycle_p50_ms)
    assert timing_of(tmp_path / "elsewhere") == []


def test_a_disk_that_takes_nothing_is_said_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("")
    log = TimingLog(tmp_path / "full" / "timing.jsonl")
    log.add("driver_node", {"cycles": "5", "missed_deadlines": "0"})
    assert log.unwritten == 1
    assert "full" in log.error


def test_a_long_run_has_so_many_rows_and_loses_no_count(tmp_path: Path) -> None:
    kept(tmp_path, seconds=2 * MOST_ROWS + 1)
    rows = timing_of(tmp_path)
    assert len(rows) <= MOST_ROWS
    assert sum(row.cycles for row in rows) == 100 * (2 * MOST_ROWS + 1)
    assert max(row.cycle[-1] for row in rows) == 20.0


@given(part=times, count=st.integers(1, 5))
def test_parts_that_are_alike_have_the_percentiles_of_each(part: list[float], count: int) -> None:
    assert pooled([part] * count, [100] * count) == pytest.approx(tuple(part))


@given(parts=st.lists(times, min_size=1, max_size=6), weight=st.integers(1, 1000))
def test_percentiles_rise_lie_among_what_was_told_and_the_maximum_is_exact(
    parts: list[list[float]], weight: int
) -> None:
    found = pooled(parts, [weight] * len(parts))
    assert list(found) == sorted(found)
    assert found[-1] == np.max(parts)
    assert min(part[0] for part in parts) <= found[0] <= max(part[0] for part in parts)
    assert np.isnan(pooled([[math.nan] * 4], [1])).all()
