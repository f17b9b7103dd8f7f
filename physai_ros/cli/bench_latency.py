"""`physai bench latency`: from a measurement to the permitted command, over DDS, for policies with and without eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from physai_ros.cli.latency_record import LatencyRecord
    from physai_ros.deployment.supervised import SupervisedGraph
    from physai_ros.ros.graph_monitor import GraphMonitor

POLICIES = ("state", "vision")
FIGURE_RATES = {"state": 100.0, "vision": 50.0}
"""Control rate [Hz] whose figures stand for a policy; the rows hold every rate that was measured."""
CAMERA_RATE = 30.0
_SETTLE = 2.0  # [s] after the arm began to move that are not measured


def latency(
    seconds: Annotated[float, typer.Option(min=1.0, help="Time to measure each case for [s].")] = 30.0,
    policies: Annotated[str, typer.Option(help="Policies to measure: state, vision, or both with a comma.")] = (
        "state,vision"
    ),
    rates: Annotated[str, typer.Option(help="Control rates [Hz], with commas.")] = "100,50",
    task: Annotated[str, typer.Option(help="Task by name.")] = "reach",
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph that is started.")] = "bench",
    seed: Annotated[int, typer.Option(min=0, help="Of policy and episodes.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time from a measurement to the permitted command, through real processes over DDS, beside the bare network.

    Paced, with the whole graph; its trainer is paused (`physai bench isolation` measures it). The policy that sees has
    two cameras of 84x84 at 30 Hz, whose frames are replayed. A deadline is missed when a measurement within an episode
    is not answered by the policy within the control period.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json

    console = Console()
    cases = [(policy, rate) for policy in _policies(policies) for rate in _rates(rates)]
    rows = []
    for policy, rate in cases:
        with console.status(f"{policy} policy at {rate:g} Hz: measuring for {seconds:g} s"):
            rows.append(measure_case(policy, rate, seconds, task=task, namespace=namespace, seed=seed))
    table = Table(title=f"latency, {task}: measurement to permitted command [ms]", title_justify="left", box=None)
    names = ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms", "missed_share")
    names += ("observation_age_p50_ms", "observation_age_p99_ms", "bare_forward_ms")
    for name in ("case", *(name.removesuffix("_ms").replace("_", " ") for name in names)):
        table.add_column(name, justify="left" if name == "case" else "right")
    for row in rows:
        table.add_row(f"{row['policy']} {row['rate']:g} Hz", *(f"{row[name]:.3g}" for name in names))
    console.print(table)
    if json_file is not None:
        write_json(json_file, "bench latency", seed, figures_of(rows), rows=rows)


def figures_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that stand for these rows; NaN for what was not measured.

    A policy's figures are those at its rate in `FIGURE_RATES`, else at the highest that was measured; `missed_share`
    and the observation's age are the worst of these.
    """
    chosen = {}
    for policy in POLICIES:
        own = sorted((row for row in rows if row["policy"] == policy), key=lambda row: row["rate"])
        exact = [row for row in own if row["rate"] == FIGURE_RATES[policy]]
        chosen[policy] = (exact or own[-1:] or [{}])[0]
    nan = float("nan")
    figures: dict[str, float] = {}
    for policy, row in chosen.items():
        for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms", "missed_share", "observation_age_p99_ms"):
            figures[f"{policy}_{name}"] = row.get(name, nan)
        figures[f"{policy}_bare_forward_ms"] = row.get("bare_forward_ms", nan)
        figures[f"{policy}_graph_cost_p50_ms"] = row.get("p50_ms", nan) - row.get("bare_forward_ms", nan)
    measured = [row for row in chosen.values() if row]
    figures["observation_age_p99_ms"] = max((row["observation_age_p99_ms"] for row in measured), default=nan)
    figures["missed_share"] = max((row["missed_share"] for row in measured), default=nan)
    figures["bare_forward_ms"] = chosen["state"].get("bare_forward_ms", nan)
    return figures


def measure_case(policy: str, rate: float, seconds: float, *, task: str, namespace: str, seed: int) -> dict[str, Any]:
    """The row of one policy at one control rate [Hz], measured for so many seconds.

    Raises:
        TimeoutError: the graph did not come up, or nothing was answered.
    """
    from physai_ros.cli.bench_policies import bare_forward
    from physai_ros.policy.registry import PolicyRegistry

    with moving_graph(policy, rate, task=task, namespace=namespace, seed=seed) as (graph, monitor, record):
        pause_training(monitor, paused=True)
        window = watch(graph, monitor, seconds)
        loaded = PolicyRegistry(graph.run / "registry")
        bare = bare_forward(loaded.load(loaded.current()[0]))
    row = record.figures(1.0 / rate, [window])
    if not row["answered"]:
        raise TimeoutError(f"no measurement was answered within {seconds:g} s; measure longer with --seconds")
    named = {"case": f"{policy} policy, {rate:g} Hz, paced", "policy": policy, "rate": rate, "task": task}
    return named | {"seconds": seconds} | row | bare


