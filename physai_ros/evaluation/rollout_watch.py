"""Watches a promoted policy at work: alarms that take it back, and how long they took to notice."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

WINDOW = 30


@dataclass(frozen=True)
class WorkedEpisode:
    """What an episode at work says of the policy that drove: success without help, and whether safety had to stop."""

    success_alone: bool
    safety_stopped: bool = False


class RolloutWatch:
    """Remembers the newest episodes of every version, and since when and for how many episodes one has driven."""

    def __init__(self) -> None:
        self._success: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._stops: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._began: dict[str, float] = {}
        self._episodes: dict[str, int] = defaultdict(int)

    def begin(self, version: str) -> None:
        """A version begins to drive, or does so at another speed."""
        self._began.setdefault(version, time.monotonic())
        self._episodes[version] = 0

    def forget(self, version: str) -> None:
        """A version was taken back: should it come again, it starts anew."""
        for memory in (self._success, self._stops, self._began, self._episodes):
            memory.pop(version, None)

    def hear(self, version: str, episode: WorkedEpisode, *, full_speed: bool = True) -> None:
        """Count an episode. At reduced speed success is no measure: what is slow runs out of time."""
        self._began.setdefault(version, time.monotonic())
        self._episodes[version] += 1
        self._stops[version].append(episode.safety_stopped)
        if full_speed:
            self._success[version].append(episode.success_alone)

    def episodes(self, version: str) -> int:
        """Episodes since a version began, or began at this speed."""
        return self._episodes[version]

    def reason(self, version: str, previous: str) -> str:
        """Why a version should be taken back for the one before it, empty while nothing speaks for it."""
        found = safety_reason(self._stops[version], self._stops[previous])
        found = found or rollback_reason(self._success[version], self._success[previous])
        if not found:
            return ""
        seconds = time.monotonic() - self._began[version]
        return f"{found}; noticed after {self._episodes[version]} episodes, {seconds:.0f} s"


def rollback_reason(
    since: Sequence[bool], before: Sequence[bool], *, fewest: int = 8, drop: float = 0.25, alpha: float = 0.01
) -> str:
    """Why a promoted version should be rolled back, empty while nothing speaks for it.

    `since` and `before` are successes without help in training episodes under the promoted version and under the one
    before it, newest last. It takes `fewest` episodes of each, a fall of at least `drop` in success, and Fisher's exact
    test to reject chance at `alpha`, one-sided; both, since it is looked at after every episode.
    """
    recent, reference = list(since)[-WINDOW:], list(before)[-WINDOW:]
    if min(len(recent), len(reference)) < fewest:
        return ""
    rate_now, rate_before = sum(recent) / len(recent), sum(reference) / len(reference)
    if rate_before - rate_now < drop:
        return ""
    table = [[sum(recent), len(recent) - sum(recent)], [sum(reference), len(reference) - sum(reference)]]
    p_value = float(stats.fisher_exact(table, alternative="less").pvalue)
    if p_value > alpha:
        return ""
    return (
        f"{sum(recent)} of {len(recent)} training episodes succeeded since the promotion, {sum(reference)} of "
        f"{len(reference)} before it (Fisher's exact test, p = {p_value:.2g})"
    )


def safety_reason(since: Sequence[bool], before: Sequence[bool], *, fewest: int = 2, alpha: float = 0.005) -> str:
    """Why a promoted version should be rolled back for safety's sake, empty while nothing speaks for it.

    `since` and `before` say of each episode whether the safety monitor stopped the arm. It takes `fewest` stopped
    episodes, more than chance has it at `alpha` (binomial, one-sided) at the rate that the version before may have had:
    its stopped episodes and one more, of its episodes and two more (Laplace's rule, which expects half without any).
    """
    stopped, episodes = sum(since), len(since)
    if stopped < fewest:
        return ""
    rate = (sum(before) + 1) / (len(before) + 2)
    p_value = float(stats.binom.sf(stopped - 1, episodes, rate))
    if p_value > alpha:
        return ""
    return (
        f"the safety monitor stopped the arm in {stopped} of {episodes} episodes since the promotion, in {sum(before)} "
        f"of {len(before)} before it (p = {p_value:.2g})"
    )
