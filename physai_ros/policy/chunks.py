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
_REMEMBERED = 64  # played steps, more than a prediction may be late


class Played(NamedTuple):
    """The action (action_size,) of a policy step, its `index` in the newest chunk that it is from, and that chunk."""

    action: np.ndarray
    index: int
    chunk: int


class _Chunk(NamedTuple):
    step: int
    actions: np.ndarray
    places: np.ndarray  # (n, action_size - 1) where the plan is at the beginning of each step
    number: int

    def covers(self, step: int) -> bool:
        return self.step <= step < self.step + len(self.actions)

    def leads_to(self, step: int) -> np.ndarray:
        """Where the plan is at the end of a step."""
        return self.places[step - self.step] + self.actions[step - self.step, :-1]


class ChunkPlayer:
    """Plays predictions of several policy steps, which may come late.

    Actions are displacements, but for the gripper's, their last. A prediction of several is a *path*, from where the
    arm was sent when it was asked for: whoever comes late goes to where the path is by now, at most a whole
    displacement a step. Else what a plan does in its first steps, and leaves out of its later ones, would never be done
    where those are always over by the time that it comes. Predictions are compared and mixed as paths as well.

    A step that no prediction speaks of is an underrun: `play` gives None, and whoever plays holds where it is.
    """

    def __init__(self, continuity: str = "none") -> None:
        if continuity not in CONTINUITY:
            raise ValueError(f"there is no continuity '{continuity}'; there are {', '.join(CONTINUITY)}")
        self.continuity = continuity
        self.forget()

    def forget(self) -> None:
        """Drop all predictions, and count places from here."""
        self._chunks: list[_Chunk] = []
        self._way: list[tuple[int, np.ndarray]] = []  # steps that were played, and where each led

    def add(self, step: int, actions: np.ndarray, number: int, now: int) -> None:
        """Take in the actions (n, action_size) in -1 ... 1 predicted in policy step `step`, which have come in `now`.

        One that is older than what has come already is dropped.
        """
        if self._chunks and step < self._chunks[-1].step:
            return
        before = np.cumsum(actions[:, :-1], axis=0) - actions[:, :-1]
        chunk = _Chunk(step, actions, self._place(step, actions.shape[1] - 1) + before, number)
        if self.continuity == "blend" and self._chunks:
            chunk = self._faded(self._chunks[-1], chunk, now)
        self._chunks = [chunk for chunk in self._chunks if chunk.covers(now) and chunk.step != step]
        self._chunks.append(chunk)

    def play(self, step: int) -> Played | None:
        """What is played in a policy step from its beginning on, None where nothing is known of it."""
        covering = [chunk for chunk in self._chunks if chunk.covers(step)]
        if not covering:
            return None
        newest = covering[-1]
        place = self._place(step, len(newest.places[0]))
        actions = [self._from(place, chunk, step) for chunk in covering]
        action = actions[-1]
        if self.continuity == "ensemble" and len(covering) > 1:
            weights = np.exp(-_ENSEMBLE_DECAY * np.arange(len(covering)))
            action = weights @ np.stack(actions) / weights.sum()
        action[:-1] = np.clip(action[:-1], -1.0, 1.0)
        self._way = [*self._way[-_REMEMBERED:], (step, place + action[:-1])]
        return Played(action, step - newest.step, newest.number)

    def _place(self, step: int, axes: int) -> np.ndarray:
        """Where the arm was sent by the beginning of a step, in displacements (axes,) since nothing was known."""
        return next((place for played, place in reversed(self._way) if played < step), np.zeros(axes))

    @staticmethod
    def _from(place: np.ndarray, chunk: _Chunk, step: int) -> np.ndarray:
        """What a plan does in a step, begun at `place`."""
        action = np.array(chunk.actions[step - chunk.step], dtype=float)
        action[:-1] += chunk.places[step - chunk.step] - place
        return action

    @staticmethod
    def _faded(old: _Chunk, new: _Chunk, now: int) -> _Chunk:
        actions, places = np.array(new.actions, dtype=float), np.array(new.places)
        for index in range(len(actions)):
            when = new.step + index
            # Steps before the present one were played by the old plan already; they stay as they were.
            share = 1.0 if when < now else max((_FADE - (when - now)) / (_FADE + 1), 0.0)
            if index:
                places[index] = places[index - 1] + actions[index - 1, :-1]
            leads_to, grip = new.leads_to(when), new.actions[index, -1]
            if old.covers(when):
                leads_to = share * old.leads_to(when) + (1.0 - share) * leads_to
                grip = share * old.actions[when - old.step, -1] + (1.0 - share) * grip
            actions[index, :-1], actions[index, -1] = leads_to - places[index], grip
        return _Chunk(new.step, actions, places, new.number)
