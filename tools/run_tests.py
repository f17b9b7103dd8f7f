"""Run the tests as `make test` does: what keeps no time on all cores, then, one by one, what does.

Nodes, drivers and what starts them are judged by the clock and get the machine to themselves.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMED = ("deployment", "drivers", "nodes", "robots", "ros2_control")
NOTHING_COLLECTED = 5  # pytest's exit code


def is_tests(name: str) -> bool:
    """Whether this entry of test/ is a folder or a file of tests."""
    return (ROOT / "test" / name).is_dir() or name.startswith("test_")


def main() -> int:
    """Run both halves with the given arguments of pytest; return the first exit code that is not zero."""
    names = sorted(path.name for path in (ROOT / "test").iterdir())
    untimed = [f"test/{name}" for name in names if name not in (*TIMED, "__pycache__") and is_tests(name)]
    halves = [["-n", "logical", "--dist", "worksteal", *untimed], [f"test/{name}" for name in TIMED]]
    codes = [
        subprocess.run([sys.executable, "-m", "pytest", *half, *sys.argv[1:]], cwd=ROOT).returncode for half in halves
    ]
    if all(code == NOTHING_COLLECTED for code in codes):
        return NOTHING_COLLECTED
    return next((code for code in codes if code not in (0, NOTHING_COLLECTED)), 0)


if __name__ == "__main__":
    sys.exit(main())
