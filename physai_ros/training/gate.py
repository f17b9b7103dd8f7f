"""The gate: holds the measured share of samples that get a gradient, and starves none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from physai_ros.training.significance import percentile_of


@dataclass(frozen=True)
class GateConfig:
    """How the gate selects.

    Attributes:
        target_activation_rate: share of the offered samples that get a gradient.
        exploration_floor: share of the activations that is given out regardless of significance.
        score_cap: percentile of the scores above which more counts no more.
        sharpness: power of the score; 0 is uniform.
        correction: power of the inverse probability that a gradient is weighed with; 1 takes the preference back out.
        attention: visits after which the preference for or against a sample has faded to 1/e; inf: it never fades.
        proportional_gain, integral_gain: of the controller, on the log-odds of the rate.
    """

    target_activation_rate: float = 0.06
    exploration_floor: float = 0.3
    score_cap: float = 95.0
    sharpness: float = 1.0
    correction: float = 0.0
    attention: float = 20.0
    proportional_gain: float = 0.2
    integral_gain: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.target_activation_rate <= 1:
            raise ValueError(f"target_activation_rate is {self.target_activation_rate}, expected above 0, at most 1")
        if not 0 < self.score_cap <= 100:
            raise ValueError(f"score_cap is {self.score_cap}, expected a percentile above 0, at most 100")
        if not self.attention > 0:
            raise ValueError(f"attention is {self.attention}, expected visits above 0")
        for name in ("exploration_floor", "correction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")


class Selection(NamedTuple):
    """What the gate let through: `counts` (n,), how many of its looks at each sample it let through, and with which
    `probabilities` (n,) each look.
    """  # noqa: D205

    counts: np.ndarray
    probabilities: np.ndarray


class SparseGate:
    """Lets each offered sample through with a probability that rises with its significance.

    p = floor + (1 - floor) min(1, gain * target * score / mean score), where floor is `exploration_floor` of the target
    rate. Without a bound, a gain of one less the floor's share would hit the target; a PI controller in velocity form
    moves log(gain) by the *measured* rate. The gain is bounded, so nothing winds up while the rate cannot follow.
    Because p is known, `1 / (n p)` weighs the selected samples into an unbiased estimate of the mean over all that were
    offered (Horvitz and Thompson, 1952).
    """

    _LOG_BOUND = 14.0

    def __init__(self, config: GateConfig | None = None) -> None:
        self.config = config or GateConfig()
        self.log_gain = float(np.log(max(1.0 - self.config.exploration_floor, 1e-3)))
        self._last_error = 0.0

    @property
    def floor(self) -> float:
        """Probability with which any sample is let through at least."""
        return self.config.exploration_floor * self.config.target_activation_rate

    def select(self, scores: np.ndarray, looks: int, generator: np.random.Generator) -> Selection:
        """Selection after `looks` at each of n samples of scores (n,), 0 or more; then adjusts the gain.

        A sample passes as often as it is expected to, up to one: picks are spread as evenly as they can be, over the
        looks and over neighbours in the pool (systematic sampling: Madow, 1949).
        """
        if not len(scores):
            return Selection(np.zeros(0, dtype=np.int64), np.zeros(0))
        probabilities = self._probabilities(scores)
        edges = np.floor(np.cumsum(looks * probabilities) + generator.random())
        counts = np.diff(edges, prepend=0.0).astype(np.int64)
        self._adjust(int(counts.sum()), looks * len(scores))
        return Selection(counts, probabilities)

    def _probabilities(self, scores: np.ndarray) -> np.ndarray:
        cap = percentile_of(scores, self.config.score_cap)
        # Written so that a score that is not a number counts as none.
        capped = np.fmin(np.fmax(scores, 0.0), max(cap, 0.0)) if np.isfinite(cap) else np.zeros(len(scores))
        if self.config.sharpness != 1.0:
            capped = capped**self.config.sharpness
        mean = float(capped.mean())
        if mean > 0:
            capped = capped / mean
        chosen = np.minimum(np.exp(self.log_gain) * self.config.target_activation_rate * capped, 1.0)
        return self.floor + (1.0 - self.floor) * chosen

    def _adjust(self, activated: int, offered: int) -> None:
        # Half a sample keeps the logarithms finite when none or all came through.
        rate = min(max(activated, 0.5), offered - 0.5) / offered
        target = min(self.config.target_activation_rate, 1.0 - 0.5 / offered)
        error = float(np.log(target / rate) - np.log((1.0 - target) / (1.0 - rate)))
        change = self.config.proportional_gain * (error - self._last_error) + self.config.integral_gain * error
        self.log_gain = float(np.clip(self.log_gain + change, -self._LOG_BOUND, self._LOG_BOUND))
        self._last_error = error

    def state(self) -> dict[str, float]:
        """Numbers from which `restore` makes the same gate."""
        return {"log_gain": self.log_gain, "last_error": self._last_error}

    def restore(self, state: dict[str, float]) -> None:
        """Take over what `state` gave."""
        self.log_gain = float(state["log_gain"])
        self._last_error = float(state["last_error"])
