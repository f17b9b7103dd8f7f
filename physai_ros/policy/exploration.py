"""Trying what the policy would not do: a disturbance of its decisions that lasts over a few of them."""

from __future__ import annotations

import numpy as np

PERSISTENCE = 0.5
"""Correlation of the disturbance from one policy step to the next."""
TREMOR = 0.1
"""Share of the disturbance that a delicate task has where the policy stands still; it grows to the whole from there."""


class Exploration:
    """Disturbs the decisions of one episode; safety judges what comes of it like any other proposal.

    `spread` is the standard deviation of the disturbance, as a share of the action scale. One that persists leads
    somewhere; one that is drawn anew every tenth of a second is averaged out by the arm. For an episode of seed s the
    generator is `default_rng([s, 0xE7])`, in the graph and out of it.

    In a `delicate` task the disturbance is in proportion to the displacement that was decided on, as a hand shakes more
    the faster it goes (Harris and Wolpert, "Signal-dependent noise determines motor planning", 1998), and the gripper
    is left alone.
    """

    def __init__(self, spread: float, generator: np.random.Generator, *, delicate: bool = False) -> None:
        if not spread >= 0.0:
            raise ValueError(f"spread is {spread}, expected at least 0")
        self._spread = spread
        self._generator = generator
        self._delicate = delicate
        self._disturbance: np.ndarray | None = None

    @classmethod
    def of_episode(cls, spread: float, seed: int, *, delicate: bool = False) -> Exploration | None:
        """The exploration of an episode; None where there is nothing to try."""
        return cls(spread, np.random.default_rng([seed, 0xE7]), delicate=delicate) if spread else None

    def disturbed(self, actions: np.ndarray) -> np.ndarray:
        """Decisions (chunk_steps, action_size), all led astray alike, within -1 ... 1."""
        fresh = self._spread * self._generator.standard_normal(actions.shape[-1])
        if self._disturbance is None:
            self._disturbance = fresh
        else:
            self._disturbance = PERSISTENCE * self._disturbance + np.sqrt(1.0 - PERSISTENCE**2) * fresh
        astray = self._disturbance
        if self._delicate:
            astray = astray * (TREMOR + np.abs(actions[0, :-1]).max())
            astray[-1] = 0.0
        return np.clip(actions + astray, -1.0, 1.0)
