"""The process that a vendor's client has to itself: it may hang or die here without taking a control loop along.

Started by `drivers.isolated`, with a socket for requests (JSON, each is answered) and one for the stream of commands
and reports (`drivers.wire`).
"""

from __future__ import annotations

import importlib
import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

import numpy as np

from physai_ros.drivers import wire
from physai_ros.drivers.driver import CommandKind
from physai_ros.drivers.vendor import ArmSettings, Measurement, VendorFault, VendorLink
from physai_ros.robot.state import DriverFault, DriverMode

REST = 0.02
"""Joints slower than this are at rest [rad/s]; what encoders make of a still arm is below it."""

_STILL = 3  # measurements in a row at rest
_ENDING = 2.0  # [s] that the arm is given to come to rest when everything ends


class VendorProcess:
    """Serves one link: passes commands on, reports twice a control cycle, stops the arm on silence.

    A fault is kept until `recover`, whatever the robot reports after it.
    """

    def __init__(self, link: VendorLink, settings: ArmSettings, requests: socket.socket, stream: socket.socket) -> None:
        self._link = link
        self._requests, self._stream = requests, stream
        self._period = 0.5 / settings.control_rate
        self._connected = False
        self._mode = DriverMode.IDLE
        self._fault, self._text = DriverFault.NONE, ""
        self._kind: CommandKind | None = None
        self._silent_at = np.inf
        self._still = 0
        self._releasing = False
        self._last: Measurement | None = None
        self._due = 0.0
        stream.setblocking(False)

    def run(self) -> None:
        """Serve until the driver goes away or asks to end."""
        going = True
        while going:
            wait = max(self._due - time.monotonic(), 0.0) if self._connected else None
            ready, _, _ = select.select([self._requests, self._stream], [], [], wait)
            if self._stream in ready:
                self._pass_on(self._newest_command())
            if self._requests in ready:
                going = self._answer()
            if self._connected:
                self._watch_silence()
                if time.monotonic() >= self._due:
                    self._report()
        self._end()

    def _answer(self) -> bool:
        """Answer one request; False where it was the last, or the driver has gone."""
        data = self._requests.recv(wire.LARGEST)
        if not data:
            return False
        request = json.loads(data)
        deeds: dict[str, Callable[[dict], bool]] = {
            "connect": self._connect,
            "activate": self._activate,
            "halt": self._halt,
            "recover": self._recover,
        }
        reply: dict[str, object] = {"done": True, "error": ""}
        if request["do"] != "close":
            try:
                reply["done"] = deeds[request["do"]](request)
            except VendorFault as error:
                reply = {"done": False, "error": str(error)}
        self._requests.send(json.dumps(reply).encode())
        return request["do"] != "close"

    def _connect(self, _request: dict) -> bool:
        self._connected = False
        self._mode = DriverMode.IDLE
        self._link.connect()
        self._fault, self._text = DriverFault.NONE, ""
        self._connected = True
        self._report()
        return True

    def _activate(self, request: dict) -> bool:
        if not self._connected:
            raise VendorFault(DriverFault.LINK_LOST, "not connected; connect first")
        self._report()
        if self._fault != DriverFault.NONE:
            raise VendorFault(self._fault, f"{self._text}; recover first")
        if self._mode == DriverMode.STOPPING:
            raise VendorFault(DriverFault.REJECTED, "the arm is still coming to rest; activate when it rests")
        kind = CommandKind(request["kind"])
        self._link.activate(kind)
        self._kind, self._mode, self._silent_at = kind, DriverMode.ACTIVE, np.inf
        self._releasing = False
        return True

    def _halt(self, _request: dict) -> bool:
        self._releasing = True
        self._brake()
        if self._mode == DriverMode.IDLE and self._connected:
            self._release()
        return True

    def _recover(self, request: dict) -> bool:
        if self._fault == DriverFault.LINK_LOST or not self._connected:
            return self._connect(request)
        if not self._link.recover():
            return False
        self._fault, self._text = DriverFault.NONE, ""
        self._mode = DriverMode.STOPPED
        self._report()
        return self._fault == DriverFault.NONE

    def _newest_command(self) -> bytes:
        data = b""
        try:
            while newer := self._stream.recv(wire.LARGEST):
                data = newer
        except BlockingIOError:
            pass
        return data

    def _pass_on(self, data: bytes) -> None:
        if not data or self._mode != DriverMode.ACTIVE:
            return
        kind, vector, gripper_command, valid_for = wire.unpack_command(data)
        if kind != self._kind:
            return
        self._silent_at = time.monotonic() + valid_for
        self._guarded(lambda: self._link.send(kind, vector, gripper_command, valid_for))

    def _watch_silence(self) -> None:
        if self._mode == DriverMode.ACTIVE and time.monotonic() > self._silent_at:
            self._brake()

    def _brake(self) -> None:
        if self._connected and self._mode in (DriverMode.ACTIVE, DriverMode.STOPPING, DriverMode.STOPPED):
            self._mode, self._still = DriverMode.STOPPING, 0
            self._guarded(self._link.stop)

    def _report(self) -> None:
        now = time.monotonic()
        # A report that is late is not made up for.
        self._due = max(self._due + self._period, now)
        lost = self._fault == DriverFault.LINK_LOST  # whom to ask again would only take time
        measured = None if lost else self._guarded(self._link.measure)
        if measured is None:
            if self._last is None:
                return
            measured = self._last
        else:
            self._last = measured
            self._note(measured)
        measured = measured._replace(fault=self._fault, fault_text=self._text)
        report = wire.Report(measured, self._mode, time.time(), time.monotonic())
        try:
            self._stream.send(wire.pack_report(report))
        except (BlockingIOError, ConnectionError):
            pass  # nobody reads: who comes back to it will want newer ones

    def _note(self, measured: Measurement) -> None:
        if measured.fault != DriverFault.NONE:
            self._note_fault(measured.fault, measured.fault_text)
        self._still = self._still + 1 if np.abs(measured.velocities).max() < REST else 0
        if self._mode == DriverMode.STOPPING and self._still >= _STILL:
            self._mode = DriverMode.STOPPED
            self._release()

    def _release(self) -> None:
        if self._releasing:
            self._releasing = False
            self._guarded(self._link.release)

    def _note_fault(self, fault: DriverFault, text: str) -> None:
        if self._fault != DriverFault.NONE:
            return
        self._fault, self._text = fault, text
        if self._mode == DriverMode.ACTIVE:
            self._mode, self._still = DriverMode.STOPPING, 0
            self._guarded(self._link.stop)

    def _guarded(self, deed: Callable) -> Measurement | None:
        """What `deed` returns; a fault that it raises is noted, and None is returned."""
        try:
            return deed()
        except VendorFault as error:
            self._note_fault(error.fault, str(error))
            if error.fault == DriverFault.LINK_LOST:
                self._mode = DriverMode.STOPPED if self._mode != DriverMode.IDLE else self._mode
            return None

    def _end(self) -> None:
        self._brake()
        until = time.monotonic() + _ENDING
        while self._mode == DriverMode.STOPPING and self._fault != DriverFault.LINK_LOST and time.monotonic() < until:
            self._report()
            time.sleep(self._period)
        self._guarded(self._link.close)


def main() -> None:
    """Serve the link that the first request names, on the sockets whose numbers are given as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the driver says when it is over
    requests, stream = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    request = json.loads(requests.recv(wire.LARGEST))
    settings = ArmSettings.from_json(request["settings"])
    module, _, name = request["link"].partition(":")
    link = getattr(importlib.import_module(module), name)(settings)
    requests.send(json.dumps({"done": True, "error": ""}).encode())
    VendorProcess(link, settings, requests, stream).run()


if __name__ == "__main__":
    main()
