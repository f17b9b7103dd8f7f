"""The driver's end of a vendor's process: start it, ask it, hear it, give it up."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import physai_ros
from physai_ros.drivers import wire
from physai_ros.drivers.driver import DriverError
from physai_ros.drivers.vendor import ArmSettings

_START = 15.0  # [s] for Python and the vendor's client to be imported
_CLOSE = 10.0  # [s] for the vendor's client to return and the arm to rest, when all ends
_RUN = "import sys; {put}; from physai_ros.drivers.vendor_process import main; main()"
_OURS = ("LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")


class VendorChild:
    """The process of one vendor's client, up and running. `lost` says why there is none any more, empty while it is.

    Args:
        settings: the arm.
        link: class of its `VendorLink`, as module:Class.
        python: interpreter of the environment that has the vendor's client; this one where it is empty.

    Raises:
        DriverError: the process cannot be started, or the client is not installed.
    """

    def __init__(self, settings: ArmSettings, link: str, python: str = "") -> None:
        self.lost = ""
        self._name = settings.name
        self._requests, requests = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stream, stream = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stream.setblocking(False)
        numbers = [requests.fileno(), stream.fileno()]
        command, environment = _command(python)
        try:
            self._process = subprocess.Popen(
                [*command, *map(str, numbers)], pass_fds=numbers, env=environment, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise DriverError(f"robot '{self._name}': cannot start {command[0]}: {error.strerror}") from error
        finally:
            requests.close()
            stream.close()
        try:
            self.ask({"do": "start", "link": link, "settings": settings.to_json()}, _START)
        except DriverError:
            self.end()
            raise

    def ask(self, request: dict, timeout: float) -> bool:
        """Whether what was asked for is done; who does not answer within `timeout` [s] is killed.

        Raises:
            DriverError: the vendor gives a reason why not, or its process does not answer.
        """
        if self.lost:
            raise DriverError(f"robot '{self._name}': {self.lost}; recover first")
        try:
            self._requests.send(json.dumps(request).encode())
            answered = bool(select.select([self._requests], [], [], timeout)[0])
            data = self._requests.recv(wire.LARGEST) if answered else b""
        except OSError:
            answered, data = True, b""
        if not answered:
            self._process.kill()
            self.lose(f"'{request['do']}' did not return within {timeout:g} s, so the vendor's client was ended")
            raise DriverError(f"robot '{self._name}': {self.lost}; look at the robot and its network")
        if not data:
            self.lose("the vendor's process has ended")
            raise DriverError(f"robot '{self._name}': {self.lost} at '{request['do']}'; see what it printed")
        reply = json.loads(data)
        if reply["error"]:
            raise DriverError(f"robot '{self._name}': {reply['error']}")
        return bool(reply["done"])

    def send(self, data: bytes) -> bool:
        """Send on the stream without waiting; False where it is full or nobody is there any more."""
        try:
            self._stream.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self.lose("the vendor's process has ended")
            return False
        return True

    def newest(self) -> bytes:
        """Newest message on the stream, empty where none has come since the last; does not wait."""
        data = b""
        try:
            while newer := self._stream.recv(wire.LARGEST):
                data = newer
            self.lose("the vendor's process has ended")
        except BlockingIOError:
            pass
        except OSError:
            self.lose("the vendor's process has ended")
        return data

    def wait(self, timeout: float) -> bool:
        """Whether something comes on the stream within `timeout` [s]."""
        return bool(select.select([self._stream], [], [], timeout)[0])

    def lose(self, why: str) -> None:
        """Remember why the link is lost; the first reason counts."""
        self.lost = self.lost or why

    def end(self) -> None:
        """Let the process bring the arm to rest and end; kill it where it does not. Safe to call twice."""
        if self._process.poll() is None and not self.lost:
            try:
                self.ask({"do": "close"}, _CLOSE)
            except DriverError:
                pass  # it has ended, or been killed
        self._requests.close()  # of this it knows that we are gone
        try:
            self._process.wait(timeout=1.0 if self.lost else _CLOSE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stream.close()
        self.lose("closed")


def _command(python: str) -> tuple[list[str], dict[str, str]]:
    """What runs the vendor's process, and its environment; it finds this very package, installed or in a source tree.

    Another environment's own packages go before those that lie beside this one.
    """
    own = str(Path(physai_ros.__file__).resolve().parents[1])
    if not python:
        return [sys.executable, "-c", _RUN.format(put=f"sys.path.insert(0, {own!r})")], dict(os.environ)
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    return [python, "-c", _RUN.format(put=f"sys.path.append({own!r})")], environment
