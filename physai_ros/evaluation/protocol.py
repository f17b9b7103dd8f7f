"""How a policy is tested: scenarios, pairs, order, and what is reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physai_ros.evaluation.parallel import TrialCrew, run_trials
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.statistics import Interval, clopper_pearson
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.evaluation.verdict import Comparison, compare
from physai_ros.policy.registry import PolicyFileError, PolicyRegistry

RunTrials = Callable[[list[Trial]], list[TrialResult]]


@dataclass(frozen=True)
class EvaluationRequest:
    """What is asked; fields as in Evaluate.srv. `start` is the index of the first scenario in the set's stream."""

    policy: str
    task: str
    against: str = ""
    scenario_set: str = "nominal"
    episodes: int = 20
    backend: str = "sim"
    seed: int = 0
    margin: float = 0.0
    start: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What came of a request: results of both policies on the same scenarios, in their order."""

    request: EvaluationRequest
    results: tuple[TrialResult, ...]
    baseline: tuple[TrialResult, ...] = ()
    comparison: Comparison | None = None
    wall_seconds: float = 0.0
    physics: dict[str, float] = field(default_factory=dict)

    @property
    def success(self) -> float:
        """Success rate of the policy; NaN before the first episode."""
        return sum(r.success for r in self.results) / len(self.results) if self.results else float("nan")

    @property
    def interval(self) -> Interval:
        """Its 95 % interval (Clopper and Pearson)."""
        return clopper_pearson(sum(r.success for r in self.results), len(self.results))

    @property
    def verdict(self) -> str:
        """The comparison's word; empty without one."""
        return self.comparison.verdict if self.comparison is not None else ""

    def figures(self) -> dict[str, float]:
        """Flat figures, as `physai evaluate --json` writes them."""
        total = len(self.results) + len(self.baseline)
        figures = {
            "success": self.success,
            "lower": self.interval.lower,
            "upper": self.interval.upper,
            "episodes": float(total),
            "episodes_per_second": total / self.wall_seconds if self.wall_seconds > 0 else float("nan"),
        }
        if self.comparison is not None:
            figures["success_against"] = sum(r.success for r in self.baseline) / len(self.baseline)
            figures.update(self.comparison.figures())
        return figures

    def rows(self) -> list[dict[str, Any]]:
        """One mapping an episode."""
        return [result.outcome() for result in (*self.results, *self.baseline)]


def resolve_version(registry: PolicyRegistry, name: str) -> str:
    """Version that a request names: itself, or the active one for `current`.

    Raises:
        PolicyFileError: there is none.
    """
    if name != "current":
        return registry.manifest(name).version
    version = registry.current()[0]
    if not version:
        raise PolicyFileError(
            f"no policy is active in {registry.folder}; promote one with physai policies promote VERSION"
        )
    return version


def evaluate(
    request: EvaluationRequest,
    settings: TrialSettings,
    *,
    workers: int = 0,
    niceness: int = 0,
    crew: TrialCrew | None = None,
    on_result: Callable[[TrialResult], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    run: RunTrials | None = None,
) -> Evaluation:
    """Every scenario by both policies, in an order that is shuffled by the request's seed.

    `crew` runs them in place of processes of this call's own; `run` (the trials in that order) -> results elsewhere
    than in simulation, such as on the live graph.

    Raises:
        TrialError: a trial could not be run.
        Cancelled: somebody asked to stop.
        ValueError: the scenario set is unknown.
    """
    seeds = scenario_seeds(request.scenario_set, request.seed, request.episodes, request.start)
    policies = [request.policy, request.against] if request.against else [request.policy]
    trials = [
        Trial(index * len(policies) + place, seed, policy)
        for index, seed in enumerate(seeds)
        for place, policy in enumerate(policies)
    ]
    order = np.random.default_rng(seeds[0] if seeds else 0).permutation(len(trials))
    shuffled = [trials[i] for i in order]
    began = time.monotonic()
    if run is not None:
        found = run(shuffled)
    elif crew is not None:
        found = crew.run(shuffled, settings, on_result=on_result, cancelled=cancelled)
    else:
        found = run_trials(
            shuffled, settings, workers=workers, niceness=niceness, on_result=on_result, cancelled=cancelled
        )
    results, baseline = tuple(found[:: len(policies)]), tuple(found[1::2]) if request.against else ()
    return Evaluation(
        request=request,
        results=results,
        baseline=baseline,
        comparison=compared(results, baseline, request.margin) if request.against else None,
        wall_seconds=time.monotonic() - began,
        physics=dict(settings.physics),
    )


def compared(results: tuple[TrialResult, ...], baseline: tuple[TrialResult, ...], margin: float) -> Comparison:
    """Paired comparison of results on the same scenarios."""
    return compare([r.success for r in results], [r.success for r in baseline], margin=margin)
