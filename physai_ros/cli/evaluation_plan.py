"""How many episodes it takes to see a gain, by each test: `physai evaluate --plan 0.1`."""

from __future__ import annotations

from pathlib import Path

CORRELATIONS = (0.0, 0.5)


def show_plan(gain: float, success: float, power: float, seed: int, json_file: Path | None) -> None:
    """Print, and write, the plan for a gain in success rate; a negative gain is a loss that is to be seen.

    Raises:
        ValueError: the rates make no sense, or more episodes would be needed than anybody runs.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.power import (
        PlannedGain,
        episodes_needed,
        paired_power,
        sequential_power,
        unpaired_power,
    )

    rows = []
    for correlation in CORRELATIONS:
        wanted = PlannedGain(success, gain, correlation)
        pairs = episodes_needed(lambda n, wanted=wanted: paired_power(wanted, n), power)
        most = round(1.1 * pairs) + 2
        looked = sequential_power(wanted, most, seed=seed)
        likeness = "as chance has it" if correlation == 0.0 else f"half as alike as can be ({correlation:g})"
        fixed = {"test": "paired, fixed size", "alike": likeness, "most": pairs, "mean": float(pairs)}
        rows.append(fixed | {"power": paired_power(wanted, pairs)})
        early = {"test": "paired, --stop-early", "alike": likeness, "most": most, "mean": looked.mean_pairs}
        rows.append(early | {"power": looked.power})
    wanted = PlannedGain(success, gain)
    each = episodes_needed(lambda n: unpaired_power(wanted, n), power)
    alone = {"test": "unpaired (Fisher)", "alike": "-", "most": each, "mean": float(each)}
    rows.append(alone | {"power": unpaired_power(wanted, each)})
    table = Table("test", "outcomes on a scenario", "scenarios at most", "on average", "power", box=None)
    for row in rows:
        numbers = str(row["most"]), f"{row['mean']:.0f}", f"{row['power']:.0%}"
        table.add_row(row["test"], row["alike"], *numbers)
    console = Console()
    console.print(f"from {success:.0%} to {success + gain:.0%}, one-sided at 5 %; each policy runs every scenario")
    console.print(table)
    if json_file is not None:
        figures = {
            "pairs_fixed": rows[0]["most"],
            "pairs_stop_early_most": rows[1]["most"],
            "pairs_stop_early_mean": rows[1]["mean"],
            "episodes_unpaired": each,
        }
        write_json(json_file, "evaluate --plan", seed, figures, rows=rows)
