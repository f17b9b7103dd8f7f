"""`physai bench training`: Adaptive Sparse Training beside its controls, judged by rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress
    from rich.table import Table

    from physai_ros.cli.sampler_study import Arm, Row, RowFile, StudyPlan
    from physai_ros.cli.training_problems import Problem
    from physai_ros.evaluation.learning_curves import PairedRatio

_RATES, _BATCHES = (1.5e-3, 3e-3, 6e-3, 1.2e-2), (64, 256)  # that uniform sampling is tuned over
_TUNING_SEED, _TUNING_ROLLOUTS = 1001, 25
# CPU seconds of training at which a policy is judged. MetaWorld's tasks are learned from states in less of them.
_FULL, _SMOKE, _FULL_METAWORLD = (0.2, 0.35, 0.6, 1.0, 1.7, 3.0), (0.5, 1.0, 2.0), (0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.7)


def training(
    full: Annotated[bool, typer.Option("--full", help="Tuned, on all tasks, ten seeds: takes hours.")] = False,
    tasks: Annotated[str, typer.Option(help="Names, by commas; empty: all that can be had.")] = "",
    samplers: Annotated[str, typer.Option(help="By commas; `published` is that package's own trainer.")] = "",
    seeds: Annotated[int, typer.Option(min=0, help="How many; 0: 2, or 10 with --full.")] = 0,
    rollouts: Annotated[int, typer.Option(min=0, help="At each checkpoint; 0: 20, or 100 with --full.")] = 0,
    wrong_labels: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of labels made wrong.")] = 0.0,
    metaworld_python: Annotated[Path | None, typer.Option(help="Interpreter that has MetaWorld.")] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="All signals, each, all but each, none.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of README and docs as well.")] = False,
    results: Annotated[Path | None, typer.Option(help="Rows are kept here; run again, it goes on.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Samplers side by side: CPU time to 90 % of what uniform sampling reaches, paired by seed.

    The smoke form takes some minutes, is not tuned and claims nothing. With --full uniform sampling is tuned, and the
    others train with what is best for it.
    """
    from contextlib import ExitStack, closing

    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.published_gate import PACKAGE, is_installed
    from physai_ros.cli.results import made_by, write_json
    from physai_ros.cli.sampler_study import PUBLISHED, SIGNALS, RowFile, StudyPlan, kind_of
    from physai_ros.cli.training_claims import curves_of, marked, ratio_to_uniform, table_of
    from physai_ros.cli.training_problems import ARM_TASKS, METAWORLD_TASKS, problem_of

    every = [*(ARM_TASKS if full else ARM_TASKS[:1]), *(METAWORLD_TASKS if metaworld_python is not None else ())]
    names = [name for name in tasks.split(",") if name] or every
    kinds = [name for name in samplers.split(",") if name] or [
        *("uniform", "random", "prioritized", "infobatch", "ast"),
        *([PUBLISHED] if full else []),
    ]
    if PUBLISHED in kinds and not is_installed():
        raise ValueError(
            f"the sampler '{PUBLISHED}' is the trainer of another package, which is not installed: pip install "
            f"--no-deps {PACKAGE}, or give --samplers without it"
        )
    if "uniform" not in kinds:
        raise ValueError(f"samplers are {', '.join(kinds)}: uniform has to be among them, all are compared with it")
    numbers = range(seed, seed + (seeds or (10 if full else 2)))
    every_signal = ["all", "none", *(f"{choice} {signal}" for choice in ("only", "without") for signal in SIGNALS)]
    file, console, rows, variants = RowFile(results, made_by()), Console(), [], every_signal if ablation else []
    with ExitStack() as opened, Progress(transient=True, console=console) as progress:
        studies = []
        for name in names:
            problem = opened.enter_context(closing(problem_of(name, metaworld_python)))
            many, grid = (80, _FULL_METAWORLD) if name in METAWORLD_TASKS else (40, _FULL)
            checkpoints, episodes = (grid, many) if full else (_SMOKE, 10)
            plan = StudyPlan(checkpoints, episodes, rollouts or (100 if full else 20), wrong_labels)
            studies.append(_Study(problem, kinds, plan, file, progress, tuned=full, variants=variants))
        # Seeds outermost: wherever it is ended, what there is is paired.
        for number in numbers:
            for study in studies:
                rows += study.run(number)
    kinds = list(dict.fromkeys(kind_of(row) for row in rows))
    ratios = {kind: ratio_to_uniform(rows, kind) for kind in kinds if kind != "uniform"}
    console.print(_table(rows, kinds, ratios))
    if not full:
        console.print("[dim]A smoke run: not tuned, too few seeds and rollouts to say anything of the samplers.[/dim]")
    if markdown:
        typer.echo(f"{marked(table_of(rows))}\n\n{marked(curves_of(rows), 'training curves')}")
    if json_file is not None:
        write_json(json_file, "bench training", seed, _figures(rows, ratios.get("ast")), rows=rows)


