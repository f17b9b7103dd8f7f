"""How episodes to a success are compared."""

import math
from pathlib import Path

import pytest

from physai_ros.cli.sampler_study import RowFile
from physai_ros.cli.scenario_study import episode_ratio, figures, table_of
from physai_ros.cli.training_claims import claimed

ROOT = Path(__file__).parents[2]


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


def test_the_table_says_what_the_rows_say():
    counts = {"interventions": 3, "rehearsals": 20}
    rows = [row("uniform", 0, 0.2, 0.5, 0.9) | {"interventions": 4}, row("rehearsal", 0, 0.2, 0.9, 1.0) | counts]
    *_, uniform, rehearsal = table_of(rows).splitlines()
    assert uniform == "| reach | uniform | 1 | 0: 20%, 8: 50%, 16: 90% | 4.0 | 0 | 1 |"
    assert rehearsal == "| reach | rehearsal | 1 | 0: 20%, 8: 90%, 16: 100% | 3.0 | 20 | 2.00 (too few) |"


def test_what_is_claimed_is_what_was_committed():
    files = (ROOT / f"benchmarks/scenarios/{name}.jsonl" for name in ("pick_place", "metaworld"))
    rows = [row for file in files for row in RowFile(file).rows if row["rollouts"] == 100]
    assert claimed((ROOT / "docs/training.md").read_text(), "scenarios") == table_of(rows)
