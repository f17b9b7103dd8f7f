"""Figures of latency from what was heard, without a graph."""

import numpy as np
import pytest

from physai_ros.cli.bench_latency import figures_of
from physai_ros.cli.bench_lerobot import lerobot_figures
from physai_ros.cli.latency_record import LatencyRecord
from physai_ros.ros.cycle_times import CycleTimes


def lived(latencies: dict[int, float], episode: str = "a", age: float = 0.05) -> LatencyRecord:
    record = LatencyRecord()
    for sequence in range(100):
        record.state(sequence, sequence / 100)
        if sequence in latencies:
            record.proposal(1000 + sequence, sequence, episode, age)
            record.permitted(1000 + sequence, sequence / 100 + latencies[sequence])
            record.permitted(1000 + sequence, sequence / 100 + 1.0)  # it is in force until the next comes
    return record


def test_percentiles_ages_and_what_was_missed_within_the_episode():
    latencies = {sequence: 0.004 for sequence in range(20, 80) if sequence not in (30, 31)} | {40: 0.02}
    row = lived(latencies).figures(0.01, [(0.0, 1.0)])
    assert row["measurements"] == 60
    assert row["answered"] == 58
    assert row["missed_share"] == pytest.approx(3 / 60)
    assert row["p50_ms"] == pytest.approx(4.0)
    assert row["max_ms"] == pytest.approx(20.0)
    assert row["observation_age_p50_ms"] == pytest.approx(54.0)


def test_what_was_missed_among_some_measurements():
    record = lived({20: 0.004, 21: 0.02})
    assert [record.missed(range(a, b), 0.01) for a, b in ((20, 21), (20, 22), (20, 23), (500, 600))] == [0, 1, 2, 0]


def test_an_observation_without_an_answer_is_a_missed_deadline_of_lerobot_as_well():
    figures = lerobot_figures([0.004, 0.006, None, 0.02], 0.01)
    assert figures["lerobot_missed_share"] == 0.5
    assert figures["lerobot_p50_ms"] == pytest.approx(6.0)
    assert figures["lerobot_max_ms"] == pytest.approx(20.0)


def test_only_the_windows_count_and_between_episodes_nothing_is_missed():
    record = lived({sequence: 0.002 for sequence in range(10, 30)})
    for sequence in range(60, 80):
        record.proposal(sequence, sequence, "b", 0.0)
        record.permitted(sequence, sequence / 100 + 0.003)
    assert record.figures(0.01, [(0.0, 1.0)])["missed_share"] == 0.0
    assert record.figures(0.01, [(0.5, 1.0)])["p50_ms"] == pytest.approx(3.0)
    assert np.isnan(record.figures(0.01, [(2.0, 3.0)])["missed_share"])


def test_the_figures_are_those_of_the_rates_that_goals_are_set_for():
    base = lived({n: 0.004 for n in range(10, 90)}).figures(0.01, [(0.0, 1.0)]) | {"bare_forward_ms": 1.0}
    rows = [base | {"policy": "state", "rate": rate, "p50_ms": rate} for rate in (100.0, 50.0)]
    figures = figures_of([*rows, base | {"policy": "vision", "rate": 100.0, "p99_ms": 7.0, "missed_share": 0.5}])
    assert figures["state_p50_ms"] == 100.0
    assert figures["state_graph_cost_p50_ms"] == 99.0
    assert figures["vision_p99_ms"] == 7.0
    assert figures["missed_share"] == 0.5
    assert np.isnan(figures_of(rows)["vision_p99_ms"])


def test_cycles_are_summed_up_and_gaps_are_missed_deadlines():
    times = CycleTimes(0.01)
    for begin in (0.00, 0.01, 0.02, 0.05, 0.06):
        times.add(begin, begin + (0.012 if begin == 0.06 else 0.001))
    times.add_age(0.03)
    values = times.values()
    assert (values["cycles"], values["missed_deadlines"]) == ("5", "3")
    assert float(values["cycle_max_ms"]) == pytest.approx(12.0)
    assert float(values["observation_age_p99_ms"]) == pytest.approx(30.0)
    times.paced = False
    times.add(9.0, 9.5)
    assert times.values()["missed_deadlines"] == "3"
