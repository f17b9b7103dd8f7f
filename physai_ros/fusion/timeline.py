"""Samples of one sensor on its own stamps, and what they say at any one instant."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Check = Callable[[np.ndarray], str]
"""Returns why values (n,) cannot be what they claim to be; empty when they can."""
Blend = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Returns what lies between two samples (n,) at a share of 0 ... 1 of the time between them."""


def linear(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """Values (n,) on the straight line between two samples."""
    return before + share * (after - before)


def along_pose(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """Pose (7,) between two: position on the straight line, quaternion wxyz by slerp, the shorter way round."""
    first, last = before[3:], after[3:]
    cosine = float(first @ last)
    if cosine < 0.0:
        last, cosine = -last, -cosine
    angle = float(np.arccos(min(cosine, 1.0)))
    if angle < 1e-6:
        quaternion = first + share * (last - first)
    else:
        quaternion = (np.sin((1.0 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)
    return np.concatenate([linear(before[:3], after[:3], share), quaternion / np.linalg.norm(quaternion)])


class Reading(NamedTuple):
    """Values (n,) at an instant, NaN where none can be given; `age` of the measurement [s]; why not, else empty."""

    values: np.ndarray
    age: float
    reason: str


class SensorTimeline:
    """The last samples of a sensor, in the order of their stamps, whatever the order in which they came.

    | sample | rule |
    |---|---|
    | not finite, of wrong length | refused: `not finite`, `length` |
    | cannot be what it claims (`check`) | refused with the check's reason |
    | of a stamp that is there already | refused: `duplicate`; the first stays |
    | out of order, within the horizon | put in its place |
    | older than all that is remembered | refused: `late` |
    | further back than the horizon | the sensor's clock started again: everything before is forgotten |
    | jumps by more than `largest_step` from the newest | refused: `jump`, until the next agrees with it |
    | missing | the newest is held until it is older than the time-out, then invalid with its age |

    `reading` interpolates where the instant lies between two samples, and holds the newest where it lies behind.
    """

    def __init__(
        self,
        size: int,
        *,
        timeout: float,
        horizon: float = 1.0,
        largest_step: float = np.inf,
        check: Check = lambda _values: "",
        blend: Blend = linear,
    ) -> None:
        self._size = size
        self._timeout = timeout
        self._horizon = horizon
        self._largest_step = largest_step
        self._check = check
        self._blend = blend
        self.refused: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all samples; what was refused stays counted."""
        self._stamps: list[float] = []
        self._values: list[np.ndarray] = []
        self._jumped: np.ndarray | None = None
        self._trouble = ""

    def add(self, stamp: float, values: np.ndarray) -> str:
        """Why a sample, measured at `stamp` [s], was refused; empty when it was taken in."""
        values = np.array(values, dtype=float)
        reason = self._judge(stamp, values)
        if reason:
            return self.refuse(reason)
        if self._stamps and stamp < self._stamps[-1] - self._horizon:
            self._stamps.clear()
            self._values.clear()
        place = bisect_left(self._stamps, stamp)
        self._stamps.insert(place, stamp)
        self._values.insert(place, values)
        while self._stamps[0] < self._stamps[-1] - self._horizon:
            del self._stamps[0], self._values[0]
        self._jumped, self._trouble = None, ""
        return ""

    def refuse(self, reason: str) -> str:
        """The reason, `kind: ...`, for which a sample was not taken in, here or by whoever could not even read it."""
        kind = reason.partition(":")[0]
        self.refused[kind] = self.refused.get(kind, 0) + 1
        if kind not in ("duplicate", "late"):  # which say nothing of what is measured now
            self._trouble = reason
        return reason

    def reading(self, instant: float) -> Reading:
        """What the sensor says at an instant [s]."""
        if not self._stamps:
            return Reading(np.full(self._size, np.nan), np.inf, self._trouble or "missing: no sample yet")
        place = bisect_left(self._stamps, instant)
        if place == len(self._stamps):
            age = instant - self._stamps[-1]
            late = f"stale: sample is {age:.3f} s old; at most {self._timeout:g} s are allowed"
            return Reading(self._values[-1].copy(), age, "" if age <= self._timeout else self._trouble or late)
        after = self._stamps[place]
        if after == instant:
            return Reading(self._values[place].copy(), 0.0, "")
        if place == 0:
            ahead = after - instant
            reason = f"ahead: sample lies {ahead:.3f} s ahead; check the clocks" if ahead > self._timeout else ""
            return Reading(self._values[0].copy(), -ahead, reason)
        before = self._stamps[place - 1]
        gap = after - before
        if gap > 2.0 * self._timeout:
            return Reading(self._values[place - 1].copy(), instant - before, f"gap: {gap:.3f} s between two samples")
        share = (instant - before) / gap
        return Reading(self._blend(self._values[place - 1], self._values[place], share), 0.0, "")

    def _judge(self, stamp: float, values: np.ndarray) -> str:
        if values.shape != (self._size,):
            return f"length: {values.size} numbers, expected {self._size}"
        if not (np.isfinite(stamp) and np.isfinite(values).all()):
            return "not finite: a number or the stamp is NaN or infinite"
        if reason := self._check(values):
            return reason
        if not self._stamps or stamp < self._stamps[-1] - self._horizon:
            return ""
        place = bisect_left(self._stamps, stamp)
        if place < len(self._stamps) and self._stamps[place] == stamp:
            return "duplicate: a sample of this stamp is there"
        if place == 0:
            return "late: older than all that is remembered"
        return self._jump(values) if place == len(self._stamps) else ""

    def _jump(self, values: np.ndarray) -> str:
        step = float(np.abs(values - self._values[-1]).max(initial=0.0))
        if step <= self._largest_step:
            return ""
        if self._jumped is not None and np.abs(values - self._jumped).max(initial=0.0) <= self._largest_step:
            return ""  # it stays where it jumped to: it is there
        self._jumped = values
        return f"jump: by {step:.4g} from one sample to the next; at most {self._largest_step:g} is believed"
