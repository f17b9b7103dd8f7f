"""The documents say of the samplers what the committed rows say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from physai_ros.cli.sampler_study import RowFile
from physai_ros.cli.training_claims import claimed, curves_of, marked, ratio_to_uniform, table_of

ROOT = Path(__file__).parents[2]
TUNING_SEEDS = 1000  # seeds of the tuning lie above


def row(sampler: str, seed: int, costs: tuple[float, ...], success: tuple[float, ...]) -> dict[str, object]:
    curve = [{"cpu_seconds": cost, "success": value} for cost, value in zip(costs, success, strict=True)]
    return {
        "task": "reach",
        "sampler": sampler,
        "signals": "",
        "seed": seed,
        "rollouts": 20,
        "curve": curve,
        "selection_share": 0.03,
    }


ROWS = [
    entry
    for seed in range(3)
    for entry in (
        row("uniform", seed, (1.0, 2.0, 4.0), (0.2, 0.9, 1.0)),
        row("ast", seed, (0.5, 1.0, 2.0), (0.2, 0.9, 1.0)),
    )
]


def test_a_curve_that_is_twice_as_fast_has_a_ratio_of_two():
    ratio = ratio_to_uniform(ROWS, "ast")
    assert ratio.ratio == pytest.approx(2.0)
    assert ratio.lower == pytest.approx(2.0)


def test_a_run_without_its_control_is_not_compared():
    alone = [*ROWS, row("ast", 99, (0.1, 0.2, 0.4), (0.2, 0.9, 1.0))]
    assert ratio_to_uniform(alone, "ast") == ratio_to_uniform(ROWS, "ast")


def test_a_control_that_never_succeeded_says_nothing():
    hopeless = [row(name, 7, (1.0, 2.0, 4.0), (0.0, 0.0, 0.0)) for name in ("uniform", "ast")]
    assert ratio_to_uniform([*ROWS, *hopeless], "ast") == ratio_to_uniform(ROWS, "ast")
    assert ratio_to_uniform(hopeless, "ast") is None
    assert "uniform never succeeded" in table_of(hopeless)


def test_the_table_stands_between_the_markers():
    readme = f"# Title\n\n{marked(table_of(ROWS))}\n\nMore."
    assert claimed(readme) == table_of(ROWS)
    assert "2.00 (2.00 to 2.00)" in table_of(ROWS)
    assert claimed("# Title\n\nMore.") is None
    assert claimed(readme, "scenarios") is None


def test_a_curve_is_told_by_its_means():
    rows = [row | {"checkpoints": [1.0, 2.0, 4.0]} for row in ROWS]
    assert "| reach | ast | 1: 20%, 2: 90%, 4: 100% |" in curves_of(rows)


def test_all_tasks_together_count_alike():
    other = [row | {"task": "other", "curve": row["curve"]} for row in ROWS if row["sampler"] == "uniform"]
    same = [row | {"sampler": "ast"} for row in other]
    *_, last = table_of([*ROWS, *other, *same]).splitlines()
    assert last.startswith("| all | ast | 6 |")
    assert "1.41 (1.41 to 1.41)" in last
    assert "| all |" not in table_of(ROWS)
    apart = [row | {"sampler": "random"} for row in same]
    assert "| all | random |" not in table_of([*ROWS, *other, *same, *apart])


@pytest.mark.parametrize(
    ("document", "bench", "files", "told"),
    [
        ("README.md", "training", ("rows", "metaworld"), table_of),
        ("docs/training.md", "training curves", ("rows", "metaworld"), curves_of),
        ("docs/training.md", "training without strata", ("arm_without_strata", "metaworld_without_strata"), table_of),
        ("docs/training.md", "training beside the published gate", ("published",), table_of),
        ("docs/training.md", "training ablation", ("ablation",), table_of),
    ],
)
def test_what_is_claimed_is_what_was_committed(document, bench, files, told):
    kept = [row for name in files for row in RowFile(ROOT / f"benchmarks/training/{name}.jsonl").rows]
    rows = [row for row in kept if row["seed"] < TUNING_SEEDS]
    assert rows
    assert claimed((ROOT / document).read_text(), bench) == told(rows)
