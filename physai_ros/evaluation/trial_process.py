"""A process on this machine that runs trials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

import physai_ros
from physai_ros.evaluation.trials import Trial, TrialSettings


class TrialProcess:
    """One process and the thread that reads its replies; an empty line says that it ended."""

    def __init__(self, settings: TrialSettings, replies: SimpleQueue, niceness: int = 0) -> None:
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

    def give(self, trial: Trial) -> None:
        """Hand over a trial."""
        self._send(json.dumps(asdict(trial)))

    @property
    def ended(self) -> bool:
        """Whether there is no such process any more."""
        return self._process.poll() is not None

    def reason(self) -> str:
        """Why it ended."""
        return f"exit code {self._process.wait(timeout=5.0)}"

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
