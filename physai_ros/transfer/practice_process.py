"""`python -m physai_ros.transfer.practice_process`: practises after an arm's own episodes, as they come in."""

from __future__ import annotations

import subprocess
import time
from dataclasses import asdict

from physai_ros.experience.store import StoreError
from physai_ros.transfer import side_process
from physai_ros.transfer.own_practice import OwnPractice, PracticePlan

_LOOK = 2.0  # [s]


def start(plan: PracticePlan) -> subprocess.Popen[str]:
    """A process that practises by this plan in the CPU time that the others of its graph leave."""
    return side_process.start(__name__, asdict(plan), apart=False)


def main() -> None:
    """Practise by the plan on the first line of standard input until no round is left, as long as that stays open."""
    request = side_process.asked()
    practice = OwnPractice(PracticePlan(**request | {"milestones": tuple(request["milestones"])}))
    while not practice.over:
        try:
            episodes = practice.due()
        except StoreError:
            episodes = 0  # whoever writes the store has not made it yet
        if not episodes:
            time.sleep(_LOOK)
            continue
        fitted = practice.practise(episodes)
        print(
            f"practised after {episodes} episodes: gap {fitted.gap_before:.2f} to {fitted.gap_after:.2f} tolerances, "
            f"not identified: {', '.join(fitted.unidentified) or 'nothing'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
