"""The one object that `--json FILE` writes, whichever command it is."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from physai_ros import __version__
from physai_ros.durable import replace_file

LIBRARIES = ("numpy", "torch", "mujoco", "ros-rclpy", "pin", "scipy")


def machine() -> dict[str, Any]:
    """Return what figures depend on: cores, CPU, Python, library versions."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    return {"cores": cores, "cpu": _cpu_name(), "python": platform.python_version(), "libraries": libraries}


def made_by() -> dict[str, Any]:
    """Return what rows say of their origin: the command, version and commit of this package, and the libraries."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    # Where an interpreter or a result lies says nothing to others.
    own = [argument if "/" not in argument or argument.startswith("benchmarks/") else "PATH" for argument in sys.argv]
    return {
        "command": " ".join(["physai", *own[1:]]),
        "version": __version__,
        "commit": found.stdout.strip() or None,
        "machine": machine(),
    }


def write_json(
    path: str | Path,
    command: str,
    seed: int,
    figures: Mapping[str, float],
    verdict: str | None = None,
    rows: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Write the result of a command and return what was written.

    The file is whole or not there at all. A figure that could not be measured (NaN, infinite) is null.

    Args:
        path: the file; its folder is made if need be.
        command: e.g. "demo" or "bench latency".
        seed: of the run.
        figures: flat, name → number: seconds, rates in 0 to 1, milliseconds where the name ends in `_ms`.
        verdict: a word, or None.
        rows: one mapping a case.

    Raises:
        TypeError: a figure is no number.
    """
    for name, value in figures.items():
        if not (value is None or hasattr(value, "__float__")):
            raise TypeError(f"Figure {name!r} of {command!r} is {value!r}; expected a number. Put texts into rows.")
    content = {
        "command": command,
        "version": __version__,
        "seed": int(seed),
        "machine": machine(),
        "figures": {name: _plain(value) for name, value in figures.items()},
        "verdict": verdict,
        "rows": [_plain(dict(row)) for row in rows],
    }
    path = Path(path)
    replace_file(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def _plain(value: Any) -> Any:  # noqa: ANN401 whatever a row holds
    """Return `value` as JSON can hold it: numpy's numbers and arrays as Python's, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
