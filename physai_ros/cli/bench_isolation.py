"""`physai bench isolation`: what training beside a moving arm costs the control loop, and what it gives up for that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from physai_ros.msg import TrainingStatus
    from physai_ros.ros.graph_monitor import GraphMonitor

ARMS = ("alone", "training")
_SWITCH = 1.5  # [s] after a switch that belong to neither arm: a slice is finished, a status tells of the second before
_BUSY = 180.0  # [s] patience until the first episode has given the trainer work
_UPDATES = 100_000  # after an episode: more than there is time for


def isolation(
    seconds: Annotated[float, typer.Option(min=10.0, help="Time to measure in all, half of it with training [s].")] = (
        120.0
    ),
    turns: Annotated[int, typer.Option(min=1, max=100, help="Turns of each arm; they alternate.")] = 4,
    policy: Annotated[str, typer.Option(help="Policy that acts: state or vision.")] = "state",
    rate: Annotated[float, typer.Option(min=10.0, max=200.0, help="Control rate [Hz].")] = 100.0,
    task: Annotated[str, typer.Option(help="Task by name.")] = "reach",
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph that is started.")] = "isolation",
    seed: Annotated[int, typer.Option(min=0, help="Of policy and episodes.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Latency of the control loop with the trainer at work and with it paused, in turns, on one running graph.

    The trainer always has work. What it is held back by, its CPU budget and its throttle on missed deadlines, is said.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.bench_latency import POLICIES
    from physai_ros.cli.results import write_json

    if policy not in POLICIES:
        raise ValueError(f"--policy {policy}: expected {' or '.join(POLICIES)}")
    console = Console()
    with console.status(f"{policy} policy at {rate:g} Hz, {turns} turns each of {seconds / turns / 2:g} s"):
        rows, figures = measure(policy, rate, seconds, turns, task=task, namespace=namespace, seed=seed)
    table = Table(title=f"isolation, {task}, {policy} policy at {rate:g} Hz", title_justify="left", box=None)
    names = ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms", "missed_share", "measurements")
    for name in ("arm", *names):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for row in rows:
        table.add_row(row["arm"], *(f"{row[name]:.4g}" for name in names))
    console.print(table)
    console.print(
        f"p99 with training is {figures['p99_ratio']:.2f} times that without; the trainer took "
        f"{figures['training_cpu_share']:.0%} of a core for {figures['training_updates_per_second']:.1f} updates a "
        f"second, and its throttle kept {figures['training_lost_share']:.0%} of its budget from it"
    )
    if json_file is not None:
        write_json(json_file, "bench isolation", seed, figures, rows=rows)


def measure(
    policy: str, rate: float, seconds: float, turns: int, *, task: str, namespace: str, seed: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of the two arms, and the figures.

    Raises:
        TimeoutError: the graph or its trainer did not begin to work.
    """
    from physai_ros.cli.bench_latency import moving_graph, pause_training, record_of, watch

    busy = {"sparse_trainer": {"updates_per_episode": _UPDATES}}
    windows: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    with moving_graph(policy, rate, task=task, namespace=namespace, seed=seed, more=busy) as (_graph, monitor, tap):
        record, log = record_of(tap), TrainingLog(monitor)
        monitor.wait(lambda: log.works, _BUSY, "work for the trainer: an episode of training")
        for _ in range(turns):
            for arm in ARMS:
                pause_training(monitor, paused=arm == "alone")
                windows[arm].append(watch(monitor, tap, seconds / turns / 2, settle=_SWITCH))
    rows = [{"arm": arm, **record.figures(1.0 / rate, windows[arm])} for arm in ARMS]
    alone, training = rows
    if not (alone["answered"] and training["answered"]):
        raise TimeoutError(f"no measurement was answered within {seconds:g} s; measure longer with --seconds")
    figures = {f"{name}_{arm}_ms": row[f"{name}_ms"] for row in rows for name in ("p50", "p99") for arm in [row["arm"]]}
    figures |= {
        "p99_ratio": training["p99_ms"] / alone["p99_ms"],
        "p50_ratio": training["p50_ms"] / alone["p50_ms"],
        "missed_share_alone": alone["missed_share"],
        "missed_share_training": training["missed_share"],
        **log.figures(windows["training"]),
    }
    return rows, figures


class TrainingLog:
    """What the trainer of a graph says of its work and of what keeps it from it."""

    def __init__(self, monitor: GraphMonitor) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        from physai_ros.ros import qos

        self._statuses: list[tuple[float, TrainingStatus]] = []
        self._shares: list[tuple[float, float]] = []
        monitor.hooks.append(self._on_message)
        monitor.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENT)

    @property
    def works(self) -> bool:
        """Whether it has work to do and is heard."""
        return bool(self._statuses) and self._statuses[-1][1].state in ("training", "throttled") and bool(self._shares)

    def figures(self, windows: Sequence[tuple[float, float]]) -> dict[str, float]:
        """Updates and CPU while it was let, and the share of its budget that the throttle kept from it."""
        updates = cpu = spent = 0.0
        for begin, end in windows:
            inside = [(now, status) for now, status in self._statuses if begin <= now <= end]
            if len(inside) > 1:
                (first, before), (last, after) = inside[0], inside[-1]
                updates += after.updates - before.updates
                cpu += after.cpu_seconds - before.cpu_seconds
                spent += last - first
        shares = [share for now, share in self._shares if any(begin <= now <= end for begin, end in windows)]
        nan = float("nan")
        return {
            "training_updates_per_second": updates / spent if spent else nan,
            "training_cpu_share": cpu / spent if spent else nan,
            "training_lost_share": 1.0 - sum(shares) / len(shares) if shares else nan,
        }

    def _on_message(self, message: object) -> None:
        import time

        from physai_ros.msg import TrainingStatus

        if isinstance(message, TrainingStatus):
            self._statuses.append((time.monotonic(), message))

    def _on_diagnostics(self, message: Any) -> None:  # noqa: ANN401 a DiagnosticArray
        import time

        for status in message.status:
            if status.hardware_id == "sparse_trainer":
                for pair in status.values:
                    if pair.key == "permitted_share":
                        self._shares.append((time.monotonic(), float(pair.value)))
