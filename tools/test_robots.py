"""Run the tests of robots by their vendors' clients, in an environment `.venv-robots` that is made for those.

Run by `make test-robots`. The tests themselves run in the project's environment; drivers start their clients in the
other one. Where the clients cannot be installed the tests are skipped with that reason. Arguments go to pytest; long
runs are left out unless it is told `-m slow`.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = ROOT / "requirements" / "robots.txt"
MISLEADING = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")


def main() -> int:
    """Make the environment where it is not up to date, run the tests, and return their exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-robots", help="environment of the vendors' clients")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the project's environment")
    arguments, others = parser.parse_known_args()
    environment = dict(os.environ)
    reason = make_environment(arguments.venv.absolute())
    if reason:
        print(f"test-robots: {reason}", file=sys.stderr)
        environment["PHYSAI_ROBOTS_MISSING"] = reason
    else:
        environment["PHYSAI_ROBOTS_PYTHON"] = str(arguments.venv.absolute() / "bin" / "python")
    command = [arguments.python, "-m", "pytest", "-m", "not slow", "test/robots", *others]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def make_environment(venv: Path) -> str:
    """Bring the clients' environment up to date; returns why that could not be done, else an empty text."""
    stamp_file = venv / "physai_ros_robots.txt"
    stamp = hashlib.sha256(CLIENTS.read_bytes() + sys.version.encode()).hexdigest()
    if stamp_file.is_file() and stamp_file.read_text() == stamp:
        return ""
    print(f"test-robots: environment {venv} with {CLIENTS.relative_to(ROOT)} (a minute)", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--retries=1", "--requirement", str(CLIENTS)],
    ):
        finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if finished.returncode:
            said = finished.stdout.strip().splitlines()
            errors = [line for line in said if line.startswith("ERROR")] or said
            return f"vendors' clients cannot be installed: {errors[-1] if errors else 'pip said nothing'}"
    stamp_file.write_text(stamp)
    return ""


if __name__ == "__main__":
    sys.exit(main())
