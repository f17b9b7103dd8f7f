"""The current significance of every sample of a pool, kept up to date for a small, constant cost a step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from physai_ros.training.gate import GateConfig
from physai_ros.training.proxy import LossProxy
from physai_ros.training.replay import SampleLedger
from physai_ros.training.significance import RobotTrainingSignificance, SignalScales, percentile_of

_SCORE_EVERY = 8  # steps between two times that the samples visited since are scored again
_SWEEP = 256  # further samples that are scored again then, in turn
_LESSON_EVERY = 4  # such times between two lessons of the proxy
_LESSON_ROWS = 128


class ScoreBoard:
    """Scores (n,) of all samples, without a pass over the pool.

    Every few steps, what was visited since is scored again, and the next few samples in turn. Samples that were never
    visited get their loss from a proxy, and count as most significant before it had a lesson. A sample that keeps a
    loss among the highest 5 % after repeated visits is taken for a wrong label and lowered.
    """

    def __init__(
        self,
        ledger: SampleLedger,
        significance: RobotTrainingSignificance,
        gate: GateConfig,
        inputs: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Take `inputs`, which gives what the proxy sees of the samples of an index array; without it, no proxy."""
        self._ledger = ledger
        self._significance = significance
        self._gate = gate
        self._inputs = inputs
        self._proxy: LossProxy | None = None
        self._scores = np.zeros(0, dtype=np.float32)
        self._scales = SignalScales()
        self._suspicious = np.inf
        self._visited: list[np.ndarray] = []
        self._next = self._rounds = 0

    @property
    def scores(self) -> np.ndarray:
        """Significance (n,) of every sample, in 0 ... 1."""
        new = len(self._ledger) - len(self._scores)
        if new:
            self._scores = np.concatenate([self._scores, np.ones(new, dtype=np.float32)])
        return self._scores

    def visited(self, rows: np.ndarray) -> None:
        """Note that the samples `rows` were trained on and their ledger is new."""
        self._visited.append(rows)
        if len(self._visited) < _SCORE_EVERY:
            return
        visited = np.concatenate(self._visited)
        self._visited.clear()
        if not len(visited):
            return
        self._look_at_scales()
        if self._rounds % _LESSON_EVERY == 0:
            self._teach_proxy(visited)
        self._rounds += 1
        count = len(self.scores)
        turn = (self._next + np.arange(min(_SWEEP, count))) % count
        self._next = int(turn[-1] + 1) % count
        self._score(np.concatenate([visited, turn]))

    def _look_at_scales(self) -> None:
        self._scales = SignalScales.of(self._ledger.sample(512))
        often = self._ledger.visits >= self._gate.guard_visits
        self._suspicious = percentile_of(self._ledger.loss[often], 95.0) if often.any() else np.inf

    def _teach_proxy(self, visited: np.ndarray) -> None:
        if self._inputs is None:
            return
        rows = visited[-_LESSON_ROWS:]
        inputs = self._inputs(rows)
        if self._proxy is None:
            self._proxy = LossProxy(inputs.shape[1])
        self._proxy.learn(inputs, self._ledger.loss[rows])

    def _score(self, rows: np.ndarray) -> None:
        context = self._ledger.context(rows)
        unseen = np.flatnonzero(np.isnan(context.loss))
        if len(unseen) and self._proxy is not None and self._inputs is not None:
            context.loss[unseen] = self._proxy.predict(self._inputs(rows[unseen]))
        scores = self._significance(context, self._scales)
        suspicious = (self._ledger.visits[rows] >= self._gate.guard_visits) & (context.loss > self._suspicious)
        self._scores[rows] = np.where(suspicious, scores * self._gate.guard_factor, scores)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same board."""
        state = {
            "scores": self.scores.copy(),
            "scales": np.array([*self._scales, self._suspicious]),
            "turn": np.array([self._next, self._rounds]),
            "visited": np.concatenate([np.zeros(0, dtype=np.int64), *self._visited]),
            "visits": np.array([len(rows) for rows in self._visited], dtype=np.int64),
        }
        if self._proxy is not None:
            state |= {f"proxy.{name}": value for name, value in self._proxy.state().items()}
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._scores = state["scores"].copy()
        *scales, suspicious = (float(value) for value in state["scales"])
        self._scales, self._suspicious = SignalScales(*scales), suspicious
        self._next, self._rounds = (int(value) for value in state["turn"])
        self._visited = np.split(state["visited"], np.cumsum(state["visits"])[:-1]) if len(state["visits"]) else []
        proxy = {name.removeprefix("proxy."): value for name, value in state.items() if name.startswith("proxy.")}
        if proxy:
            self._proxy = LossProxy(len(proxy["mean"]))
            self._proxy.restore(proxy)
