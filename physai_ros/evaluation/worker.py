"""What runs trials in a process of its own, on this machine or another: words in and out are lines of JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physai_ros.evaluation.trials import TrialRunner

_SAME_EVERYWHERE = ("mujoco", "numpy", "torch")  # with other versions the same trial may end otherwise


class TrialServer:
    """Answers trials; whatever starts it, own process or cluster, this is what runs there.

    On a cluster `expected` are the versions of who asks, as `versions` says them, and `folder` the one that paths start
    at there: on a machine with other versions, or without that folder, nothing is run.
    """

    def __init__(self, expected: Mapping[str, str] | None = None, folder: str = "") -> None:
        # One thread each: the parallelism is that of the processes.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = "1"
        self._expected, self._folder = expected, folder
        self._settings = ""
        self._runner: TrialRunner | None = None

    def answer(self, settings: str, trial: str) -> str:
        """One line: the result of a trial under these settings, or `{"error": ...}`."""
        try:
            if settings != self._settings:
                self._use(settings)
            from physai_ros.evaluation.trials import Trial

            return json.dumps(asdict(self._runner.run(Trial(**json.loads(trial)))))
        except (LookupError, OSError, RuntimeError, ValueError) as error:
            where = f"on {os.uname().nodename}: " if self._folder else ""
            return json.dumps({"error": where + " ".join(str(error).split())})

    def _use(self, settings: str) -> None:
        from physai_ros.evaluation.trials import TrialRunner, TrialSettings

        if self._expected is not None and (here := versions()) != self._expected:
            there = _told(self._expected)
            raise ValueError(f"there is {_told(here)}, expected {there}; results would differ: install the same there")
        if self._folder:
            os.chdir(self._folder)
        if self._runner is not None:
            self._runner.close()
        self._settings = ""
        self._runner = TrialRunner(TrialSettings.from_json(settings))
        self._settings = settings


def versions() -> dict[str, str]:
    """Versions here of what the outcome of a trial depends on, by name."""
    from importlib import metadata

    from physai_ros import __version__

    return {"physai_ros": __version__} | {name: metadata.version(name) for name in _SAME_EVERYWHERE}


def _told(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def main() -> int:
    """Exit code. Settings, `{"settings": ...}`, hold for the trials that follow, until others come or input ends."""
    server, settings = TrialServer(), ""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a user's task prints must not be taken for a reply
    for line in sys.stdin:
        words = json.loads(line)
        if "settings" in words:
            settings = words["settings"]
        else:
            replies.write(server.answer(settings, line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
