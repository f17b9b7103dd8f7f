"""`physai faults`: kill each process of the live graph while the arm moves, and measure what happens."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.deployment.supervised import SupervisedGraph
    from physai_ros.ros.graph_monitor import GraphMonitor

_REACTION = 0.25
"""Longest time from a kill to the first sign of a reaction [s]: time-outs of 0.1 s, a heartbeat, a busy machine."""
_SETTLE = 0.5
"""Beyond reaction and braking, time until the measured speed is that of an arm at rest [s]."""
_REST = 0.03  # [rad/s]
_WATCHED = 2.0  # [s]
_RECOVERY = 60.0  # [s]
_RANDOM_MOMENT = 4.0  # [s] an episode of `reach` and what lies between two


@dataclass(frozen=True)
class _Fault:
    name: str
    node: str
    expected: str
    stops: bool


FAULTS = (
    _Fault("policy_killed", "policy_inference", "hold within the action time-out; goes on when it is back", True),
    _Fault("fusion_killed", "sensor_fusion", "hold; goes on when it is back", True),
    _Fault("safety_killed", "safety_monitor", "driver plays the verified stop; comes back STOPPED", True),
    _Fault("driver_killed", "driver_node", "STOPPED; comes back STOPPED", True),
    _Fault("trainer_killed", "sparse_trainer", "control unaffected", False),
    _Fault("feedback_killed", "feedback_collector", "control unaffected; the episode so far is recovered", False),
    _Fault("evaluator_killed", "evaluator", "control unaffected", False),
    _Fault("manager_killed", "episode_manager", "the running episode ends safely; another begins", False),
)


@dataclass
class _Row:
    fault: str
    expected: str
    seen: str
    detect_ms: float
    rest_ms: float
    braking_bound_ms: float
    recovery_ms: float
    lost: int
    passed: bool


def faults(
    only: Annotated[str, typer.Option(help="One fault by name.", show_default="all")] = "",
    random: Annotated[
        int, typer.Option(min=0, help="Instead of the matrix: so many kills of any node at random moments.")
    ] = 0,
    task: Annotated[str, typer.Option(help="Task that the arm does meanwhile.")] = "reach",
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph that is started.")] = "faults",
    seed: Annotated[int, typer.Option(min=0, help="Of policy and episodes.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")] = None,
) -> None:
    """Run the fault matrix against a live graph: each process is killed once, while the arm moves.

    Every episode that was announced must be readable afterwards.
    """
    import numpy as np
    from rich.console import Console

    from physai_ros.cli.live_graph import live_graph
    from physai_ros.cli.results import write_json

    chosen = [fault for fault in FAULTS if only in ("", fault.name)]
    if not chosen:
        raise ValueError(f"there is no fault '{only}'; there are {', '.join(fault.name for fault in FAULTS)}")
    generator = np.random.default_rng(seed)
    delays = [0.0] * len(chosen)
    if random:
        chosen = [chosen[index] for index in generator.integers(len(chosen), size=random)]
        delays = generator.uniform(0.0, _RANDOM_MOMENT, size=random).tolist()
    console, rows = Console(), []
    with live_graph(task, seed, namespace=namespace) as (graph, monitor):
        for fault, delay in zip(chosen, delays, strict=True):
            with console.status(f"{fault.name}: {fault.node} is killed while the arm moves"):
                rows.append(_inject(fault, graph, monitor, delay))
            console.print(f"{'passed' if rows[-1].passed else 'FAILED'}  {fault.name}: {rows[-1].seen}")
    _show(rows, console)
    passed = sum(row.passed for row in rows)
    if json_file is not None:
        figures = {"passed": float(passed), "failed": float(len(rows) - passed)}
        write_json(json_file, "faults", seed, figures, rows=[asdict(row) for row in rows])
    if passed < len(rows):
        raise typer.Exit(1)


class _Watch:
    """What is seen after a kill: first reaction, first rest, whether the arm was stopped, largest gap of commands."""

    def __init__(self, monitor: GraphMonitor) -> None:
        self.reacted = self.rested = 0.0
        self.reaction = ""
        self.gap = 0.0
        self.stopped = False
        self._last = time.monotonic()
        self._monitor = monitor
        monitor.hooks.append(self._hear)

    def close(self) -> None:
        self._monitor.hooks.remove(self._hear)
        self.gap = max(self.gap, time.monotonic() - self._last)

    def _hear(self, message: object) -> None:
        from physai_ros.msg import DriverState, SafeCommand, SafetyStatus

        now = time.monotonic()
        if isinstance(message, SafeCommand):
            self.gap = max(self.gap, now - self._last)
            self._last = now
            if message.source in (SafeCommand.SOURCE_HOLD, SafeCommand.SOURCE_STOP):
                self._react(now, f"safety: {', '.join(message.reasons) or 'hold'}")
        elif isinstance(message, SafetyStatus) and message.state >= SafetyStatus.HOLD:
            self.stopped |= message.state == SafetyStatus.STOPPED
            self._react(now, f"safety: {', '.join(message.reasons) or 'hold'}")
        elif isinstance(message, DriverState):
            if message.mode in (DriverState.MODE_STOPPING, DriverState.MODE_STOPPED):
                self.stopped = True
                self._react(now, "driver: plays the verified stop")
            slow = max(abs(value) for value in message.joint_velocities) < _REST
            self.rested = (self.rested or now) if slow else 0.0

    def _react(self, now: float, what: str) -> None:
        if not self.reacted:
            self.reacted, self.reaction = now, what


def _inject(fault: _Fault, graph: SupervisedGraph, monitor: GraphMonitor, delay: float) -> _Row:
    from physai_ros.cli.live_graph import STARTED, resume_until_moving

    if not resume_until_moving(monitor, STARTED):
        raise TimeoutError(f"the policy did not move the arm within {STARTED:g} s; see {graph.run / 'logs'}")
    _wait(lambda: False, delay)
    bound, before = _braking_bound(monitor), graph.pid(fault.node)
    watch, killed = _Watch(monitor), time.monotonic()
    graph.signal(fault.node, signal.SIGKILL)
    if fault.stops:
        limit = _REACTION + bound + _SETTLE
        _wait(lambda: watch.reacted and (watch.rested or fault.node == "driver_node"), limit)
    else:
        _wait(lambda: False, _WATCHED)
    watch.close()
    recovered = resume_until_moving(monitor, _RECOVERY, lambda: graph.pid(fault.node) not in (0, before))
    recovery = time.monotonic() - killed if recovered else float("nan")
    detect = watch.reacted - killed if watch.reacted else float("nan")
    # The simulated arm is gone with its driver: there is nothing that could rest.
    rest = watch.rested - killed if fault.stops and watch.rested and fault.node != "driver_node" else float("nan")
    lost = _unreadable(graph, monitor)
    if fault.stops:
        resting = fault.node == "driver_node" or rest <= _REACTION + bound + _SETTLE
        # At a random moment the arm may be at rest already, between two episodes.
        passed = bool((detect <= _REACTION or delay) and resting and recovered and not lost)
        seen = watch.reaction or "no reaction"
    else:
        passed = not watch.stopped and recovered and not lost
        control = f"the arm was stopped ({watch.reaction})" if watch.stopped else "control went on"
        seen = f"{control}, largest gap between commands {1e3 * watch.gap:.0f} ms"
    seen += "; back to work" if recovered else "; did not come back to work"
    milli = (1e3 * detect if fault.stops else float("nan"), 1e3 * rest, 1e3 * bound, 1e3 * recovery)
    return _Row(fault.name, fault.expected, seen, *milli, lost, passed)


def _wait(condition: object, seconds: float) -> None:
    """Wait for a condition, or until the time that is given to it is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.002)


