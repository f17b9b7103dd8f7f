"""How fast the arm may be, given how far away the nearest person is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits


class Separation(NamedTuple):
    """Share `scale` 0-1 of the speed limits that is left, and the condition that took the rest, empty for none."""

    scale: float
    condition: str


UNWATCHED = Separation(1.0, "")
"""Nobody measures where people are: the limits are whole."""


@dataclass(frozen=True)
class ProtectiveSeparation:
    """Relation of speed and distance; by `scale` 0-1 joint and tool speed limits are scaled together.

    The protective separation distance S_p = S_h + S_r + S_s + C + Z_d + Z_r (ISO/TS 15066:2016, 5.5.4, since taken over
    into ISO 10218-2:2025; discussed by Marvel and Norcross, "Implementing speed and separation monitoring in
    collaborative robot workcells", 2017) is what a person and an arm cover until it rests, and a margin:

    - S_h = v_h (T_r + T_s): the person walks straight at the arm until it rests;
    - S_r = v_r T_r: the arm goes on while what was measured takes its effect;
    - S_s <= v_r T_s: the arm brakes; the bound assumes nothing about the shape of its stop;
    - C + Z_d + Z_r: reach into the measured field, uncertainty of the person's and of the arm's position.

    With v_r = `scale` `tool_speed` and T_s = `scale` `stopping_time`, S_p is a quadratic of the scale, and is solved
    for it. The arm is taken to move at the person in any case. This is no certified safety function.

    Attributes:
        tool_speed: v_r at full scale [m/s].
        stopping_time: T_s at full scale [s].
        person_speed: v_h [m/s]; 1.6 is the walking speed of ISO 13855, 2.0 that of a hand close by.
        reaction_time: T_r from a measurement to the start of braking, the sensor's own time included [s].
        margin: C + Z_d + Z_r [m].
    """

    tool_speed: float
    stopping_time: float
    person_speed: float = 1.6
    reaction_time: float = 0.1
    margin: float = 0.2

    def __post_init__(self) -> None:
        for name in ("tool_speed", "stopping_time", "person_speed", "reaction_time", "margin"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (name in ("tool_speed", "stopping_time") and value == 0):
                raise SafetyConfigurationError(f"{name} of the separation is {value!r}; expected a number above zero")

    @classmethod
    def of_limits(
        cls, limits: SafetyLimits, *, person_speed: float = 1.6, reaction_time: float = 0.1, margin: float = 0.2
    ) -> ProtectiveSeparation:
        """The relation for an arm: its stop takes as long as the slowest joint's from its speed limit.

        Swinging from full acceleration to full braking and back to rest adds up to three times acceleration over jerk,
        at any speed; that counts as reaction.
        """
        swing = 3.0 * float((limits.acceleration / limits.jerk).max())
        stopping_time = float((limits.velocity / limits.acceleration).max())
        return cls(limits.tool_speed, stopping_time, person_speed, reaction_time + swing, margin)

    @property
    def least_distance(self) -> float:
        """Distance [m] up to which the arm may not move at all."""
        return self.person_speed * self.reaction_time + self.margin

    def distance(self, scale: float) -> float:
        """Protective separation distance [m] at a `scale` of the speed limits."""
        stopping_time, speed = scale * self.stopping_time, scale * self.tool_speed
        person = self.person_speed * (self.reaction_time + stopping_time)
        return person + speed * self.reaction_time + speed * stopping_time + self.margin

    def scale(self, distance: float) -> float:
        """Largest scale whose protective separation distance a person at `distance` [m] keeps; NaN is near."""
        room = distance - self.least_distance
        if not room > 0:
            return 0.0
        if distance >= self.distance(1.0):
            return 1.0
        square = self.tool_speed * self.stopping_time
        linear = self.person_speed * self.stopping_time + self.tool_speed * self.reaction_time
        # The form that does not cancel where there is little room.
        way = linear + math.sqrt(linear * linear + 4.0 * square * room)
        # No way at all: a room so small that its root is nought.
        return min(1.0, 2.0 * room / way) if way > 0 else 0.0


class PersonWatch:
    """Holds the newest distance to a person; a person is taken to walk up since it was measured.

    Distances are as REP 117 has them: plus infinity is nobody in range, NaN and what is below zero is not to be trusted
    and counts as a person at the arm. So does silence: before the first distance, and `timeout` [s] after the last.
    """

    def __init__(self, separation: ProtectiveSeparation, timeout: float) -> None:
        self._separation = separation
        self._timeout = timeout
        self._distance = math.nan
        self._heard = -math.inf

    def hear(self, distance: float, now: float) -> None:
        """Take in a distance [m] that was received at `now` [s] on a steady clock."""
        self._distance, self._heard = distance, now

    def at(self, now: float) -> Separation:
        """What is left of the speed limits at `now` [s] on the same clock."""
        age = now - self._heard
        if not 0.0 <= age <= self._timeout:
            return Separation(0.0, "person_distance_silent")
        scale = self._separation.scale(self._distance - self._separation.person_speed * age)
        if scale <= 0.0:
            return Separation(0.0, "person_too_near")
        return Separation(scale, "person_near") if scale < 1.0 else UNWATCHED
