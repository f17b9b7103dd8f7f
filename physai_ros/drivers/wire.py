"""Commands and measurements as bytes, between a driver and the process of its vendor's client."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from physai_ros.drivers.driver import CommandKind
from physai_ros.drivers.vendor import Measurement
from physai_ros.robot.state import DriverFault, DriverMode

LARGEST = 4096
"""No message is longer than this [byte]."""

_KINDS = tuple(CommandKind)
_COMMAND = struct.Struct("<Bdd")
_REPORT = struct.Struct("<BBB5d")


class Report(NamedTuple):
    """One measurement with what the vendor's process is doing, and when it measured.

    `stamp` [s] is on the system's clock, `instant` [s] on the steady one.
    """

    measurement: Measurement
    mode: DriverMode
    stamp: float
    instant: float


def pack_command(kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> bytes:
    """Bytes of a command; `vector` is float64."""
    return _COMMAND.pack(_KINDS.index(kind), gripper_command, valid_for) + vector.tobytes()


def unpack_command(data: bytes) -> tuple[CommandKind, np.ndarray, float, float]:
    """Kind, vector, gripper command and validity [s] of a command."""
    kind, gripper_command, valid_for = _COMMAND.unpack_from(data)
    return _KINDS[kind], np.frombuffer(data, offset=_COMMAND.size), gripper_command, valid_for


def pack_report(report: Report) -> bytes:
    """Bytes of a report; a text that is too long is cut."""
    measured, mode, stamp, instant = report
    head = _REPORT.pack(
        mode,
        measured.fault,
        measured.wrench is not None,
        stamp,
        instant,
        measured.robot_time,
        measured.gripper_width,
        measured.gripper_force,
    )
    wrench = np.zeros(6) if measured.wrench is None else measured.wrench
    arrays = np.concatenate([wrench, measured.positions, measured.velocities, measured.torques])
    count = struct.pack("<H", len(measured.positions))
    return (head + count + arrays.tobytes() + measured.fault_text.encode())[:LARGEST]


def unpack_report(data: bytes) -> Report:
    """The report that was packed."""
    mode, fault, has_wrench, stamp, instant, robot_time, width, force = _REPORT.unpack_from(data)
    (count,) = struct.unpack_from("<H", data, _REPORT.size)
    start = _REPORT.size + 2
    size = 6 + 3 * count
    arrays = np.frombuffer(data, count=size, offset=start)
    positions, velocities, torques = arrays[6:].reshape(3, count)
    measured = Measurement(
        positions,
        velocities,
        torques,
        arrays[:6] if has_wrench else None,
        width,
        force,
        DriverFault(fault),
        data[start + 8 * size :].decode(errors="replace"),
        robot_time,
    )
    return Report(measured, DriverMode(mode), stamp, instant)
