"""Failures that were brought about on arms that no threshold was set on are named."""

import pytest

from physai_ros.cli.bench_classification import figures_of, run_case
from physai_ros.cli.failure_cases import MODES, CaseRunner


@pytest.fixture(scope="module")
def runner():
    return CaseRunner()


@pytest.mark.parametrize("mode", ["drop", "unstable_grasp", "planning_failure"])
def test_a_failure_is_named_from_what_a_real_driver_shows(runner, mode):
    row = run_case(runner, mode, mode, [3, MODES.index(mode)], unseen=True)
    assert row["named"] == mode, row


@pytest.mark.slow
def test_nine_of_ten_are_named_in_every_mode(runner):
    rows = [run_case(runner, MODES[i % 7], str(i), [11, i], unseen=True) for i in range(70)]
    figures = figures_of(rows)
    assert figures["correct"] >= 0.9, figures


def test_figures_count_by_mode():
    rows = [{"mode": "drop", "named": "drop"}] * 3 + [{"mode": "collision", "named": "timeout"}]
    figures = figures_of(rows)
    assert (figures["correct"], figures["correct_drop"], figures["correct_collision"]) == (0.75, 1.0, 0.0)
    assert figures["correct_lower"] < 0.75
