"""Many trials over several workers; which of them runs what, and where, makes no difference to the results."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Protocol

from physai_ros.evaluation.trial_process import TrialProcess
from physai_ros.evaluation.trials import Trial, TrialResult, TrialRunner, TrialSettings


class TrialError(RuntimeError):
    """A trial could not be run; the message says why."""


class Cancelled(RuntimeError):
    """Somebody asked to stop; what had finished was reported to the callback before."""


class Worker(Protocol):
    """Runs one trial after another, elsewhere; `busy` is set by the crew that gives them."""

    busy: bool

    @property
    def ended(self) -> bool:
        """Whether it can be given nothing more."""

    def use(self, settings: TrialSettings) -> None:
        """Run what is given from now on by these settings."""

    def give(self, trial: Trial) -> None:
        """Begin with a trial; its result or `{"error": ...}` goes to the replies as a line, an empty one if it died."""

    def reason(self) -> str:
        """Why it died."""

    def end(self) -> None:
        """End it, whatever it is doing."""


Replies = SimpleQueue  # of tuple[Worker, str]

Engine = Callable[[TrialSettings, Replies], Worker]
"""Starts a worker that replies there: `TrialProcess` on this machine, `cluster.RayCluster.start` on many."""


def run_trials(
    trials: Iterable[Trial],
    settings: TrialSettings,
    *,
    workers: int = 0,
    niceness: int = 0,
    engine: Engine | None = None,
    on_result: Callable[[TrialResult], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> list[TrialResult]:
    """Results in the order of the trials' indices; `on_result` hears of each as it comes, in any order.

    Once `enough()` is true no further trial is begun; those that run are finished.

    `workers` 0 runs them in this process; from 1 on in processes of their own, with their own `niceness`, so that a
    control loop nearby is not disturbed, or wherever `engine` starts them.

    Raises:
        TrialError: a trial cannot be run, or a process died.
        Cancelled: `cancelled()` became true.
    """
    with TrialCrew(workers, niceness, engine) as crew:
        return crew.run(trials, settings, on_result=on_result, cancelled=cancelled, enough=enough)


class TrialCrew:
    """Workers that run trials, kept from call to call: to start one takes seconds.

    Not safe to share between threads.
    """

    def __init__(self, workers: int, niceness: int = 0, engine: Engine | None = None) -> None:
        """At most so many workers, started when there is work for them; 0: trials are run in this process.

        They are processes with this niceness, or what `engine` starts.
        """
        self._most = workers
        self._engine = engine or partial(TrialProcess, niceness=niceness)
        self._settings: TrialSettings | None = None
        self._workers: list[Worker] = []
        self._replies: Replies = SimpleQueue()

    @property
    def workers(self) -> int:
        """How many there are at most; 0: trials are run in this process."""
        return self._most

    def run(
        self,
        trials: Iterable[Trial],
        settings: TrialSettings,
        *,
        on_result: Callable[[TrialResult], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        enough: Callable[[], bool] = lambda: False,
    ) -> list[TrialResult]:
        """Results in the order of the trials' indices, as of `run_trials`.

        Raises:
            TrialError, Cancelled: as `run_trials`; the workers are ended.
        """
        waiting, heard = deque(trials), on_result or (lambda _result: None)
        if not waiting:
            return []
        if self._most <= 0:
            return sorted(_run_here(waiting, settings, heard, cancelled, enough), key=lambda result: result.index)
        if any(worker.ended for worker in self._workers):
            self.close()
        if settings != self._settings:
            self._settings = settings
            for worker in self._workers:
                worker.use(settings)
        while len(self._workers) < min(self._most, len(waiting)):
            self._workers.append(self._engine(settings, self._replies))
        try:
            results = self._run(waiting, heard, cancelled, enough)
        except BaseException:
            self.close()
            raise
        return sorted(results, key=lambda result: result.index)

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._replies = SimpleQueue()

    def __enter__(self) -> TrialCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self,
        waiting: deque[Trial],
        heard: Callable[[TrialResult], None],
        cancelled: Callable[[], bool],
        enough: Callable[[], bool],
    ) -> list[TrialResult]:
        total, results = len(waiting), []
        for worker in self._workers:
            _give(worker, waiting)
        while any(worker.busy for worker in self._workers):
            if cancelled():
                raise Cancelled(f"cancelled after {len(results)} of {total} episodes")
            try:
                worker, line = self._replies.get(timeout=0.2)
            except Empty:
                continue
            if not line:
                raise TrialError(f"a process that runs trials died ({worker.reason()}); run it again")
            reply = json.loads(line)
            if "error" in reply:
                raise TrialError(reply["error"])
            results.append(TrialResult(**reply))
            heard(results[-1])
            if enough():
                waiting.clear()
            _give(worker, waiting)
        return results


def _give(worker: Worker, waiting: deque[Trial]) -> None:
    """Hand over the next trial, where there is one left."""
    worker.busy = bool(waiting)
    if waiting:
        worker.give(waiting.popleft())


def _run_here(
    waiting: deque[Trial],
    settings: TrialSettings,
    heard: Callable[[TrialResult], None],
    cancelled: Callable[[], bool],
    enough: Callable[[], bool],
) -> list[TrialResult]:
    results = []
    try:
        runner = TrialRunner(settings)
        try:
            for trial in waiting:
                if enough():
                    break
                if cancelled():
                    raise Cancelled(f"cancelled after {len(results)} of {len(waiting)} episodes")
                results.append(runner.run(trial))
                heard(results[-1])
        finally:
            runner.close()
    except (LookupError, OSError, ValueError) as error:
        raise TrialError(str(error)) from error
    return results
