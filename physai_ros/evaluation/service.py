"""What the evaluator offers: evaluations on request, promotion of candidates, rollback. ROS is round it, not in it."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from physai_ros.evaluation.jobs import EvaluationJobs, JobHandle, JobOutcome
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.promotion import (
    PromotionResult,
    PromotionRule,
    judge_candidate,
    promote,
    rollback,
    rollback_reason,
)
from physai_ros.evaluation.protocol import Evaluation, EvaluationRequest, RunTrials, evaluate, resolve_version
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.policy.registry import Activation, PolicyFileError, PolicyRegistry
from physai_ros.tasks.catalog import load_task

GraphRun = Callable[[JobHandle, str], RunTrials]
"""Gives, for a job and a task, what runs its trials on the live graph."""

EVALUATION_SETS = ("nominal", "held_out", "promotion")


class EvaluationService:
    """The one writer of `CURRENT`: tests candidates, promotes those that earn it, watches them afterwards."""

    def __init__(
        self,
        registry: PolicyRegistry,
        settings: TrialSettings,
        rule: PromotionRule,
        *,
        recordings: str = "",
        workers: int = 1,
        niceness: int = 10,
        graph: GraphRun | None = None,
    ) -> None:
        self.registry = registry
        self._settings = settings
        self._rule = rule
        self._recordings = recordings
        self._crew = TrialCrew(workers, niceness) if workers > 0 else None
        self._graph = graph
        self._outcomes: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=30))
        self._testing = ""
        self._writing = threading.Lock()  # of CURRENT: a job promotes in its own thread
        self.jobs = EvaluationJobs(Path(registry.folder) / "evaluations")

    def request(self, request: EvaluationRequest) -> str:
        """Id of the evaluation that was begun.

        Raises:
            ValueError: the request cannot be carried out; the message says what to change.
        """
        request = replace(
            request,
            policy=resolve_version(self.registry, request.policy or "current"),
            against=resolve_version(self.registry, request.against) if request.against else "",
            task=request.task or self._settings.task,
            scenario_set=request.scenario_set or "nominal",
            backend=request.backend or "sim",
        )
        load_task(request.task)
        if request.scenario_set not in EVALUATION_SETS:
            raise ValueError(
                f"scenario set '{request.scenario_set}' is not for evaluations; choose {', '.join(EVALUATION_SETS)}"
            )
        if not 1 <= request.episodes <= 10_000 or not 0.0 <= request.margin < 1.0:
            raise ValueError(
                f"episodes {request.episodes}, margin {request.margin:g}; expected 1 to 10000 and 0 to below 1"
            )
        scenario_seeds(request.scenario_set, request.seed, request.episodes)
        if request.backend == "graph" and self._graph is None:
            raise ValueError("backend 'graph' needs the live graph; start the evaluator as its node")
        if request.backend not in ("sim", "graph"):
            raise ValueError(
                f"backend '{request.backend}' cannot be used: choose sim or graph; on a robot somebody must restore "
                "the scene between two episodes, which this version cannot ask for"
            )
        return self.jobs.submit(request, lambda job: self._evaluate(request, job))

    def reconcile(self) -> str:
        """Version that is put to the test now, since it is new and nobody has judged it; else empty."""
        if self._testing:
            status = self.jobs.status(self._testing)
            if status is not None and not status.finished:
                return ""
        task = load_task(self._settings.task)
        active = self.registry.current()[0]
        # Only the newest is worth a test: it has learned from everything that the others have.
        for version in reversed(self.registry.versions()):
            name = f"promotion-{version}"
            if version <= active or self.jobs.known(name):
                return ""
            try:
                if self.registry.manifest(version).task != task.name:
                    continue
            except PolicyFileError:
                continue
            request = EvaluationRequest(
                version, task.name, active, "promotion", self._rule.episodes, margin=self._rule.margin
            )
            self._testing = self.jobs.submit(request, self._judge, name)
            return version
        return ""

    def rollback(self, version: str, reason: str) -> Activation:
        """The new activation.

        Raises:
            PolicyFileError: there is nothing to return to; the active version stays.
        """
        with self._writing:
            return rollback(self.registry, version, reason)

    def hear(self, version: str, success_alone: bool) -> Activation | None:
        """Count a training episode; the new activation where the version that drives has lost its place, else None."""
        self._outcomes[version].append(success_alone)
        active = self.registry.activation()
        if version != active.version or not active.previous or active.verdict == "rollback":
            return None
        reason = rollback_reason(self._outcomes[version], self._outcomes[active.previous])
        return self.rollback("", reason) if reason else None

    def close(self) -> None:
        """Stop what runs."""
        self.jobs.close()
        if self._crew is not None:
            self._crew.close()

    def _evaluate(self, request: EvaluationRequest, job: JobHandle) -> JobOutcome:
        settings = replace(self._settings, task=request.task)
        if request.scenario_set == "nominal":
            settings = replace(settings, physics={})
        run = self._graph(job, request.task) if request.backend == "graph" else None
        evaluation = evaluate(
            request,
            settings,
            crew=self._crew,
            on_result=job.on_result,
            cancelled=job.cancelled,
            run=run,
        )
        done = f"{sum(r.success for r in evaluation.results)} of {len(evaluation.results)}"
        return JobOutcome(evaluation.verdict, f"{done} episodes succeeded", report_of(evaluation), evaluation)

    def _judge(self, job: JobHandle) -> JobOutcome:
        candidate = self._testing.removeprefix("promotion-")
        result = judge_candidate(
            self.registry,
            candidate,
            self._settings,
            self._rule,
            recordings=self._recordings,
            crew=self._crew,
            on_result=job.on_result,
            cancelled=job.cancelled,
        )
        if result.promoted:
            with self._writing:
                result = promote(self.registry, result)
        report = report_of(result.evaluation) if result.evaluation is not None else {}
        words = "promoted" if result.promoted else "not promoted"
        return JobOutcome(result.verdict, f"{candidate} {words}: {result.reason}", report, result)

    def promoted(self) -> PromotionResult | None:
        """The result of the newest test of a candidate that is done."""
        value = self.jobs.value(self._testing) if self._testing else None
        return value if isinstance(value, PromotionResult) else None


def report_of(evaluation: Evaluation) -> dict[str, object]:
    """Everything that is needed to read an evaluation and to repeat it, as plain JSON values."""
    return {
        "request": dict(evaluation.request.__dict__),
        "physics": dict(evaluation.physics),
        "figures": evaluation.figures(),
        "verdict": evaluation.verdict,
        "rows": evaluation.rows(),
    }
