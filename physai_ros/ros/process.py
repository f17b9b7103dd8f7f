"""The life of a node's process: start, spin, leave on SIGINT or SIGTERM without a trace."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.exceptions import ROSInterruptException
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from physai_ros.ros.executor import ControlExecutor
from physai_ros.ros.parameters import ParameterError

REFUSED = 3
"""Exit code of a process that was given what it cannot use: starting it again would end the same way."""


class StoppableNode(Protocol):
    """A node that leaves in order."""

    def stop(self) -> None:
        """Deactivate and clean up."""


def spin_process(make_node: Callable[[], Node], arguments: list[str] | None = None) -> int:
    """Exit code after spinning one node: 0 when told to stop, `REFUSED` where its parameters cannot be used."""
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
    except ParameterError as error:
        print(error, file=sys.stderr, flush=True)
        rclpy.try_shutdown()
        return REFUSED
    executor = ControlExecutor()
    executor.add_node(node)
    try:
        with (
            _stop_request(executor.wake) as stopped,
            contextlib.suppress(ExternalShutdownException, ROSInterruptException),
        ):
            while not stopped.is_set():
                executor.spin_once()
        node.stop()
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
        gc.unfreeze()
    return 0


@contextlib.contextmanager
def _stop_request(wake: Callable[[], None]) -> contextlib.AbstractContextManager[threading.Event]:
    """An event that SIGINT and SIGTERM set. The node can still publish then, which rclpy's own handlers do not allow.

    The executor sleeps outside the interpreter, where Python's handlers do not run: the signal's number is written to a
    pipe, and a thread that reads it wakes the executor.
    """
    stopped = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def waker() -> None:
        while os.read(reading, 1) != b"\0":
            stopped.set()
            wake()

    def handle(_number: int, _frame: object) -> None:
        stopped.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=waker, name="signals", daemon=True)
    thread.start()
    try:
        yield stopped
    finally:
        # A second signal while the node leaves must not tear it down half-way.
        signal.set_wakeup_fd(descriptor)
        os.write(writing, b"\0")
        thread.join(timeout=1.0)
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        os.close(reading)
