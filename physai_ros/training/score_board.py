"""The significance of every sample of a pool, from what passed by in training: no forward pass is made for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from physai_ros.training.gate import GateConfig
from physai_ros.training.proxy import LossProxy
from physai_ros.training.replay import SampleLedger
from physai_ros.training.significance import RobotTrainingSignificance, SignalScales

_LESSON_ROWS = 512
_SCALE_ROWS = 512


class ScoreBoard:
    """Scores all samples of a ledger at once, for a whole pass over them.

    Samples that were never visited get their loss from a proxy, and count as most significant before it had a lesson.
    Where only the body counts, nothing is guessed: the lessons of a proxy took half of the first updates' time.

    Attention is finite: with its visits, the learner's preference for or against a sample fades, until it counts as any
    other; what the body said of a sample holds. So what is hard and rare is learned first, what is new is preferred
    over what was there, and a wrong label, whose loss never falls, gets some visits more and then no more.
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

    def scores(self) -> np.ndarray:
        """Significance (n,) of every sample, in 0 ... 1."""
        context = self._ledger.context(slice(None))
        body = self._significance.body(context)
        if not self._significance.heeds_learner:
            return body
        context.loss = self._guessed(context.loss)
        learner = self._significance.learner(context, SignalScales.of(self._ledger.sample(_SCALE_ROWS)))
        mean = learner.mean()
        return mean + (learner - mean) * np.exp(-self._ledger.visits / self._gate.attention) + body

    def _guessed(self, loss: np.ndarray) -> np.ndarray:
        """The losses (n,), those that are unknown by the proxy; NaN where there is none."""
        unseen = np.flatnonzero(np.isnan(loss))
        if self._inputs is None or not len(unseen):
            return loss
        seen = np.flatnonzero(np.isfinite(loss))
        if len(seen):
            # The proxy is needed only where something is unseen, and has its lesson then.
            rows = seen[:: max(len(seen) // _LESSON_ROWS, 1)]
            inputs = self._inputs(rows)
            if self._proxy is None:
                self._proxy = LossProxy(inputs.shape[1])
            self._proxy.learn(inputs, loss[rows])
        if self._proxy is None:
            return loss
        guessed = loss.copy()
        guessed[unseen] = self._proxy.predict(self._inputs(unseen))
        return guessed

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same board."""
        return {} if self._proxy is None else self._proxy.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._proxy = None
        if state:
            self._proxy = LossProxy(len(state["mean"]))
            self._proxy.restore(state)
