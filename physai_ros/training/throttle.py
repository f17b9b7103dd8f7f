"""How much of a core training may take beside a control loop that says when it misses deadlines."""

from __future__ import annotations

LEAST = 0.02
"""Share that training keeps however many deadlines are missed, so that it ends at all."""
_CUT = 0.5
_STEP = 0.05
_WINDOW = 1.0  # [s]


class Throttle:
    """Halves the share for a second in which deadlines were missed, and gives back a little for each without.

    Additive increase and multiplicative decrease, as in congestion control (Chiu and Jain, 1989): it settles just
    below what disturbs, whatever that is on this machine. Counts come by node and may start again.
    """

    def __init__(self, most: float, tolerated: int = 0) -> None:
        """Give at most this share of a core; so many missed deadlines a second are not put down to training."""
        self.most = most
        self.share = most
        self.cuts = 0
        self._tolerated = tolerated
        self._counts: dict[str, int] = {}
        self._missed = 0
        self._until: float | None = None

    def heard(self, node: str, missed_in_all: int) -> None:
        """A node has missed so many deadlines since it was activated."""
        before = self._counts.get(node)
        self._counts[node] = missed_in_all
        if before is not None:
            self._missed += missed_in_all - before if missed_in_all >= before else missed_in_all

    def update(self, now: float, *, training: bool) -> float:
        """Share of a core at `now` on a steady clock [s]; what is missed while nothing trains does not count."""
        if self._until is None:
            self._until = now + _WINDOW
        if now < self._until:
            return self.share
        self._until = now + _WINDOW
        if training and self._missed > self._tolerated:
            self.share = max(LEAST, _CUT * self.share)
            self.cuts += 1
        else:
            self.share = min(self.most, self.share + _STEP)
        self._missed = 0
        return self.share
