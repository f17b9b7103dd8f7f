"""A driver killed in front of a controller with a time-out of its own, and of one without; no graph is needed.

The simulated arm is gone when its driver is. A real arm is not: its controller goes on, and what it does then depends
on its own time-out alone. The controller here takes velocities, as the worst case does: one that is not told otherwise
goes on moving.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState
from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits
from physai_ros.safety.supervisor import SafetySupervisor

_SPEED = 0.85  # share of the velocity limits at which the driver is killed
_PERIOD = 0.002  # [s] of the controller's loop
_WATCHED = 1.0  # [s] after the kill
_STREAM = """
import socket, struct, sys, time
out = socket.socket(fileno=int(sys.argv[1]))
data = struct.pack(f"{len(sys.argv) - 2}d", *map(float, sys.argv[2:]))
while True:
    out.send(data)
    time.sleep(0.01)
"""


class SinkFindings(NamedTuple):
    """What came of a killed driver: why the sink was refused at activation (empty: it was not), times in [s]."""

    refusal: str
    accepted_in_writing: bool
    detect: float
    rest: float
    bound: float


class _Controller:
    """Tracks the last velocity that it was sent, as fast as it may; stops by itself if it has a time-out."""

    def __init__(self, spec: RobotSpec, timeout: float) -> None:
        self.receiving, self.sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiving.setblocking(False)
        self._acceleration = spec.acceleration_limits
        self._timeout = timeout
        self.velocities = np.zeros(len(spec.joint_names))
        self.slowing_since = math.nan
        self.rest_since = math.nan
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(timeout=1.0)
        self.receiving.close()
        self.sending.close()

    def _run(self) -> None:
        told, heard, before = np.zeros(self.velocities.size), time.monotonic(), time.monotonic()
        while not self._over.wait(_PERIOD):
            now = time.monotonic()
            try:
                while True:
                    told = np.array(struct.unpack(f"{told.size}d", self.receiving.recv(8 * told.size)))
                    heard = now
            except BlockingIOError:
                pass
            wanted = told if now - heard <= self._timeout else np.zeros(told.size)
            most = self._acceleration * (now - before)
            step = np.clip(wanted - self.velocities, -most, most)
            self.velocities = self.velocities + step
            self._note(now, told_to_move=bool(wanted.any()))
            before = now

    def _note(self, now: float, *, told_to_move: bool) -> None:
        if told_to_move:
            self.slowing_since = math.nan
        elif math.isnan(self.slowing_since):
            self.slowing_since = now
        if self.velocities.any():
            self.rest_since = math.nan
        elif math.isnan(self.rest_since):
            self.rest_since = now


def kill_driver(timeout: float, seed: int = 0) -> SinkFindings:
    """What a controller with this time-out [s], inf for none, does when its driver is killed at full speed.

    Raises:
        TimeoutError: the driver did not bring the controller up to speed.
    """
    spec = RobotSpec.load("fr3_sim")
    refusal, accepted = _activation(spec, timeout)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=len(spec.joint_names))
    wanted = _SPEED * spec.velocity_limits * signs
    controller = _Controller(spec, timeout)
    try:
        descriptor = controller.sending.fileno()
        arguments = [sys.executable, "-S", "-E", "-c", _STREAM, str(descriptor), *map(repr, wanted.tolist())]
        driver = subprocess.Popen(arguments, pass_fds=[descriptor])
        deadline = time.monotonic() + 10.0
        while not np.allclose(controller.velocities, wanted):
            if time.monotonic() > deadline:
                driver.kill()
                raise TimeoutError("the driver did not bring the controller up to speed within 10 s")
            time.sleep(0.002)
        killed = time.monotonic()
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        time.sleep(_WATCHED)
        return SinkFindings(
            refusal,
            accepted,
            controller.slowing_since - killed,
            controller.rest_since - killed,
            float((np.abs(wanted) / spec.acceleration_limits).max()),
        )
    finally:
        controller.close()


def _activation(spec: RobotSpec, timeout: float) -> tuple[str, bool]:
    """Why safety refuses to activate in front of such a sink, and whether it accepts it in writing."""
    home, zeros = spec.home_positions, np.zeros(len(spec.joint_names))
    state = DriverState(
        stamp=0.0,
        sequence=1,
        joint_names=spec.joint_names,
        joint_positions=home,
        joint_velocities=zeros,
        joint_torques=zeros,
        commanded_positions=home,
        mode=DriverMode.IDLE,
        command_timeout=timeout,
        enforced_velocity=spec.velocity_limits,
    )

    def refusal(**overrides: str) -> str:
        limits = SafetyLimits.from_spec(spec, **overrides)
        try:
            SafetySupervisor(spec, limits, Kinematics(spec)).activate(state)
        except SafetyConfigurationError as error:
            return str(error)
        return ""

    return refusal(), not refusal(sink_without_timeout="a person stands at the emergency stop")
