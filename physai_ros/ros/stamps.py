"""Instants: float seconds in the rooms, `builtin_interfaces/Time` in messages."""

import math
import struct

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

_NANOSECONDS = 1_000_000_000


def split_seconds(seconds: float) -> tuple[int, int]:
    """Whole seconds and nanoseconds of an instant [s]; the whole part is taken off first, which is exact.

    Raises:
        ValueError: the instant is not finite or does not fit the message.
    """
    if not -(2**31) <= seconds < 2**31:  # also refuses NaN
        raise ValueError(f"{seconds!r} s is no instant; expected a finite number of seconds within 32 bits")
    whole = math.floor(seconds)
    nanoseconds = round((seconds - whole) * _NANOSECONDS)
    return (whole + 1, 0) if nanoseconds == _NANOSECONDS else (whole, nanoseconds)


def seconds_of(time: Time) -> float:
    """The float nearest to an instant [s]; going to a message and back again changes it no further."""
    return (time.sec * _NANOSECONDS + time.nanosec) / _NANOSECONDS


def set_time(time: Time, seconds: float) -> None:
    """Write an instant [s] into a message that exists."""
    time.sec, time.nanosec = split_seconds(seconds)


def header(stamp: float, frame_id: str = "") -> Header:
    """A header of this instant [s] and frame."""
    made = Header()
    set_time(made.stamp, stamp)
    made.frame_id = frame_id
    return made


def stamp_of_serialized(message: bytes) -> float:
    """Instant [s] of a serialized (CDR) message whose first field is a header, without reading the rest."""
    order = "<" if message[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", message, 4)
    return (seconds * _NANOSECONDS + nanoseconds) / _NANOSECONDS
