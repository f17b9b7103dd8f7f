"""How episodes to a success are compared."""

import math

import pytest

from physai_ros.cli.scenario_study import episode_ratio, figures


def row(arm, seed, *success: float):
    return {
        "task": "reach",
        "arm": arm,
        "seed": seed,
        "curve": [{"episodes": 8 * index, "success": share} for index, share in enumerate(success)],
    }


def test_twice_as_fast_is_a_ratio_of_two_and_uniform_against_itself_one():
    rows = []
    for seed in range(10):
        rows += [row("uniform", seed, 0.2, 0.5, 0.9, 0.9), row("significance", seed, 0.2, 0.9, 0.9, 0.9)]
    assert episode_ratio(rows, "significance").ratio == pytest.approx(2.0)
    assert episode_ratio(rows, "uniform").ratio == pytest.approx(1.0)
    assert figures(rows)["scenario_episode_ratio_lower"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("uniform", "arm", "ratio"),
    [((0.5, 0.5), (0.9, 0.9), 2.0), ((0.9, 0.9), (0.5, 0.5), 0.25), ((0.5, 0.5), (0.6, 0.6), 1.0)],
)
def test_what_is_never_reached_is_counted_against_the_arm(uniform, arm, ratio):
    rows = [row("uniform", 0, 0.2, *uniform), row("significance", 0, 0.2, *arm)]
    assert episode_ratio(rows, "significance").ratio == pytest.approx(ratio)


def test_a_few_pairs_have_no_interval():
    rows = [row("uniform", 0, 0.2, 0.9), row("significance", 0, 0.2, 0.9)]
    assert math.isnan(episode_ratio(rows, "significance").lower)
