"""Results by condition and by where things started, so that a gain that hides a loss is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.evaluation.statistics import PairedCounts, clopper_pearson, exact_paired_gain, holm, mcnemar_exact
from physai_ros.evaluation.trials import Trial, TrialResult
from physai_ros.tasks.task import Scenario, Task

LEVEL = 0.05


@dataclass(frozen=True)
class GroupResult:
    """What came of the trials that have something in common, `name`.

    `gain` and its interval (exact, by itself) are NaN without a policy to compare with. `p_loss` is the probability of
    at least such a loss by chance, corrected for the number of groups (Holm); `hidden_loss`: it is at most 5 %.
    """

    name: str
    trials: int
    success: float
    lower: float
    upper: float
    success_against: float = float("nan")
    gain: float = float("nan")
    gain_lower: float = float("nan")
    gain_upper: float = float("nan")
    p_loss: float = 1.0
    hidden_loss: bool = False

    def row(self) -> dict[str, Any]:
        """One mapping, as in a `--json` file."""
        return asdict(self)


def groups_of(task: Task, trials: Sequence[Trial], results: Sequence[TrialResult]) -> dict[str, np.ndarray]:
    """Indices of the scenarios by name of what they share: condition, and lower or upper half of each parameter."""
    groups: dict[str, list[int]] = {}
    conditions = {result.condition for result in results}
    for index, (trial, result) in enumerate(zip(trials, results, strict=True)):
        if len(conditions) > 1:
            groups.setdefault(result.condition, []).append(index)
        for name in _halves(task, _scenario(task, trial)):
            groups.setdefault(name, []).append(index)
    return {name: np.array(members) for name, members in groups.items() if 0 < len(members) < len(results)}


def breakdown(
    groups: dict[str, np.ndarray], results: Sequence[TrialResult], baseline: Sequence[TrialResult] = ()
) -> tuple[GroupResult, ...]:
    """One result a group, in the order of the groups; `baseline` are the other policy's on the same scenarios."""
    won = np.array([result.success for result in results], dtype=bool)
    if not baseline:
        return tuple(_alone(name, won[members]) for name, members in groups.items())
    other = np.array([result.success for result in baseline], dtype=bool)
    counts = {name: PairedCounts.of(won[members], other[members]) for name, members in groups.items()}
    adjusted = holm([mcnemar_exact(table, "less") for table in counts.values()])
    return tuple(
        _paired(name, won[groups[name]], other[groups[name]], table, p)
        for (name, table), p in zip(counts.items(), adjusted, strict=True)
    )


def hidden_losses(groups: Iterable[GroupResult]) -> str:
    """Where a policy loses whatever it gains elsewhere, in words; empty where it does not."""
    return "; ".join(
        f"{group.name}: {100 * group.gain:+.0f} points in {group.trials}" for group in groups if group.hidden_loss
    )


def _halves(task: Task, scenario: Scenario) -> Iterable[str]:
    for name, (low, high) in task.scenario_bounds.items():
        middle = 0.5 * (low + high)
        if name in scenario.parameters and high > low:
            yield f"{name} < {middle:.3g}" if scenario.parameters[name] < middle else f"{name} >= {middle:.3g}"


def _scenario(task: Task, trial: Trial) -> Scenario:
    return Scenario.from_json(trial.scenario_json) if trial.scenario_json else scenario_of(task, trial.scenario_seed)


def _alone(name: str, won: np.ndarray) -> GroupResult:
    interval = clopper_pearson(int(won.sum()), won.size)
    return GroupResult(name, won.size, float(won.mean()), interval.lower, interval.upper)


def _paired(name: str, won: np.ndarray, other: np.ndarray, table: PairedCounts, p_loss: float) -> GroupResult:
    interval, gain = clopper_pearson(int(won.sum()), won.size), exact_paired_gain(table, nodes=400)
    return GroupResult(
        name,
        won.size,
        float(won.mean()),
        interval.lower,
        interval.upper,
        float(other.mean()),
        table.gain,
        gain.lower,
        gain.upper,
        p_loss,
        p_loss <= LEVEL,
    )
