"""Trials on the machines of a Ray cluster: the same code in the workers, other places for them.

Ray (Moritz et al., "Ray: A distributed framework for emerging AI applications", 2018) starts the workers, carries our
lines of JSON to them and back, and starts them again elsewhere where a machine is lost.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict
from queue import SimpleQueue
from types import ModuleType
from typing import Any

from physai_ros.evaluation.parallel import TrialCrew, TrialError
from physai_ros.evaluation.trials import Trial, TrialSettings
from physai_ros.evaluation.worker import TrialServer, versions

_PATIENCE = 5.0  # [s] for a cluster to answer at all
_TRIES = 3  # of a trial whose worker dies: a machine may be lost, a trial that ends its process does so each time


@contextmanager
def trial_crew(workers: int | None, cluster: str = "") -> Iterator[TrialCrew]:
    """Workers that a command has asked for: on this machine, or on the cluster at that address.

    `workers` None is one a core, of this machine or of the whole cluster; 0 on this machine is this process.

    Raises:
        TrialError: Ray is not installed, or there is no such cluster.
    """
    if not cluster:
        with TrialCrew(len(os.sched_getaffinity(0)) if workers is None else workers) as crew:
            yield crew
        return
    engine = RayCluster(cluster)
    try:
        most = engine.cores if workers is None else min(max(workers, 1), engine.cores)
        with TrialCrew(most, engine=engine.start) as crew:
            yield crew
    finally:
        engine.close()


class RayCluster:
    """A running Ray cluster; a process that is connected with one already stays so.

    `address` is Ray's: HOST:PORT, or `auto` for what `RAY_ADDRESS` names or for one of this machine.

    Raises:
        TrialError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str) -> None:
        self._ray = _ray()
        self._connected = not self._ray.is_initialized()
        if self._connected:
            try:
                _knock(address)
                self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (OSError, RuntimeError, ValueError) as error:
                raise TrialError(
                    f"there is no Ray cluster at '{address}' ({_first_line(error)}); start one by ray start --head, or "
                    "leave --cluster out to run on this machine"
                ) from error
        self._actor = self._ray.remote(TrialServer).options(max_restarts=-1, max_task_retries=_TRIES - 1, num_cpus=1)

    @property
    def cores(self) -> int:
        """Of the whole cluster, as its machines told Ray, free or not."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def start(self, settings: TrialSettings, replies: SimpleQueue) -> RayWorker:
        """A worker, on whichever machine has a core to spare; it waits where there is none."""
        return RayWorker(self._ray, self._actor.remote(versions(), os.getcwd()), settings, replies)

    def close(self) -> None:
        """Leave the cluster, where this object joined it."""
        if self._connected:
            self._ray.shutdown()


class RayWorker:
    """A `TrialServer` somewhere in a cluster; an empty line says that it was lost, and again where it was restarted."""

    def __init__(self, ray: ModuleType, actor: Any, settings: TrialSettings, replies: SimpleQueue) -> None:  # noqa: ANN401
        self._ray, self._actor, self._replies = ray, actor, replies
        self.busy = self.ended = False
        self._reason = ""
        self.use(settings)

    def use(self, settings: TrialSettings) -> None:
        """Run what is handed over from now on by these settings."""
        self._settings = settings.to_json()

    def give(self, trial: Trial) -> None:
        """Hand over a trial; its settings go with it, since a worker that was started again knows of none."""
        reply = self._actor.answer.remote(self._settings, json.dumps(asdict(trial)))
        reply.future().add_done_callback(self._hear)

    def reason(self) -> str:
        """Why it was lost."""
        return self._reason

    def end(self) -> None:
        """End the worker, whatever it is doing."""
        self.busy, self.ended = False, True
        self._ray.kill(self._actor)

    def _hear(self, reply: Future) -> None:
        error = reply.exception()
        if error is not None:
            self._reason = _first_line(error)
        self._replies.put((self, "" if error is not None else reply.result()))


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise TrialError("a cluster needs Ray, which is not installed: pip install 'physai_ros[cluster]'") from error
    return ray


def _knock(address: str) -> None:
    """Try HOST:PORT for a moment, since Ray itself waits for minutes where nobody answers.

    Raises:
        OSError: nobody does.
    """
    host, _, port = (os.environ.get("RAY_ADDRESS", "") if address == "auto" else address).rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _first_line(error: BaseException) -> str:
    """What an error of Ray's says, without the traces that follow."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
