"""Evaluations as jobs: one at a time in a thread of their own, watched from outside, kept on disk when done."""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from physai_ros.durable import replace_file
from physai_ros.evaluation.parallel import Cancelled
from physai_ros.evaluation.protocol import EvaluationRequest
from physai_ros.evaluation.statistics import clopper_pearson
from physai_ros.evaluation.trials import TrialResult


@dataclass(frozen=True)
class JobStatus:
    """How a job stands; fields as in EvaluationStatus.msg. `report` is filled when it is done."""

    evaluation_id: str
    request: EvaluationRequest
    state: str = "waiting"  # waiting, running, done, cancelled, failed
    episodes_done: int = 0
    episodes_total: int = 0
    trials: int = 0
    successes: int = 0
    verdict: str = ""
    detail: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "cancelled", "failed")

    @property
    def success(self) -> tuple[float, float, float]:
        """Success rate of the policy so far with its 95 % interval; NaN before the first episode."""
        interval = clopper_pearson(self.successes, self.trials)
        return (self.successes / self.trials if self.trials else float("nan")), interval.lower, interval.upper


class JobHandle:
    """What a running job is given: where to report results, and whether it should stop."""

    def __init__(self, jobs: EvaluationJobs, evaluation_id: str) -> None:
        self._jobs = jobs
        self.evaluation_id = evaluation_id

    def on_result(self, result: TrialResult) -> None:
        """Count one episode."""
        self._jobs._count(self.evaluation_id, result)

    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._jobs._is_cancelled(self.evaluation_id)


@dataclass(frozen=True)
class JobOutcome:
    """What a job's work returns: verdict, words, and the report to keep; `value` stays in memory only."""

    verdict: str
    detail: str
    report: dict[str, Any]
    value: object = None


Work = Callable[[JobHandle], JobOutcome]


