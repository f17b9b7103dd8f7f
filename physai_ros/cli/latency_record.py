"""What a graph's control topics tell of its latency: every message with its time, and figures afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PERCENTILES = {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "p999_ms": 99.9}


@dataclass
class LatencyRecord:
    """Instants on one steady clock [s], by the driver's sequence; fill it by the three methods, in any order.

    A measurement counts from the first to the last that the policy answered in its episode; between episodes, where
    nothing acts, nothing is missed.
    """

    seen: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    episode_of: dict[int, str] = field(default_factory=dict)
    observed: dict[int, float] = field(default_factory=dict)
    _proposals: dict[int, int] = field(default_factory=dict)

    def state(self, sequence: int, now: float) -> None:
        """A measurement of the driver was heard at `now` [s]; one that comes again counts as it came first."""
        self.seen.setdefault(sequence, now)

    def proposal(self, number: int, state_sequence: int, episode: str, observation_age: float) -> None:
        """A proposal that answers a measurement, with the age of what it was decided on [s]."""
        self._proposals[number] = state_sequence
        self.episode_of[state_sequence] = episode
        self.observed[state_sequence] = observation_age

    def permitted(self, number: int, now: float) -> None:
        """A proposal was permitted at `now` [s]; one that is permitted again counts as it was first."""
        state_sequence = self._proposals.get(number)
        if state_sequence is not None:
            self.answered.setdefault(state_sequence, now)

    def figures(self, deadline: float, windows: Sequence[tuple[float, float]]) -> dict[str, Any]:
        """Percentiles [ms] of measurement to permitted command, of the observation's age there, and what was missed.

        Args:
            deadline: after which an answer counts as missed [s]: the control period.
            windows: begin and end of the times that count [s].
        """
        latencies, ages, counted, missed = [], [], 0, 0
        for sequence in self.counted():
            instant = self.seen[sequence]
            if not any(begin <= instant < end for begin, end in windows):
                continue
            counted += 1
            answer = self.answered.get(sequence)
            if answer is None or answer - instant > deadline:
                missed += 1
            if answer is not None:
                latencies.append(answer - instant)
                ages.append(self.observed[sequence] + answer - instant)
        row = percentiles_ms(latencies) | {
            "missed_share": missed / counted if counted else float("nan"),
            "observation_age_p50_ms": _percentile(ages, 50.0),
            "observation_age_p99_ms": _percentile(ages, 99.0),
            "measurements": counted,
            "answered": len(latencies),
        }
        return row

    def missed(self, sequences: Iterable[int], deadline: float) -> int:
        """How many of these measurements were heard and not answered within `deadline` [s]."""
        heard = [sequence for sequence in sequences if sequence in self.seen]
        never = float("inf")
        return sum(self.answered.get(sequence, never) - self.seen[sequence] > deadline for sequence in heard)

    def counted(self) -> list[int]:
        """Measurements heard, of which each lies between two answered in one episode."""
        spans: dict[str, list[int]] = {}
        for sequence in self.answered:
            if sequence in self.seen:
                span = spans.setdefault(self.episode_of[sequence], [sequence, sequence])
                span[:] = min(span[0], sequence), max(span[1], sequence)
        return [n for first, last in spans.values() for n in range(first, last + 1) if n in self.seen]


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles and maximum [ms] of times [s]; NaN of none."""
    row = {name: _percentile(seconds, share) for name, share in PERCENTILES.items()}
    return row | {"max_ms": 1e3 * max(seconds, default=float("nan"))}


def _percentile(values: Sequence[float], share: float) -> float:
    return 1e3 * float(np.percentile(values, share)) if len(values) else float("nan")
