"""How a policy is tested: scenarios, pairs, order, and what is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros import __version__
from physai_ros.evaluation.breakdown import GroupResult, breakdown, groups_of
from physai_ros.evaluation.journal import EvaluationJournal
from physai_ros.evaluation.parallel import Cancelled, TrialCrew, run_trials
from physai_ros.evaluation.regression_set import RegressionSet
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.sequential import SequentialTest
from physai_ros.evaluation.statistics import Interval, clopper_pearson
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.evaluation.verdict import Comparison, ScoreComparison, compare, compare_scores
from physai_ros.policy.registry import PolicyFileError, PolicyRegistry
from physai_ros.tasks.catalog import load_task

RunTrials = Callable[[list[Trial]], list[TrialResult]]

EVALUATION_SETS = ("nominal", "randomized", "stress", "regression", "held_out", "promotion")
"""Scenario sets that an evaluation may be asked for; the first is taken where none is named."""

ALPHA = 0.05


@dataclass(frozen=True)
class EvaluationRequest:
    """What is asked; fields as in Evaluate.srv. `start` is the index of the first scenario in the set's stream.

    With `stop_early` a comparison ends as soon as a test that may be looked at after every pair has a verdict;
    `episodes` is then what it runs at most.
    """

    policy: str
    task: str
    against: str = ""
    scenario_set: str = "nominal"
    episodes: int = 20
    backend: str = "sim"
    seed: int = 0
    margin: float = 0.0
    start: int = 0
    stop_early: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What came of a request: results of both policies on the same scenarios, in their order.

    `subject` is everything that it takes to repeat it. `unused` counts episodes that had begun when a test that stops
    early reached its verdict, which does not rest on them. `groups` are results by condition and by start.
    """

    request: EvaluationRequest
    results: tuple[TrialResult, ...]
    baseline: tuple[TrialResult, ...] = ()
    comparison: Comparison | None = None
    wall_seconds: float = 0.0
    physics: dict[str, float] = field(default_factory=dict)
    subject: dict[str, Any] = field(default_factory=dict)
    groups: tuple[GroupResult, ...] = ()
    scores: ScoreComparison | None = None
    unused: int = 0

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
            "score": sum(r.score for r in self.results) / len(self.results) if self.results else float("nan"),
            "episodes": float(total),
            "episodes_unused": float(self.unused),
            "episodes_per_second": (total + self.unused) / self.wall_seconds if self.wall_seconds > 0 else float("nan"),
        }
        if self.comparison is not None:
            figures["success_against"] = sum(r.success for r in self.baseline) / len(self.baseline)
            figures.update(self.comparison.figures())
        if self.scores is not None:
            figures.update(self.scores.figures())
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
    journal: Path | None = None,
) -> Evaluation:
    """Every scenario by both policies, in an order that is shuffled by the request's seed.

    `crew` runs them in place of processes of this call's own; `run` (trials in their order) -> results elsewhere than
    in simulation, such as on the live graph, and is itself told whom to tell of a result. `journal` names a file that
    keeps each finished episode; where it holds some of this evaluation, `on_result` hears of these first, and they
    are not run again.

    Raises:
        TrialError: a trial could not be run.
        Cancelled: somebody asked to stop.
        ValueError: the scenario set is unknown, or the journal is of another evaluation.
    """
    pairs = planned_pairs(request, settings)
    subject = subject_of(request, settings)
    heard = on_result or (lambda _result: None)
    began = time.monotonic()
    with EvaluationJournal(journal, subject) if journal is not None else nullcontext() as kept:
        found = dict(kept.results) if kept is not None else {}
        stopping = _Stopping(request, len(pairs))

        def note(result: TrialResult) -> None:
            found[result.index] = result
            if kept is not None:
                kept.append(result)
            stopping.note(found)

        def hear(result: TrialResult) -> None:
            note(result)
            heard(result)

        for result in sorted(found.values(), key=lambda result: result.index):
            heard(result)
        stopping.note(found)
        before = len(found)
        waiting = [trial for trial in _ordered(pairs, request) if trial.index not in found]
        if stopping.finished:
            pass
        elif run is not None:
            for trial in waiting:
                if stopping.finished:
                    break
                if cancelled():
                    raise Cancelled(f"cancelled after {len(found)} of {len(waiting) + before} episodes")
                note(run([trial])[0])
        elif crew is not None:
            crew.run(waiting, settings, on_result=hear, cancelled=cancelled, enough=lambda: stopping.finished)
        else:
            run_trials(
                waiting,
                settings,
                workers=workers,
                niceness=niceness,
                on_result=hear,
                cancelled=cancelled,
                enough=lambda: stopping.finished,
            )
    return _concluded(request, settings, pairs, found, stopping, time.monotonic() - began, subject)


