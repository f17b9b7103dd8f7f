"""How much a sample is worth a gradient: five named signals and their weighted sum, on batches."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import NamedTuple

import numpy as np


@dataclass
class TrainingSampleContext:
    """What is known of n samples without a forward pass of their own; every array is (n,).

    `loss` and `previous_loss` come from the last two training visits, NaN where there was none; `novelty` is a distance
    in the policy's features and `uncertainty` the spread of its ensemble, both of the last visit; `failure_time` is the
    time until the episode failed [s], inf where it did not; `force_excess` the tool force over budget, minus one;
    `intervention_age` the time since an operator took over [s], inf where none did; `event_time` the time to the
    nearest change of the gripper's command [s], inf where there is none.
    """

    loss: np.ndarray
    previous_loss: np.ndarray
    novelty: np.ndarray
    uncertainty: np.ndarray
    failure_time: np.ndarray
    force_excess: np.ndarray
    intervention_age: np.ndarray
    event_time: np.ndarray

    def __len__(self) -> int:
        return len(self.loss)


class SignalScales(NamedTuple):
    """What counts as much of a signal: the 97th percentile of `loss`, `novelty`, `uncertainty`; NaN while unknown.

    Losses have a long tail, and in imitation it is the tail that decides: at the 90th percentile a gripper's change
    counts no more than a fast stretch of the way.
    """

    loss: float = float("nan")
    novelty: float = float("nan")
    uncertainty: float = float("nan")

    @classmethod
    def of(cls, context: TrainingSampleContext) -> SignalScales:
        """The scales of some samples, which stand for all."""
        return cls(*(percentile_of(column, 97.0) for column in (context.loss, context.novelty, context.uncertainty)))


@dataclass(frozen=True)
class SignificanceConfig:
    """Weights of the five signals; they are normalized to sum to one.

    By default what the body said alone: in imitation it made learning faster without a loss in the end. What follows
    the loss was faster still at first and ended lower, and most so where labels are wrong; see docs/training.md.
    """

    w_learning: float = 0.0
    w_difficulty: float = 0.0
    w_novelty: float = 0.0
    w_uncertainty: float = 0.0
    w_physical: float = 1.0

    def __post_init__(self) -> None:
        weights = astuple(self)
        if not all(np.isfinite(weight) and weight >= 0 for weight in weights) or sum(weights) <= 0:
            names = ", ".join(field.name for field in fields(self))
            raise ValueError(f"significance weights {weights} for {names}: give numbers of at least 0, one above 0")


class RobotTrainingSignificance:
    """Significance in 0 ... 1 of a batch of samples."""

    def __init__(self, config: SignificanceConfig | None = None) -> None:
        self.config = config or SignificanceConfig()
        weights = np.array(astuple(self.config))
        self._weights = weights / weights.sum()

    @property
    def heeds_learner(self) -> bool:
        """Whether any of the four signals counts that come from the learner, and not from the body."""
        return bool(self._weights[:-1].any())

    def __call__(self, context: TrainingSampleContext, scales: SignalScales | None = None) -> np.ndarray:
        """Significance (n,) in 0 ... 1."""
        return self.learner(context, scales) + self.body(context)

    def learner(self, context: TrainingSampleContext, scales: SignalScales | None = None) -> np.ndarray:
        """What the learner gives of it (n,), by the first four signals: all of theirs where the loss is unknown."""
        weights = self._weights[:-1]
        weighted = self.signals(context, scales)[:, :-1] * weights
        return np.where(np.isnan(context.loss), weights.sum(), weighted.sum(axis=1))

    def body(self, context: TrainingSampleContext) -> np.ndarray:
        """What the body gives of it (n,), by the last signal."""
        return self._weights[-1] * _physical(context)

    def signals(self, context: TrainingSampleContext, scales: SignalScales | None = None) -> np.ndarray:
        """The five signals (n, 5), each in 0 ... 1: learning, difficulty, novelty, uncertainty, physical.

        Without `scales`, those of the context itself are taken.
        """
        scales = scales or SignalScales.of(context)
        columns = (
            learning_value(context.loss, context.previous_loss),
            difficulty(context.loss, scales.loss),
            relative_to_much(context.novelty, scales.novelty),
            relative_to_much(context.uncertainty, scales.uncertainty),
            _physical(context),
        )
        return np.stack(columns, axis=1)


def learning_value(loss: np.ndarray, previous_loss: np.ndarray) -> np.ndarray:
    """How much the loss moved between two visits, relative to what it was, in 0 ... 1.

    A fall is progress, a rise is forgetting; both say that the network is still undecided here. Sources: Graves et
    al., "Automated curriculum learning for neural networks", 2017; Toneva et al., "An empirical study of example
    forgetting", 2019.
    """
    change = np.abs(previous_loss - loss) / (np.abs(previous_loss) + np.abs(loss) + 1e-6)
    return np.nan_to_num(change, nan=0.5)


def difficulty(loss: np.ndarray, much: float) -> np.ndarray:
    """The loss relative to `much`, the pool's 97th percentile, in 0 ... 1. Source: Schaul et al., 2016."""
    return relative_to_much(loss, much)


