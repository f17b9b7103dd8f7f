"""Which steps of an episode are kept, and how much each counts: level two of Adaptive Sparse Training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from physai_ros.training.dataset import Transitions

FAILURE, CONTACT, INTERVENTION = 1.0, 1.0, 1.0
"""What a failure, a contact over budget and an intervention add to the weight of the step where they are."""
BEFORE = 2.0
"""Time [s] over which that falls to a third, going back from the failure or the intervention."""
AFTER = 2.0
"""Time [s] over which it falls to a third after an operator took over."""
TAIL = 0.25
"""Weight of idle steps at the end of an episode."""
IDLE = 0.02
"""Action, as a share of the largest, below which a step is idle."""
ALIKE = 1e-3
"""Change of every component of the observation below which a step repeats the one before."""


def step_weights(transitions: Transitions) -> np.ndarray:
    """Weights (n,) float32 of an episode's steps in their loss: 1 is an ordinary step, 0 is not kept.

    | step | weight |
    |---|---|
    | shortly before the end of a failed episode | 1 + `FAILURE` exp(-time to the end / `BEFORE`) |
    | tool force over the task's budget | 1 + `CONTACT` times the excess, at most 1 |
    | after an operator took over, and shortly before | 1 + `INTERVENTION` exp(-time / `AFTER` or `BEFORE`) |
    | of an idle tail (nothing is done any more, up to the end) | `TAIL` |
    | a duplicate: observation and action of the step before | 0 |

    Several reasons add up; a duplicate and a step of an idle tail are so whatever else they are. Most steps of a
    demonstration weigh 1: what is ordinary stays as it was.
    """
    t = transitions
    count = len(t)
    if not count:
        return np.ones(0, dtype=np.float32)
    weights = 1.0 + FAILURE * np.exp(-t.time_to_end / BEFORE) * (t.success == 0)
    weights += CONTACT * np.clip(t.force_excess, 0.0, 1.0)
    operated = np.isfinite(t.intervention_age) & ~t.demonstration
    weights += INTERVENTION * np.where(operated, np.exp(-np.where(operated, t.intervention_age, 0.0) / AFTER), 0.0)
    weights += INTERVENTION * np.exp(-_time_to_take_over(operated, t.time_to_end) / BEFORE) * ~operated
    actions = t.actions[:, 0]
    idle = (np.abs(actions[:, :-1]) < IDLE).all(axis=1)
    idle &= np.abs(np.diff(actions[:, -1], prepend=actions[0, -1])) < IDLE
    weights = np.where(np.logical_and.accumulate(idle[::-1])[::-1], TAIL, weights)
    alike = np.zeros(count, dtype=bool)
    alike[1:] = (np.abs(np.diff(t.observations, axis=0)) < ALIKE).all(axis=1) & (
        np.abs(np.diff(actions, axis=0)) < ALIKE
    ).all(axis=1)
    return np.where(alike, 0.0, weights).astype(np.float32)


def _time_to_take_over(operated: np.ndarray, time_to_end: np.ndarray) -> np.ndarray:
    """Time (n,) [s] until an operator takes over next; inf where none does."""
    begun = operated & ~np.concatenate([[False], operated[:-1]])
    # Time runs down to the end: the next take-over is the one with the largest time to the end that is still ahead.
    left = np.where(begun, time_to_end, -np.inf)
    following = np.maximum.accumulate(left[::-1])[::-1]
    return np.where(np.isfinite(following), np.maximum(time_to_end - following, 0.0), np.inf)