def planned_pairs(request: EvaluationRequest, settings: TrialSettings) -> list[tuple[Trial, ...]]:
    """The trials of each scenario: one, or with `against` two that differ in their policy alone.

    Raises:
        ValueError: the scenario set is unknown or empty.
    """
    policies = [request.policy, request.against] if request.against else [request.policy]
    if request.scenario_set == "regression":
        entries = RegressionSet(settings.registry).entries(request.task)[request.start :][: request.episodes]
        if not entries:
            raise ValueError(
                f"no failure of {request.task} was fixed yet that {settings.registry} knows of; they come in with "
                "promotions, or by physai policies regression --add"
            )
        scenes = [Trial(0, e.scenario_seed, scenario_json=e.scenario_json, physics=e.physics) for e in entries]
    else:
        seeds = scenario_seeds(request.scenario_set, request.seed, request.episodes, request.start)
        scenes = [Trial(0, seed) for seed in seeds]
    return [
        tuple(
            replace(scene, index=number * len(policies) + place, policy=policy) for place, policy in enumerate(policies)
        )
        for number, scene in enumerate(scenes)
    ]


def subject_of(request: EvaluationRequest, settings: TrialSettings) -> dict[str, Any]:
    """Everything that it takes to repeat an evaluation, as plain JSON values."""
    weights = {}
    if settings.registry:
        registry = PolicyRegistry(settings.registry)
        known = set(registry.versions())
        weights = {v: registry.manifest(v).sha256 for v in (request.policy, request.against) if v in known}
    return {
        "request": dict(request.__dict__),
        "robot": settings.robot,
        "physics": dict(settings.physics),
        "operator": settings.operator,
        "weights_sha256": weights,
        "code_version": __version__,
    }


def compared(results: tuple[TrialResult, ...], baseline: tuple[TrialResult, ...], margin: float) -> Comparison:
    """Paired comparison of results on the same scenarios."""
    return compare([r.success for r in results], [r.success for r in baseline], margin=margin)


def grouped(
    task: str, trials: Sequence[Trial], results: Sequence[TrialResult], baseline: Sequence[TrialResult] = ()
) -> tuple[GroupResult, ...]:
    """Results by condition and by start; `trials` are those of `results`, in their order."""
    return breakdown(groups_of(load_task(task), trials, results), results, baseline) if results else ()


def _ordered(pairs: list[tuple[Trial, ...]], request: EvaluationRequest) -> list[Trial]:
    """The trials in the order in which they are run: shuffled, so that neither policy has the better hour.

    Where a test looks at each pair, and on a robot where somebody sets up each scene, the two of a pair follow each
    other, and only which of them goes first is drawn.
    """
    trials = [trial for pair in pairs for trial in pair]
    if not trials:
        return []
    generator = np.random.default_rng(trials[0].scenario_seed)
    if request.stop_early or request.backend == "robot":
        return [pair[place] for pair in pairs for place in generator.permutation(len(pair))]
    return [trials[i] for i in generator.permutation(len(trials))]


class _Stopping:
    """Looks at pairs in the order of the plan, so that which process is quicker makes no difference."""

    def __init__(self, request: EvaluationRequest, most: int) -> None:
        self.used = most
        self._test = None
        if request.stop_early and request.against and most:
            self._test = SequentialTest(most, margin=request.margin, alpha=ALPHA)

    @property
    def finished(self) -> bool:
        """Whether no further pair is needed."""
        return self._test is not None and self._test.finished

    @property
    def verdict(self) -> str:
        """The sequential test's word; empty where it has none, or there is no such test."""
        return self._test.verdict if self._test is not None else ""

    def note(self, found: Mapping[int, TrialResult]) -> None:
        """Look at the pairs that are complete now."""
        test = self._test
        while test is not None and not test.finished:
            candidate, current = found.get(2 * test.pairs), found.get(2 * test.pairs + 1)
            if candidate is None or current is None:
                return
            test.update(candidate.success, current.success)
            self.used = test.pairs


def _concluded(
    request: EvaluationRequest,
    settings: TrialSettings,
    pairs: list[tuple[Trial, ...]],
    found: Mapping[int, TrialResult],
    stopping: _Stopping,
    seconds: float,
    subject: dict[str, Any],
) -> Evaluation:
    used = pairs[: stopping.used]
    results = tuple(found[pair[0].index] for pair in used)
    baseline = tuple(found[pair[1].index] for pair in used) if request.against else ()
    comparison = scores = None
    if request.against:
        comparison = compared(results, baseline, request.margin)
        scores = compare_scores([r.score for r in results], [r.score for r in baseline])
        if request.stop_early:
            # What a test of fixed size says counts only if its size was fixed.
            word = stopping.verdict or (
                "no_difference" if comparison.verdict == "no_difference" else "not_enough_trials"
            )
            comparison = replace(comparison, verdict=word)
    return Evaluation(
        request=request,
        results=results,
        baseline=baseline,
        comparison=comparison,
        wall_seconds=seconds,
        physics=dict(settings.physics),
        subject=subject,
        groups=grouped(request.task, [pair[0] for pair in used], results, baseline),
        scores=scores,
        unused=len(found) - len(results) - len(baseline),
    )