class _Study:
    """One problem; every sampler trains with what a tuning on a seed of its own found best for uniform sampling.

    That is cheaper than a tuning of each, and leaves the advantage to the control.
    """

    def __init__(
        self,
        problem: Problem,
        kinds: Sequence[str],
        plan: StudyPlan,
        file: RowFile,
        progress: Progress,
        *,
        tuned: bool,
        variants: Sequence[str],
    ) -> None:
        self._problem, self._kinds, self._plan, self._file = problem, kinds, plan, file
        self._progress = progress
        self._bar = progress.add_task(problem.name, total=None)
        self._tuned, self._variants = tuned, variants
        self._arms: list[Arm] = []

    def run(self, seed: int) -> list[Row]:
        """Rows of one seed."""
        self._arms = self._arms or self._chosen()
        return self._rows(self._arms, self._plan, seed)

    def _rows(self, arms: Sequence[Arm], plan: StudyPlan, seed: int) -> list[Row]:
        from physai_ros.cli.sampler_study import run_seed

        return run_seed(self._problem, arms, plan, seed, self._file, lambda _row: self._progress.advance(self._bar))

    def _chosen(self) -> list[Arm]:
        """One arm a sampler, all with what is best for uniform sampling; or untuned ones."""
        import dataclasses

        from physai_ros.cli.sampler_study import Arm, best_arm, final_of
        from physai_ros.cli.training_claims import NEAR

        best = Arm("uniform")
        if self._tuned:
            choice = [Arm("uniform", rate, batch) for rate in _RATES for batch in _BATCHES]
            plan = dataclasses.replace(self._plan, rollouts=_TUNING_ROLLOUTS, wrong_labels=0.0)
            rows = self._rows(choice, plan, _TUNING_SEED)
            best = best_arm(rows, NEAR * max(final_of(row) for row in rows))
        arms = [dataclasses.replace(best, sampler=kind) for kind in self._kinds]
        # Every variant with what was tuned for the whole: the question is what a signal adds to it.
        whole = [arm for arm in arms if arm.sampler == "ast"][:1]
        return arms + [dataclasses.replace(arm, signals=signals) for arm in whole for signals in self._variants]


def _figures(rows: Sequence[Row], ratio: PairedRatio | None) -> dict[str, float]:
    import numpy as np

    nothing = float("nan")
    from physai_ros.cli.sampler_study import kind_of

    sparse = [row for row in rows if kind_of(row) == "ast"]
    return {
        "ast_vs_uniform_cpu": ratio.ratio if ratio else nothing,
        "ast_vs_uniform_cpu_lower": ratio.lower if ratio else nothing,
        "ast_vs_uniform_cpu_upper": ratio.upper if ratio else nothing,
        "ast_vs_uniform_worst_task": ratio.worst if ratio else nothing,
        "activation_rate": float(np.mean([row["activation_rate"] for row in sparse])) if sparse else nothing,
        "selection_share": float(np.mean([row["selection_share"] for row in sparse])) if sparse else nothing,
    }


def _table(rows: Sequence[Row], kinds: Sequence[str], ratios: dict[str, PairedRatio | None]) -> Table:
    import numpy as np
    from rich.table import Table

    from physai_ros.cli.sampler_study import final_of, kind_of
    from physai_ros.cli.training_claims import ratio_to_uniform, said

    table = Table(title="CPU time to 90 % of uniform's success", title_justify="left")
    for name in (
        "task",
        "sampler",
        "success at the end",
        "backward of offered",
        "choosing",
        "uniform's time over this",
    ):
        table.add_column(name, justify="left" if name in ("task", "sampler") else "right")
    for task in dict.fromkeys(row["task"] for row in rows):
        for kind in kinds:
            mine = [row for row in rows if row["task"] == task and kind_of(row) == kind]
            if not mine:
                continue
            ratio = (
                "1" if kind == "uniform" else said(ratio_to_uniform([row for row in rows if row["task"] == task], kind))
            )
            table.add_row(
                task,
                kind,
                f"{np.mean([final_of(row) for row in mine]):.0%}",
                f"{np.mean([row['activation_rate'] for row in mine]):.1%}",
                f"{np.mean([row['selection_share'] for row in mine]):.1%}",
                ratio,
            )
    for kind, ratio in ratios.items():
        table.add_row("all", kind, "", "", "", said(ratio))
    return table
