"""What the committed rows of the training bench say, as a document's table: made from them, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physai_ros.cli.sampler_study import Row, cost_of, final_of, kind_of
from physai_ros.evaluation.learning_curves import PairedRatio, paired_ratio

NEAR = 0.9
"""Share of uniform's final success that has to be reached."""


def ratio_to_uniform(rows: Sequence[Row], kind: str) -> PairedRatio | None:
    """How many times the CPU time of a kind of sampler uniform sampling takes to the same level, paired by seed.

    A pair whose control never succeeded is left out, for there is no level to reach; None where no pair is left.
    """
    controls = {(row["task"], row["seed"]): row for row in rows if row["sampler"] == "uniform"}
    ratios: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):  # however they came, the interval is the same
        control = controls.get((row["task"], row["seed"]))
        if kind_of(row) != kind or control is None or not final_of(control):
            continue
        level = NEAR * final_of(control)
        ratios.setdefault(row["task"], []).append(cost_of(control, level) / cost_of(row, level))
    return paired_ratio(ratios) if ratios else None


def table_of(rows: Sequence[Row]) -> str:
    """The table as Markdown, one line a task and kind of sampler, and one of all tasks together, each counting alike.

    Of all tasks only those kinds tell that ran on every one.
    Give it the rows of one number of rollouts, without those of the tuning.
    """
    lines = [
        "| task | sampler | pairs | rollouts | success at the end | choosing | uniform's CPU time over this (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for task in [*tasks, *(["all"] if len(tasks) > 1 else [])]:
        of_task = [row for row in rows if task in ("all", row["task"])]
        for kind in dict.fromkeys(kind_of(row) for row in of_task):
            mine = [row for row in of_task if kind_of(row) == kind]
            if task == "all" and {row["task"] for row in mine} != set(tasks):
                continue
            ratio = "1" if kind == "uniform" else said(ratio_to_uniform(of_task, kind))
            success = np.mean([final_of(row) for row in mine])
            choosing = np.mean([row["selection_share"] for row in mine])
            lines.append(
                f"| {task} | {kind} | {len(mine)} | {mine[0]['rollouts']} | {success:.0%} | {choosing:.1%} | {ratio} |"
            )
    return "\n".join(lines)


def curves_of(rows: Sequence[Row]) -> str:
    """Mean success at every checkpoint as Markdown, one line a task and kind of sampler."""
    lines = ["| task | sampler | success after so many CPU seconds of training |", "|---|---|---|"]
    for task, kind in dict.fromkeys((row["task"], kind_of(row)) for row in rows):
        mine = [row for row in rows if (row["task"], kind_of(row)) == (task, kind)]
        success = np.mean([[point["success"] for point in row["curve"]] for row in mine], axis=0)
        points = zip(mine[0]["checkpoints"], success, strict=True)
        lines.append(f"| {task} | {kind} | {', '.join(f'{seconds:g}: {value:.0%}' for seconds, value in points)} |")
    return "\n".join(lines)


def marked(table: str, bench: str = "training") -> str:
    """A bench's table between the two markers by which a document is held to it."""
    begin, end = _markers(bench)
    return f"{begin}\n{table}\n{end}"


def claimed(document: str, bench: str = "training") -> str | None:
    """The table between a bench's two markers in a document; None where there are none."""
    begin, end = _markers(bench)
    _, found, rest = document.partition(begin)
    return rest.partition(end)[0].strip() if found else None


def _markers(bench: str) -> tuple[str, str]:
    return f"<!-- bench {bench}: begin -->", f"<!-- bench {bench}: end -->"


def said(ratio: PairedRatio | None) -> str:
    """A ratio with its interval, in words."""
    if ratio is None:
        return "uniform never succeeded"
    return f"{ratio.ratio:.2f} ({ratio.lower:.2f} to {ratio.upper:.2f})"
