"""Robots by their vendors' clients: emulators to run them against, and what is skipped where there are no clients."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from physai_ros.drivers.catalog import load_driver
from physai_ros.drivers.isolated import IsolatedDriver
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverState

PATIENT = 5.0  # [s] of our clock that a driver waits for a command where silence is not what is tried
EMULATORS = Path(__file__).resolve().parents[1] / "drivers" / "emulators"
CLIENTS = os.environ.get("PHYSAI_ROBOTS_PYTHON", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything here where no environment has the vendors' clients."""
    reason = os.environ.get("PHYSAI_ROBOTS_MISSING", "run `make test-robots`, which installs the vendors' clients")
    for item in items:
        if Path(__file__).parent in item.path.parents and not CLIENTS:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def clients() -> str:
    """Interpreter of the environment that has the vendors' clients."""
    return CLIENTS


class Emulator:
    """A process that plays a robot; it prints a line when it is ready, and one for each line it is sent."""

    def __init__(self, script: str, *arguments: str, python: str = sys.executable, timeout: float = 60.0) -> None:
        self._timeout = timeout
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, str(EMULATORS / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.greeting = self._line()

    def ask(self, line: str) -> str:
        """Answer to one line."""
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        return self._line()

    def report(self) -> dict:
        """What it has counted."""
        return json.loads(self.ask("report"))

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it properly, or else."""
        if self.process.stdout.closed:
            return
        self.process.stdin.close()
        try:
            self.process.terminate()
            self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process.stdout.close()

    def _line(self) -> str:
        data = b""
        until = time.monotonic() + self._timeout
        while not data.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], max(until - time.monotonic(), 0.0))[0]:
                raise AssertionError(f"the emulator said nothing for {self._timeout:g} s")
            byte = os.read(self.process.stdout.fileno(), 4096)
            assert byte, f"the emulator ended with exit code {self.process.wait()}"
            data += byte
        return data.decode().strip()


@pytest.fixture
def emulate():
    """Call it to start an emulator by its script and arguments; all are ended in the end."""
    started: list[Emulator] = []

    def start(script: str, *arguments: str, python: str = sys.executable) -> Emulator:
        started.append(Emulator(script, *arguments, python=python))
        return started[-1]

    yield start
    for emulator in started:
        emulator.end()


@pytest.fixture
def drivers():
    """Call it for a driver of a robot, with its connection changed; all are closed in the end."""
    made: list[IsolatedDriver] = []

    def make(robot: str, command_timeout: float = PATIENT, **connection: object) -> IsolatedDriver:
        spec = RobotSpec.load(robot)
        connection = {**spec.connection, "python": CLIENTS, **connection}
        made.append(load_driver(replace(spec, connection=connection, command_timeout=command_timeout)))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def cycles() -> Callable[[IsolatedDriver, int], Iterator[DriverState]]:
    """Call it for the state at each of so many control cycles of the robot's clock; ends early where there is a fault.

    Emulated robots are slow where there is little to compute with: time is what their clock says.
    """

    def states(driver: IsolatedDriver, count: int) -> Iterator[DriverState]:
        period = driver.spec.control_period
        due = driver.robot_time
        while count:
            state = driver.read()
            if state.fault != DriverFault.NONE:
                yield state
                return
            if driver.robot_time >= due:
                due = max(due + period, driver.robot_time + period / 2)
                count -= 1
                yield state

    return states


@pytest.fixture
def wait_for():
    """Call it with a driver and a condition for the first state for which it holds."""

    def wait(driver: IsolatedDriver, condition: Callable[[DriverState], bool], timeout: float = 20.0) -> DriverState:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            state = driver.read()
            if condition(state):
                return state
        raise AssertionError(f"never came; the last state was {state}")

    return wait
