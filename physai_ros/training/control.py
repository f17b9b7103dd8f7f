"""The gate against its control: a few steps of each from the same weights, judged on samples that neither trains on."""

from __future__ import annotations

from collections import deque

import numpy as np


class GateControl:
    """Decides by paired trials whether the gate is worth using, and goes back to uniform sampling where it is not.

    A trial is two held-out losses: after a few steps with gated samples, and after as many with uniform ones, from the
    same weights. When the gate was worse by more than chance over the last trials, sampling becomes uniform; when it is
    better by more than chance, the gate is used again. Trials go on in both states.
    """

    def __init__(self, *, trials: int = 12, least: int = 6, evidence: float = 2.5) -> None:
        """Take how many `trials` are remembered, how many it takes at `least`, and the t statistic to decide by."""
        self._differences: deque[float] = deque(maxlen=trials)
        self._least = least
        self._evidence = evidence
        self.uniform = False
        self.changes = 0

    @property
    def reason(self) -> str:
        """Why sampling is as it is, in words."""
        if not self._differences:
            return "the gate has not been compared with uniform sampling yet"
        state = "sampling is uniform" if self.uniform else "the gate is in use"
        return (
            f"{state}: over the last {len(self._differences)} trials, held-out loss after gated steps was "
            f"{np.mean(self._differences):+.1%} of that after uniform ones (t = {self._statistic():+.1f})"
        )

    def judge(self, gated: float, uniform: float) -> None:
        """Take in one trial: held-out loss after gated and after uniform steps."""
        if not (np.isfinite(gated) and np.isfinite(uniform) and uniform > 0):
            return
        self._differences.append(gated / uniform - 1.0)
        if len(self._differences) < self._least:
            return
        statistic = self._statistic()
        if abs(statistic) > self._evidence and (statistic > 0) != self.uniform:
            self.uniform = not self.uniform
            self.changes += 1

    def _statistic(self) -> float:
        """Student's t of the differences; positive where the gate is worse."""
        count = len(self._differences)
        if count < 2:
            return 0.0
        spread = float(np.std(self._differences, ddof=1)) + 1e-9
        return float(np.mean(self._differences)) / spread * float(np.sqrt(count))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same control."""
        return {"differences": np.array(self._differences), "mode": np.array([self.uniform, self.changes])}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._differences.extend(float(value) for value in state["differences"])
        self.uniform, self.changes = bool(state["mode"][0]), int(state["mode"][1])
