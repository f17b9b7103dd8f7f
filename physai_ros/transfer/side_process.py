"""Work beside a graph: a process that takes the CPU time which others leave, and ends with whoever asked for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def start(module: str, request: Mapping[str, Any], *, apart: bool = True) -> subprocess.Popen[str]:
    """A process that runs a module of this package, told `request` as one line of JSON.

    It computes in one thread. One that is `apart` has a session of its own, its standard output is a pipe, and it gets
    what all others leave. Else it stays in the session of this process, yields to whoever works there, and its words go
    where those of this process go.
    """
    process = subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if apart else None,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=apart,  # Ctrl-C is for whoever started it, who ends it
    )
    if apart:
        with suppress(OSError):
            # Linux shares CPU time among sessions before niceness counts, which then is that of the session.
            Path(f"/proc/{process.pid}/autogroup").write_text("19")
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()  # and it stays open: where it ends, so does the process
    return process


def end(process: subprocess.Popen[str]) -> None:
    """End such a process, whatever it does."""
    process.kill()
    process.wait()
    process.stdin.close()


def asked() -> dict[str, Any]:
    """What this process was started for; from now on it ends where nobody holds its standard input any more."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    return request


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)