class EvaluationJobs:
    """Runs jobs in the order in which they were submitted, and keeps what came of them in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[tuple[str, Work]] = deque()
        self._status: dict[str, JobStatus] = {}
        self._values: dict[str, object] = {}
        self._cancelled: set[str] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="evaluations", daemon=True)
        self._thread.start()

    def submit(self, request: EvaluationRequest, work: Work, evaluation_id: str = "") -> str:
        """Id of a job that will be run as soon as those before it are done."""
        evaluation_id = evaluation_id or uuid.uuid4().hex[:12]
        total = request.episodes * (2 if request.against else 1)
        with self._changed:
            self._status[evaluation_id] = JobStatus(evaluation_id, request, episodes_total=total)
            self._queue.append((evaluation_id, work))
            self._changed.notify_all()
        return evaluation_id

    def status(self, evaluation_id: str) -> JobStatus | None:
        """How a job stands, also one of an earlier run; None for an id that nobody gave out."""
        with self._changed:
            found = self._status.get(evaluation_id)
        return found if found is not None else read_status(self.folder, evaluation_id)

    def journal(self, evaluation_id: str) -> Path:
        """File that keeps the finished episodes of a job until it is done."""
        return self.folder / f"{evaluation_id}.journal"

    def unfinished(self) -> list[str]:
        """Ids of jobs that have a journal, no end, and nobody at work on them, oldest first."""
        found = sorted(self.folder.glob("*.journal"), key=lambda path: path.stat().st_mtime)
        return [path.stem for path in found if not self._path(path.stem).exists() and not self._at_work(path.stem)]

    def _at_work(self, evaluation_id: str) -> bool:
        with self._changed:
            status = self._status.get(evaluation_id)
        return status is not None and not status.finished

    def all(self) -> list[JobStatus]:
        """Every job since start, in order of submission."""
        with self._changed:
            return list(self._status.values())

    def value(self, evaluation_id: str) -> object:
        """What the work of a job that is done returned beside its report."""
        with self._changed:
            return self._values.get(evaluation_id)

    def known(self, evaluation_id: str) -> bool:
        """Whether a job is under way or was ever finished under this id."""
        with self._changed:
            if evaluation_id in self._status:
                return True
        return self._path(evaluation_id).exists()

    def cancel(self, evaluation_id: str) -> bool:
        """Ask a job to stop after the episodes that run; whether there was something to stop."""
        with self._changed:
            status = self._status.get(evaluation_id)
            if status is None or status.finished:
                return False
            self._cancelled.add(evaluation_id)
            return True

    def close(self) -> None:
        """Stop what runs and forget what waits; nothing that finished is lost, see `journal`."""
        with self._changed:
            self._closing = True
            self._cancelled.update(self._status)
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join(timeout=15.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return
                evaluation_id, work = self._queue.popleft()
                self._update(evaluation_id, state="running")
            handle = JobHandle(self, evaluation_id)
            try:
                if handle.cancelled():
                    raise Cancelled("cancelled before its first episode")
                outcome = work(handle)
            except Cancelled as error:
                self._update(evaluation_id, state="cancelled", detail=str(error))
                if not self._closing:
                    self._keep(self._status[evaluation_id])  # what somebody stopped is not taken up again
            except Exception as error:  # noqa: BLE001 - whatever a job raises must not end the service
                text = " ".join(str(error).split()) or type(error).__name__
                self._update(evaluation_id, state="failed", detail=text)
            else:
                self._finish(evaluation_id, outcome)

    def _finish(self, evaluation_id: str, outcome: JobOutcome) -> None:
        with self._changed:
            self._values[evaluation_id] = outcome.value
            done = replace(
                self._status[evaluation_id],
                state="done",
                verdict=outcome.verdict,
                detail=outcome.detail,
                report=outcome.report,
            )
        self._keep(done)

    def _keep(self, status: JobStatus) -> None:
        """Write the end of a job, and only then say it: whoever hears of it finds its files as they stay."""
        try:
            self._write(status)
            if status.state == "done":
                self._drop_journals(status.evaluation_id)
        except OSError as error:
            status = replace(status, detail=f"{status.detail} (not kept: {error.strerror})")
        with self._changed:
            self._status[status.evaluation_id] = status
            self._changed.notify_all()

    def _drop_journals(self, evaluation_id: str) -> None:
        for journal in (self.journal(evaluation_id), *self.folder.glob(f"{evaluation_id}-*.journal")):
            journal.unlink(missing_ok=True)  # the report holds every episode

    def _count(self, evaluation_id: str, result: TrialResult) -> None:
        with self._changed:
            status = self._status[evaluation_id]
            own = result.policy == status.request.policy
            self._update(
                evaluation_id,
                episodes_done=status.episodes_done + 1,
                # A test that is extended runs more than was asked for at first.
                episodes_total=max(status.episodes_total, status.episodes_done + 1),
                trials=status.trials + own,
                successes=status.successes + (own and result.success),
            )

    def _is_cancelled(self, evaluation_id: str) -> bool:
        with self._changed:
            return evaluation_id in self._cancelled

    def _update(self, evaluation_id: str, **changes: Any) -> None:  # noqa: ANN401 - fields of JobStatus
        with self._changed:
            self._status[evaluation_id] = replace(self._status[evaluation_id], **changes)
            self._changed.notify_all()

    def _path(self, evaluation_id: str) -> Path:
        return self.folder / f"{evaluation_id}.json"

    def _write(self, status: JobStatus) -> None:
        replace_file(self._path(status.evaluation_id), json.dumps(asdict(status)))


def read_status(folder: Path, evaluation_id: str) -> JobStatus | None:
    """What a finished job left in `folder`; None where there is nothing that can be read."""
    if not evaluation_id or "/" in evaluation_id or evaluation_id.startswith("."):
        return None
    try:
        data = json.loads((folder / f"{evaluation_id}.json").read_text())
        return JobStatus(**{**data, "request": EvaluationRequest(**data["request"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