def _braking_bound(monitor: GraphMonitor) -> float:
    """Time that the profile needs to brake from the speed that is measured now [s]."""
    import numpy as np

    from physai_ros.robot.spec import RobotSpec

    spec = RobotSpec.load("fr3_sim")
    speed = np.abs(np.array(monitor.driver.joint_velocities))
    ramp = spec.acceleration_limits / spec.jerk_limits
    return float(np.max(speed / spec.acceleration_limits + ramp))


def _unreadable(graph: SupervisedGraph, monitor: GraphMonitor) -> int:
    """Episodes that were announced and cannot be read."""
    from physai_ros.experience.store import EpisodeStore, StoreError

    store, lost = EpisodeStore(graph.run / "episodes", create=False), 0
    for message in list(monitor.feedback):
        try:
            store.read(message.episode_id)
        except StoreError:
            lost += 1
    return lost


def _show(rows: list[_Row], console: object) -> None:
    from rich.table import Table

    table = Table(title="fault matrix", title_justify="left")
    for name in ("fault", "seen", "detect [ms]", "rest [ms]", "bound [ms]", "back [ms]", "lost", ""):
        words = name in ("fault", "seen", "")
        table.add_column(name, justify="left" if words else "right", no_wrap=name in ("fault", ""))
    for row in rows:
        times = (row.detect_ms, row.rest_ms, row.braking_bound_ms, row.recovery_ms)
        cells = ["—" if value != value else f"{value:.0f}" for value in times]
        table.add_row(row.fault, row.seen, *cells, str(row.lost), "passed" if row.passed else "FAILED")
    console.print(table)
