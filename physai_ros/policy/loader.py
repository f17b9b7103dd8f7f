"""Loads versions of a policy beside the control loop, so that a swap costs no cycle."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from physai_ros.policy.runtime import ActingPolicy

_KEPT = 4


class PolicyLoader:
    """Loads, verifies and warms up versions in a thread of its own; keeps the last few.

    `load` is called in that thread with a version and returns the policy, ready to act; what it raises becomes the
    version's `problem`.
    """

    def __init__(self, load: Callable[[str], ActingPolicy]) -> None:
        self._load = load
        self._thread = ThreadPoolExecutor(1, "policy_loader", initializer=_step_back)
        self._versions: dict[str, Future[ActingPolicy]] = {}

    def request(self, version: str) -> None:
        """Begin to load a version, unless it is loaded or being loaded; one that failed is tried again."""
        known = self._versions.pop(version, None)
        if known is None or (known.done() and known.exception() is not None):
            known = self._thread.submit(self._load, version)
        self._versions[version] = known  # the newest wish stands last
        while len(self._versions) > _KEPT:
            self._versions.pop(next(iter(self._versions))).cancel()

    def policy(self, version: str) -> ActingPolicy | None:
        """The policy of a version once it is loaded, None before and where it failed."""
        future = self._versions.get(version)
        return future.result() if future is not None and future.done() and future.exception() is None else None

    def problem(self, version: str) -> str:
        """Why a version could not be loaded; empty while it is loading and when it is loaded."""
        future = self._versions.get(version)
        if future is None or not future.done() or future.exception() is None:
            return ""
        return str(future.exception())

    def close(self) -> None:
        """Stop loading; waits for the version at hand."""
        self._thread.shutdown(cancel_futures=True)


def _step_back() -> None:
    """Let this thread, where it has a real-time priority, go behind all of control, and before everything else.

    What it holds of the interpreter the control thread waits for: it must not have to wait for a trainer meanwhile.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
