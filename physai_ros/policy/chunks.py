"""Which action of which prediction is played when several of them speak of the same step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CONTINUITY = ("none", "ensemble", "blend")
"""What becomes of the steps that an older prediction spoke of as well.

- `none`: the newest prediction is played from the step at hand on, whatever was being played.
- `ensemble`: the mean over all that speak of the step, the oldest weighing most, by exp(-0.01 i) (temporal ensembling:
  Zhao et al., "Learning fine-grained bimanual manipulation with low-cost hardware", 2023).
- `blend`: what is committed by the time that a prediction arrives is played; from there on the old plan fades into the
  new one over three steps. This is the soft mask of real-time chunking (Black, Galliker and Levine, "Real-time
  execution of action chunking flow policies", 2025), on actions: our networks do not denoise, there is no inpainting.
"""

_ENSEMBLE_DECAY = 0.01
_FADE = 3


class Played(NamedTuple):
    """The action (action_size,) of a policy step, its `index` in the newest chunk that it is from, and that chunk."""

    action: np.ndarray
    index: int
    chunk: int


class _Chunk(NamedTuple):
    step: int
    actions: np.ndarray
    number: int

    def covers(self, step: int) -> bool:
        return self.step <= step < self.step + len(self.actions)


class ChunkPlayer:
    """Plays predictions of several policy steps, which may come late.

    A step that no prediction speaks of is an underrun: `at` gives None, and whoever plays holds where it is.
    """

    def __init__(self, continuity: str = "none") -> None:
        if continuity not in CONTINUITY:
            raise ValueError(f"there is no continuity '{continuity}'; there are {', '.join(CONTINUITY)}")
        self.continuity = continuity
        self.forget()

    def forget(self) -> None:
        """Drop all predictions."""
        self._chunks: list[_Chunk] = []

    def add(self, step: int, actions: np.ndarray, number: int, now: int) -> None:
        """Take in the actions (n, action_size) predicted in policy step `step`, which have come in step `now`.

        One that is older than what has come already is dropped.
        """
        if self._chunks and step < self._chunks[-1].step:
            return
        if self.continuity == "blend" and self._chunks:
            actions = self._faded(self._chunks[-1], step, actions, now)
        self._chunks = [chunk for chunk in self._chunks if chunk.covers(now) and chunk.step != step]
        self._chunks.append(_Chunk(step, actions, number))

    def at(self, step: int) -> Played | None:
        """What is played in a policy step, None where nothing is known of it."""
        covering = [chunk for chunk in self._chunks if chunk.covers(step)]
        if not covering:
            return None
        newest = covering[-1]
        action = newest.actions[step - newest.step]
        if self.continuity == "ensemble" and len(covering) > 1:
            weights = np.exp(-_ENSEMBLE_DECAY * np.arange(len(covering)))
            action = weights @ np.stack([chunk.actions[step - chunk.step] for chunk in covering]) / weights.sum()
        return Played(action, step - newest.step, newest.number)

    @staticmethod
    def _faded(old: _Chunk, step: int, actions: np.ndarray, now: int) -> np.ndarray:
        faded = np.array(actions)
        for index in range(len(faded)):
            when = step + index
            if not old.covers(when):
                continue
            # Steps before the present one were played by the old plan already; they stay as they were.
            share = 1.0 if when < now else (_FADE - (when - now)) / (_FADE + 1)
            if share > 0.0:
                faded[index] = share * old.actions[when - old.step] + (1.0 - share) * faded[index]
        return faded