def relative_to_much(values: np.ndarray, much: float) -> np.ndarray:
    """Values over what counts as much, capped at one: a few extremes do not flatten the rest. Unknown is 0.5."""
    if np.isnan(much):
        return np.full(len(values), 0.5)
    relative = np.minimum(np.maximum(values / max(much, 1e-9), 0.0), 1.0)
    return np.where(np.isnan(relative), 0.5, relative)


def percentile_of(values: np.ndarray, percent: float) -> float:
    """About the percentile of the finite among values (n,): of at most 512 of them, evenly spaced; NaN of none."""
    some = values[:: max(len(values) // 512, 1)]
    some = some[np.isfinite(some)]
    if not len(some):
        some = values[np.isfinite(values)]
        if not len(some):
            return float("nan")
    rank = min(int(percent / 100.0 * len(some)), len(some) - 1)
    return float(np.partition(some, rank)[rank])


def physical_feedback(
    failure_time: np.ndarray, force_excess: np.ndarray, intervention_age: np.ndarray, event_time: np.ndarray
) -> np.ndarray:
    """What the body said, in 0 ... 1: the seconds before a failure, force over budget, the start of a correction, and
    the moments round a grasp or a release, where millimetres decide.
    """  # noqa: D205
    before_failure = np.exp(-failure_time)
    correction = np.exp(-intervention_age / 2.0)
    event = np.exp(-event_time / 0.3)
    return np.maximum.reduce([before_failure, correction, event, np.clip(force_excess, 0.0, 1.0)])


def _physical(context: TrainingSampleContext) -> np.ndarray:
    return physical_feedback(context.failure_time, context.force_excess, context.intervention_age, context.event_time)


class NoveltyMemory:
    """Distances to what was seen before, in a fixed random projection of the policy's own features.

    The memory is a ring of `capacity` projected features, so cost and size are bounded. Source: Burda et al.,
    "Exploration by random network distillation", 2019, for the idea of a fixed random embedding.
    """

    def __init__(self, feature_size: int, *, capacity: int = 256, dimensions: int = 16, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._projection = generator.normal(size=(feature_size, dimensions)).astype(np.float32) / np.sqrt(feature_size)
        self._ring = np.zeros((capacity, dimensions), dtype=np.float32)
        self._count = 0

    def distances(self, features: np.ndarray, remember: int = 8) -> np.ndarray:
        """Distance (n,) of features (n, feature_size) to the nearest remembered one; then remembers the first few."""
        projected = features @ self._projection
        known = self._ring[: min(self._count, len(self._ring))]
        if len(known):
            square = (projected**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2.0 * projected @ known.T
            distance = np.sqrt(np.maximum(square.min(axis=1), 0.0))
        else:
            distance = np.ones(len(projected), dtype=np.float32)
        for row in projected[:remember]:
            self._ring[self._count % len(self._ring)] = row
            self._count += 1
        return distance

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same memory."""
        return {"ring": self._ring.copy(), "count": np.array([self._count])}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._ring = state["ring"].copy()
        self._count = int(state["count"][0])
