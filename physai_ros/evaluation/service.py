"""What the evaluator offers: evaluations on request, promotion of candidates, rollback. ROS is round it, not in it."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from physai_ros.evaluation.jobs import EvaluationJobs, JobHandle, JobOutcome
from physai_ros.evaluation.journal import read_subject
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.promotion import (
    PromotionResult,
    PromotionRule,
    judge_candidate,
    promote,
    rollback,
)
from physai_ros.evaluation.protocol import (
    EVALUATION_SETS,
    Evaluation,
    EvaluationRequest,
    RunTrials,
    evaluate,
    planned_pairs,
    resolve_version,
    subject_of,
)
from physai_ros.evaluation.rollout_watch import RolloutWatch, WorkedEpisode
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.policy.registry import Activation, PolicyFileError, PolicyRegistry
from physai_ros.tasks.catalog import load_task

GraphRun = Callable[[JobHandle, EvaluationRequest, str], RunTrials]
"""Gives, for a job, its request and its id, what runs its trials on the live graph."""

BACKENDS = ("sim", "graph", "robot")
_CHANGED_WORLDS = ("randomized", "stress")


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
        self._watch = RolloutWatch()
        self._testing = ""
        self._writing = threading.Lock()  # of CURRENT: a job promotes in its own thread
        self.jobs = EvaluationJobs(Path(registry.folder) / "evaluations")
        self._resume()

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
        if request.stop_early and not request.against:
            raise ValueError("stop_early is for comparisons: name a policy to compare with")
        if request.backend not in BACKENDS:
            raise ValueError(f"unknown backend '{request.backend}'; known are: {', '.join(BACKENDS)}")
        if request.backend != "sim" and self._graph is None:
            raise ValueError(f"backend '{request.backend}' needs the live graph; start the evaluator as its node")
        if request.backend != "sim" and request.scenario_set in _CHANGED_WORLDS:
            raise ValueError(
                f"scenario set '{request.scenario_set}' changes the world, which backend '{request.backend}' cannot; "
                "choose sim"
            )
        planned_pairs(request, self._settings)
        return self._submit(request)

    def _submit(self, request: EvaluationRequest) -> str:
        settings = self._settings_of(request)
        same = self._left_behind(subject_of(request, settings))
        return self.jobs.submit(request, lambda job: self._evaluate(request, settings, job), same)

    def _settings_of(self, request: EvaluationRequest) -> TrialSettings:
        settings = replace(self._settings, task=request.task)
        return replace(settings, physics={}) if request.scenario_set in ("nominal", *_CHANGED_WORLDS) else settings

    def _left_behind(self, subject: dict[str, object]) -> str:
        """Id of an evaluation of exactly this that was begun and not finished; empty where there is none."""
        wanted = json.loads(json.dumps(subject))
        journals = ((name, read_subject(self.jobs.journal(name))) for name in self.jobs.unfinished())
        return next((name for name, found in journals if found == wanted), "")

    def _resume(self) -> None:
        """Take up again what an earlier run of this service did not finish in simulation.

        Promotions come up by themselves. On the graph or a robot nothing begins that nobody asks for now.
        """
        for evaluation_id in self.jobs.unfinished():
            subject = read_subject(self.jobs.journal(evaluation_id))
            if subject is None or evaluation_id.startswith("promotion-"):
                continue
            try:
                request = EvaluationRequest(**subject["request"])
                same = subject_of(request, self._settings_of(request)) == subject
            except (TypeError, ValueError):
                continue  # of another version of this package, or of policies that are gone
            if request.backend == "sim" and same:
                self._submit(request)

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

    def hear(self, version: str, success_alone: bool, *, safety_stopped: bool = False) -> Activation | None:
        """Count a training episode; the new activation where the version that drives moves on or back, else None.

        A version that raises an alarm is taken back; one that has worked for the length of a stage without goes faster.
        """
        with self._writing:
            active = self.registry.activation()
            full_speed = version != active.version or active.speed >= 1.0
            self._watch.hear(version, WorkedEpisode(success_alone, safety_stopped), full_speed=full_speed)
            if version != active.version or active.verdict == "rollback":
                return None
            reason = self._watch.reason(version, active.previous) if active.previous else ""
            if reason:
                self._watch.forget(version)
                return rollback(self.registry, "", reason)
            return self._next_stage(active)

    def _next_stage(self, active: Activation) -> Activation | None:
        """The activation at the next speed where the stage at this one is over, else None."""
        if active.speed >= 1.0 or self._watch.episodes(active.version) < self._rule.episodes_at(active.speed):
            return None
        episodes = self._watch.episodes(active.version)
        reason = f"{episodes} episodes at {active.speed:.0%} of full speed without an alarm"
        speed = self._rule.stage_after(active.speed)[0]
        self._watch.begin(active.version)
        return self.registry.activate(active.version, verdict=active.verdict, reason=reason, speed=speed)

    def close(self) -> None:
        """Stop what runs."""
        self.jobs.close()
        if self._crew is not None:
            self._crew.close()

    def _evaluate(self, request: EvaluationRequest, settings: TrialSettings, job: JobHandle) -> JobOutcome:
        run = self._graph(job, request, job.evaluation_id) if request.backend != "sim" else None
        journal = self.jobs.journal(job.evaluation_id)
        evaluation = evaluate(
            request,
            settings,
            crew=self._crew,
            on_result=job.on_result,
            cancelled=job.cancelled,
            run=run,
            journal=journal,
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
            journals=self.jobs.folder,
        )
        if result.promoted:
            with self._writing:
                # Nothing was active: there is nobody to return to, so there is nothing to be tried out against.
                speed = self._rule.stage_after(0.0)[0] if result.current else 1.0
                result = promote(self.registry, result, speed)
            self._watch.begin(candidate)
        report = report_of(result.evaluation) if result.evaluation is not None else {}
        words = "promoted" if result.promoted else "not promoted"
        return JobOutcome(result.verdict, f"{candidate} {words}: {result.reason}", report, result)

    def promoted(self) -> PromotionResult | None:
        """The result of the newest test of a candidate that is done."""
        value = self.jobs.value(self._testing) if self._testing else None
        return value if isinstance(value, PromotionResult) else None


def report_of(evaluation: Evaluation) -> dict[str, object]:
    """Everything that is needed to read an evaluation and to repeat it, as plain JSON values."""
    report = {
        "request": dict(evaluation.request.__dict__),
        "physics": dict(evaluation.physics),
        "subject": dict(evaluation.subject),
        "figures": evaluation.figures(),
        "verdict": evaluation.verdict,
        "groups": [group.row() for group in evaluation.groups],
        "rows": evaluation.rows(),
    }
    return _finite(report)


def _finite(value: object) -> object:
    """The value with None in the place of numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
