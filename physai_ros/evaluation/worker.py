"""A process that runs trials: settings and trials come as lines of JSON, results go out as such, until input ends.

Settings, `{"settings": ...}`, hold for the trials that follow, until others come.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict


def main() -> int:
    """Exit code; an error is one line `{"error": ...}` on standard output."""
    # One thread each: the parallelism is that of the processes.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a user's task prints must not be taken for a reply
    try:
        from physai_ros.evaluation.trials import Trial, TrialRunner, TrialSettings

        runner: TrialRunner | None = None
        for line in sys.stdin:
            words = json.loads(line)
            if "settings" not in words:
                replies.write(json.dumps(asdict(runner.run(Trial(**words)))) + "\n")
                continue
            if runner is not None:
                runner.close()
            runner = TrialRunner(TrialSettings.from_json(words["settings"]))
    except (LookupError, OSError, RuntimeError, ValueError) as error:
        replies.write(json.dumps({"error": " ".join(str(error).split())}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
