"""Whether a policy still is where it knows its way: scores of its decisions against a calibrated threshold."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from physai_ros.policy.network import Prediction

SCORES = ("observation", "spread", "jump")
"""What is scored of a decision.

- `observation`: distance of what the policy makes of the observation, the features of its trunk, to the nearest ones of
  the reference;
- `spread`: standard deviation between the ensemble's members, of the first action;
- `jump`: how far the chunk departs from the one before it where both speak of the same steps; 0 for chunks of one step.
"""


@dataclass(frozen=True)
class Alarm:
    """An alarm for one version of a policy, calibrated on episodes that this version solved.

    Each score is averaged over the last `window` decisions and divided by its scale; the largest of the three over
    `threshold` is the level, and a level above 1 is an alarm. The threshold is an order statistic of the calibration
    episodes' largest levels (split conformal prediction), so that an episode that would succeed raises an alarm with a
    probability of at most `false_alarm_rate`: over episodes and calibrations, for episodes exchangeable with those it
    was calibrated on, up to its first alarm. It says nothing about how many failures are noticed. Advisory.

    Attributes:
        reference: features (n, hidden) float32 of the trunk's last layer in episodes that succeeded.
        scales: (3,) size of each score, in the order of `SCORES`.
        threshold: of the largest scaled score.
        false_alarm_rate: share of successful episodes that may raise an alarm, as set by the user.
        reference_episodes, calibration_episodes: how many of each.
        weights_sha256: of the weights that it was calibrated with; it fits no others.
        window: decisions that are averaged.
    """

    reference: np.ndarray
    scales: np.ndarray
    threshold: float
    false_alarm_rate: float
    reference_episodes: int
    calibration_episodes: int
    weights_sha256: str
    window: int = 5

    def __post_init__(self) -> None:
        reference = np.ascontiguousarray(self.reference, dtype=np.float32)
        scales = np.array(self.scales, dtype=float)
        if reference.ndim != 2 or not len(reference) or not np.isfinite(reference).all():
            raise ValueError(f"the reference has shape {reference.shape}; expected rows of finite features")
        if scales.shape != (len(SCORES),) or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"the scales are {scales.tolist()}; expected {len(SCORES)} numbers above zero")
        if not (np.isfinite(self.threshold) and self.threshold > 0 and 0 < self.false_alarm_rate < 1):
            raise ValueError(
                f"threshold {self.threshold!r}, rate {self.false_alarm_rate!r}; expected above zero, and 0 to 1"
            )
        if self.window < 1:
            raise ValueError(f"the window is {self.window}; expected at least one decision")
        object.__setattr__(self, "reference", reference)
        object.__setattr__(self, "scales", scales)
        object.__setattr__(self, "_squares", np.einsum("ij,ij->i", reference, reference))

    def distance(self, features: np.ndarray) -> float:
        """Distance of features (hidden,) to the nearest ones of the reference."""
        squares = self._squares - 2.0 * (self.reference @ features) + features @ features
        return float(np.sqrt(max(float(squares.min()), 0.0)))


class AlarmWatch:
    """Follows one episode with an alarm, decision by decision.

    Attributes:
        scores: (3,) averages over the last decisions, in the order of `SCORES`, not scaled.
        cause: name of the score that the level comes from; empty before the first decision.
    """

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm
        self.reset()

    def reset(self) -> None:
        """Forget the decisions before: an episode begins, or somebody else was in control."""
        self._recent: deque[np.ndarray] = deque(maxlen=self.alarm.window)
        self._before: np.ndarray | None = None
        self.scores = np.zeros(len(SCORES))
        self.cause = ""

    def update(self, prediction: Prediction) -> float:
        """Level after one more decision; above 1 is an alarm.

        Raises:
            ValueError: the decision comes without features.
        """
        if prediction.features is None:
            raise ValueError("the prediction carries no features; an alarm needs those of the policy's trunk")
        self._recent.append(
            np.array([self.alarm.distance(prediction.features), prediction.uncertainty, self._jump(prediction)])
        )
        self.scores = np.mean(self._recent, axis=0)
        scaled = self.scores / self.alarm.scales
        largest = int(scaled.argmax())
        self.cause = SCORES[largest]
        level = float(scaled[largest]) / self.alarm.threshold
        return level if np.isfinite(level) else float("inf")

    def _jump(self, prediction: Prediction) -> float:
        before, self._before = self._before, prediction.actions
        if before is None or len(before) < 2:
            return 0.0
        return float(np.sqrt(np.mean(np.square(before[1:] - prediction.actions[:-1]))))