@contextmanager
def moving_graph(
    policy: str,
    rate: float,
    *,
    task: str,
    namespace: str,
    seed: int,
    more: dict[str, dict[str, object]] | None = None,
) -> Iterator[tuple[SupervisedGraph, GraphMonitor, LatencyRecord]]:
    """A graph whose arm moves by a policy at a control rate [Hz], and the record of all that goes through it."""
    from contextlib import ExitStack

    from physai_ros.cli.bench_policies import CAMERAS, SIZE, prepare_seeing, robot_at, temporary_folder
    from physai_ros.cli.camera_replay import replayed
    from physai_ros.cli.live_graph import live_graph

    settings = {name: dict(values) for name, values in (more or {}).items()}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder()))
        extra: dict[str, Any] = {"run": folder, "robot": robot_at(rate, folder)}
        if policy == "vision":
            cameras = {"cameras": CAMERAS, "image_height": SIZE, "image_width": SIZE}
            settings["sensor_fusion"] = settings.get("sensor_fusion", {}) | cameras
            extra["prepare"] = lambda rollout, run: prepare_seeing(rollout, run, seed)
            extra["beside"] = lambda: replayed(folder / "frames.npz", CAMERA_RATE, namespace)
        graph, monitor = stack.enter_context(live_graph(task, seed, namespace=namespace, more=settings, **extra))
        record = record_of(monitor)
        yield graph, monitor, record


def record_of(monitor: GraphMonitor) -> LatencyRecord:
    """A record that is filled by what the monitor hears from now on."""
    import time

    from physai_ros.cli.latency_record import LatencyRecord
    from physai_ros.msg import DriverState, RobotAction, SafeCommand
    from physai_ros.ros.stamps import seconds_of

    record = LatencyRecord()

    def on_action(message: RobotAction) -> None:
        age = seconds_of(message.header.stamp) - seconds_of(message.observation_stamp)
        record.proposal(message.sequence, message.state_sequence, message.episode_id, age)

    def on_command(message: SafeCommand) -> None:
        if message.source == SafeCommand.SOURCE_POLICY:
            record.permitted(message.proposed_sequence, time.monotonic())

    heard: dict[type, Callable[[Any], None]] = {
        DriverState: lambda message: record.state(message.sequence, time.monotonic()),
        RobotAction: on_action,
        SafeCommand: on_command,
    }

    def hook(message: object) -> None:
        listener = heard.get(type(message))
        if listener is not None:
            listener(message)

    monitor.hooks.append(hook)
    return record


def watch(
    graph: SupervisedGraph, monitor: GraphMonitor, seconds: float, settle: float = _SETTLE
) -> tuple[float, float]:
    """Begin and end [s] of a measurement of this length, with the graph kept and stops resumed meanwhile."""
    import time

    from physai_ros.cli.live_graph import resume_until_moving
    from physai_ros.msg import SafetyStatus

    time.sleep(settle)
    begin = time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        graph.statuses()
        stopped = monitor.safety is not None and monitor.safety.state == SafetyStatus.STOPPED
        if stopped or now - monitor.command_received > 1.0:
            resume_until_moving(monitor, 1.0)
        time.sleep(min(0.5, max(0.0, begin + seconds - time.monotonic())))
    return begin, begin + seconds


def pause_training(monitor: GraphMonitor, *, paused: bool) -> None:
    """Have the trainer of a graph wait, or go on."""
    from std_srvs.srv import SetBool

    monitor.call(SetBool, "pause_training", SetBool.Request(data=paused), timeout=30.0)


def _policies(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    if not chosen or not set(chosen) <= set(POLICIES):
        raise ValueError(f"--policies {text}: expected {' or '.join(POLICIES)}, or both with a comma")
    return chosen


def _rates(text: str) -> list[float]:
    try:
        chosen = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        chosen = []
    if not chosen or not all(10.0 <= rate <= 200.0 for rate in chosen):
        raise ValueError(f"--rates {text}: expected control rates from 10 to 200 Hz, with commas, such as 100,50")
    return chosen
