"""Joints beside the driver's: further topics of joint states, each on its own stamps, merged by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from physai_ros.fusion.timeline import Reading, SensorTimeline
from physai_ros.robot.state import Modality

_WRITERS = 16  # to one topic, each with joints of its own; more are names that change, which nobody means


class MergedJoints(NamedTuple):
    """What the sources say at an instant.

    `joints` maps a name to the reading of (3,): position, velocity and effort in SI units, NaN where not measured;
    `modalities` holds one a source, `joints/<topic>`.
    """

    joints: dict[str, Reading]
    modalities: tuple[Modality, ...]

    def columns(self, names: Sequence[str]) -> tuple[np.ndarray, float, str]:
        """Position, velocity, effort and set-point (4, n) of joints of the arm, the oldest's age [s], and why not.

        Who drives such a joint does not say where to: its set-point is where it is.
        """
        if lacking := [name for name in names if name not in self.joints]:
            return np.zeros((4, 0)), np.inf, f"joints missing: {', '.join(lacking)}"
        readings = [self.joints[name] for name in names]
        why = next((f"{name}: {each.reason}" for name, each in zip(names, readings, strict=True) if each.reason), "")
        columns = np.array([[*each.values, each.values[0]] for each in readings]).T
        return columns, max(each.age for each in readings), why


NO_JOINTS = MergedJoints({}, ())
"""What is merged where there are no sources."""


@dataclass
class _Together:
    """Joints that come in one message: their timeline, which of their velocities and efforts (2 n,) are measured."""

    timeline: SensorTimeline
    measured: np.ndarray
    newest: float


class JointSource:
    """The joint states of one topic, whoever writes there: joints that come in one message share a timeline.

    | message | rule |
    |---|---|
    | as many positions as names do not come, or a name comes twice | refused: `length`, `names` |
    | velocities or efforts that are absent or not finite at first | not measured: NaN, as broadcasters have it |
    | one of its joints comes with others as well, and is fresh there | refused: `names`; the first stays until stale |
    | all else | as in `SensorTimeline` |
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._groups: dict[tuple[str, ...], _Together] = {}
        self._trouble = ""

    def add(
        self,
        stamp: float,
        names: Sequence[str],
        positions: np.ndarray,
        velocities: np.ndarray = (),
        efforts: np.ndarray = (),
    ) -> str:
        """Why the joints' positions (n,), measured at `stamp` [s], were refused; empty when they were taken in.

        Velocities and efforts are (n,) too, or empty.
        """
        names, count = tuple(names), len(names)
        group = self._groups.get(names)
        reason = self._names_reason(names, stamp) if group is None else ""
        if len(positions) != count or not count:
            reason = f"length: {count} joint names with {len(positions)} positions"
        if reason:
            self._trouble = reason
            return reason if group is None else group.timeline.refuse(reason)
        unknown = np.full(count, np.nan)
        rest = np.concatenate([part if len(part) == count else unknown for part in (velocities, efforts)])
        if group is None:
            measured = np.isfinite(rest)
            group = _Together(SensorTimeline(count + int(measured.sum()), timeout=self._timeout), measured, stamp)
        self._trouble = group.timeline.add(stamp, np.concatenate([positions, rest[group.measured]]))
        if not self._trouble:
            group.newest = stamp
            self._groups[names] = group
        return self._trouble

    def readings(self, instant: float) -> dict[str, Reading]:
        """What the source says of every joint at an instant [s]."""
        readings: dict[str, Reading] = {}
        for names, group in self._groups.items():
            values, age, reason = group.timeline.reading(instant)
            count = len(names)
            table = np.full(3 * count, np.nan)
            table[:count] = values[:count]
            table[count:][group.measured] = values[count:]
            rows = table.reshape(3, count).T
            readings |= {name: Reading(row, age, reason) for name, row in zip(names, rows, strict=True)}
        return readings

    def modality(self, name: str, readings: dict[str, Reading]) -> Modality:
        """Whether all that it says can be used; the reason is that of the first joint that cannot."""
        if not readings:
            return Modality(name, False, np.inf, self._trouble or "missing: no sample yet")
        reason = next((reading.reason for reading in readings.values() if reading.reason), "")
        return Modality(name, not reason, max(reading.age for reading in readings.values()), reason)

    def _names_reason(self, names: tuple[str, ...], stamp: float) -> str:
        if len(set(names)) < len(names):
            return f"names: one of {', '.join(names)} comes twice in a message"
        for others, group in list(self._groups.items()):
            if shared := sorted(set(names) & set(others)):
                if abs(stamp - group.newest) <= self._timeout:
                    return f"names: {shared[0]} comes in messages of {', '.join(others)} as well; keep one writer"
                del self._groups[others]  # whoever reported it has fallen silent
        if len(self._groups) == _WRITERS:
            return f"names: {names[0]} is of more than {_WRITERS} writers on one topic"
        return ""


class JointSources:
    """Several sources, by topic: of two that name the same joint, the first that can be used counts."""

    def __init__(self, topics: Sequence[str], *, timeout: float) -> None:
        self._sources = {topic: JointSource(timeout=timeout) for topic in topics}

    def reset(self) -> None:
        """Forget all samples."""
        for source in self._sources.values():
            source.reset()

    def add(
        self,
        topic: str,
        stamp: float,
        names: Sequence[str],
        positions: np.ndarray,
        velocities: np.ndarray = (),
        efforts: np.ndarray = (),
    ) -> str:
        """Why a sample of a source was refused, empty when it was taken in; as in `JointSource.add`."""
        return self._sources[topic].add(stamp, names, positions, velocities, efforts)

    def reading(self, instant: float) -> MergedJoints:
        """What they say together at an instant [s]."""
        joints: dict[str, Reading] = {}
        modalities = []
        for topic, source in self._sources.items():
            readings = source.readings(instant)
            modalities.append(source.modality(f"joints/{topic}", readings))
            for name, reading in readings.items():
                if name not in joints or (joints[name].reason and not reading.reason):
                    joints[name] = reading
        return MergedJoints(joints, tuple(modalities))
