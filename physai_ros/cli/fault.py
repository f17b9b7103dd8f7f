"""What a fault of the matrix is: how it is brought about, and what must be seen of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physai_ros.cli.fault_rig import Rig

DETECTION = 0.1
"""Longest time from a fault to the first sign of a reaction [s]."""
DRIVER_DETECTION = 0.15
"""The same where only the driver is left to notice: safety killed or frozen [s]."""


class Ending(Enum):
    """What becomes of the arm's motion."""

    RESTS = "comes to rest along the verified stop"
    GOES_ON = "goes on"
    GONE = "the simulated arm is gone, or stands, with its driver"


@dataclass(frozen=True)
class Fault:
    """One row of the matrix.

    Attributes:
        name: `<part>_<what happens>`; the first word groups faults.
        expected: what must happen, in words.
        ending: what must become of the motion.
        bring_about: the fault lasts while the block that it returns does.
        reasons: one of these must be named by safety or be what the driver does; empty: any.
        detection: longest time until the first sign of a reaction [s]; inf where nobody is left to react.
        cycles: control cycles within which deceleration must begin; None: `detection` alone counts.
        restarts: node whose process must have been replaced before the fault counts as over.
        may_hold: whether control that goes on may pause in between.
        may_stop: whether it may also come to need a resume.
        noticed: whether a fault that changes nothing is seen to have been noticed; None: there is nothing to notice.
        held: time that the fault lasts [s].
        recovery: patience until the policy moves the arm again [s].
    """

    name: str
    expected: str
    ending: Ending
    bring_about: Callable[[Rig], AbstractContextManager]
    reasons: tuple[str, ...] = ()
    detection: float = DETECTION
    cycles: int | None = None
    restarts: str = ""
    may_hold: bool = False
    may_stop: bool = False
    noticed: Callable[[Rig], Callable[[], bool]] | None = None
    held: float = 1.5
    recovery: float = 60.0
