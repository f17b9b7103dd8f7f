"""Many trials over several processes; which process runs what makes no difference to the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

import physai_ros
from physai_ros.evaluation.trials import Trial, TrialResult, TrialRunner, TrialSettings


class TrialError(RuntimeError):
    """A trial could not be run; the message says why."""


class Cancelled(RuntimeError):
    """Somebody asked to stop; what had finished was reported to the callback before."""


def run_trials(
    trials: Iterable[Trial],
    settings: TrialSettings,
    *,
    workers: int = 0,
    niceness: int = 0,
    on_result: Callable[[TrialResult], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> list[TrialResult]:
    """Results in the order of the trials' indices; `on_result` hears of each as it comes, in any order.

    Once `enough()` is true no further trial is begun; those that run are finished.

    `workers` 0 runs them in this process; from 1 on in processes of their own, with their own `niceness`, so that a
    control loop nearby is not disturbed.

    Raises:
        TrialError: a trial cannot be run, or a process died.
        Cancelled: `cancelled()` became true.
    """
    waiting = deque(trials)
    if not waiting:
        return []
    heard = on_result or (lambda _result: None)
    if workers <= 0:
        return sorted(_run_here(waiting, settings, heard, cancelled, enough), key=lambda result: result.index)
    with TrialCrew(workers, niceness) as crew:
        return crew.run(waiting, settings, on_result=on_result, cancelled=cancelled, enough=enough)


class TrialCrew:
    """Processes that run trials, kept from call to call: to start one takes seconds.

    Not safe to share between threads.
    """

    def __init__(self, workers: int, niceness: int = 0) -> None:
        """At most so many processes, each with this niceness; they are started when there is work for them."""
        self._most, self._niceness = workers, niceness
        self._settings: TrialSettings | None = None
        self._workers: list[_Worker] = []
        self._replies: SimpleQueue[tuple[_Worker, str]] = SimpleQueue()

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
            TrialError, Cancelled: as `run_trials`; the processes are ended.
        """
        waiting = deque(trials)
        if any(worker.ended for worker in self._workers):
            self.close()
        if settings != self._settings:
            self._settings = settings
            for worker in self._workers:
                worker.use(settings)
        while len(self._workers) < min(self._most, len(waiting)):
            self._workers.append(_Worker(settings, self._niceness, self._replies))
        try:
            results = self._run(waiting, on_result or (lambda _result: None), cancelled, enough)
        except BaseException:
            self.close()
            raise
        return sorted(results, key=lambda result: result.index)

    def close(self) -> None:
        """End the processes, whatever they are doing."""
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
            worker.give(waiting)
        while any(worker.busy for worker in self._workers):
            if cancelled():
                raise Cancelled(f"cancelled after {len(results)} of {total} episodes")
            try:
                worker, line = self._replies.get(timeout=0.2)
            except Empty:
                continue
            if not line:
                code = worker.exit_code()
                raise TrialError(f"a process that runs trials died (exit code {code}); run it again")
            reply = json.loads(line)
            if "error" in reply:
                raise TrialError(reply["error"])
            results.append(TrialResult(**reply))
            heard(results[-1])
            if enough():
                waiting.clear()
            worker.give(waiting)
        return results


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


class _Worker:
    """One process and the thread that reads its replies; an empty line says that it ended."""

    def __init__(self, settings: TrialSettings, niceness: int, replies: SimpleQueue) -> None:
        command = [sys.executable, "-m", "physai_ros.evaluation.worker"]
        environment = dict(os.environ)
        # Where this package lies in a source tree, the child must find the same one.
        own = str(Path(physai_ros.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join([own, *filter(None, [environment.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        if niceness:
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        self.busy = False
        self.use(settings)
        self._reader = threading.Thread(target=self._read, args=(replies,), name="trial replies", daemon=True)
        self._reader.start()

    def use(self, settings: TrialSettings) -> None:
        """Run what is handed over from now on by these settings."""
        self._send(json.dumps({"settings": settings.to_json()}))

    def give(self, waiting: deque[Trial]) -> None:
        """Hand over the next trial, where there is one left."""
        self.busy = bool(waiting)
        if waiting:
            self._send(json.dumps(asdict(waiting.popleft())))

    @property
    def ended(self) -> bool:
        """Whether there is no such process any more."""
        return self._process.poll() is not None

    def exit_code(self) -> int:
        """Exit code of the process, once it has ended."""
        return self._process.wait(timeout=5.0)

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None and self.busy:
            self._process.kill()
        self.busy = False
        try:
            self._process.stdin.close()
        except OSError:
            pass  # it died with words unread
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=5.0)
        self._process.stdout.close()

    def _send(self, line: str) -> None:
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has died; the reader says so

    def _read(self, replies: SimpleQueue) -> None:
        for line in self._process.stdout:
            replies.put((self, line))
        replies.put((self, ""))
