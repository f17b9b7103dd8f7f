"""`physai bench latency`: from a measurement to the permitted command, over DDS, for policies with and without eyes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from physai_ros.cli.control_tap import ControlTap
    from physai_ros.cli.latency_record import LatencyRecord
    from physai_ros.deployment.supervised import SupervisedGraph
    from physai_ros.ros.graph_monitor import GraphMonitor

POLICIES = ("state", "vision")
FIGURE_RATES = {"state": 100.0, "vision": 50.0}
"""Control rate [Hz] whose figures stand for a policy; the rows hold every rate that was measured."""
CAMERA_RATE = 30.0
SWAP_FIGURES = (
    "swaps_in_motion",
    "swaps_late_share",
    "swaps_missed_share",
    "swaps_p99_ms",
    "swaps_max_ms",
    "swaps_jerk_of_limit",
    "jerk_of_limit",
)
LEROBOT_FIGURES = ("lerobot_p50_ms", "lerobot_p99_ms", "lerobot_max_ms", "lerobot_missed_share")
_SETTLE = 2.0  # [s] after the arm began to move that are not measured


def latency(
    seconds: Annotated[float, typer.Option(min=1.0, help="Time to measure each case for [s].")] = 30.0,
    policies: Annotated[str, typer.Option(help="Policies to measure: state, vision, or both with a comma.")] = (
        "state,vision"
    ),
    rates: Annotated[str, typer.Option(help="Control rates [Hz], with commas.")] = "100,50",
    swaps: Annotated[
        int, typer.Option(min=0, help="Measure each case on while the policy changes so many times in motion.")
    ] = 0,
    lerobot_python: Annotated[
        Path | None, typer.Option(help="Interpreter that has LeRobot; its policy server is measured beside.")
    ] = None,
    task: Annotated[str, typer.Option(help="Task by name.")] = "reach",
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph that is started.")] = "bench",
    seed: Annotated[int, typer.Option(min=0, help="Of policy and episodes.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time from a measurement to the permitted command, through real processes over DDS, beside the bare network.

    Paced, with the whole graph; its trainer is paused (`physai bench isolation` measures it). The policy that sees has
    two cameras of 84x84 at 30 Hz, whose frames are replayed. A deadline is missed when a measurement within an episode
    is not answered by the policy within the control period. Instants are those at which messages were published.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json

    console = Console()
    cases = [(policy, rate) for policy in _policies(policies) for rate in _rates(rates)]
    rows = []
    for policy, rate in cases:
        with console.status(f"{policy} policy at {rate:g} Hz: measuring for {seconds:g} s"):
            options = {"task": task, "namespace": namespace, "seed": seed, "lerobot": lerobot_python}
            rows.append(measure_case(policy, rate, seconds, swaps, **options))
    table = Table(title=f"latency, {task}: measurement to permitted command [ms]", title_justify="left", box=None)
    names = ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms", "missed_share")
    names += ("observation_age_p50_ms", "observation_age_p99_ms", "bare_forward_ms")
    for name in ("case", *(name.removesuffix("_ms").replace("_", " ") for name in names)):
        table.add_column(name, justify="left" if name == "case" else "right")
    for row in rows:
        table.add_row(f"{row['policy']} {row['rate']:g} Hz", *(f"{row[name]:.3g}" for name in names))
    console.print(table)
    if swaps:
        console.print(_swap_table(rows, swaps))
    if lerobot_python is not None:
        console.print(_lerobot_table(rows))
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
        figures |= {f"{policy}_{name}": row[name] for name in SWAP_FIGURES + LEROBOT_FIGURES if name in row}
    measured = [row for row in chosen.values() if row]
    figures["observation_age_p99_ms"] = max((row["observation_age_p99_ms"] for row in measured), default=nan)
    figures["missed_share"] = max((row["missed_share"] for row in measured), default=nan)
    figures["bare_forward_ms"] = chosen["state"].get("bare_forward_ms", nan)
    return figures


def measure_case(
    policy: str,
    rate: float,
    seconds: float,
    swaps: int = 0,
    *,
    task: str,
    namespace: str,
    seed: int,
    lerobot: Path | None = None,
) -> dict[str, Any]:
    """The row of one policy at one control rate [Hz], measured for so many seconds, and as long again with swaps.

    Beside it the bare network, and with `lerobot`, an interpreter, the same network behind LeRobot's server, both once
    the graph has ended.

    Raises:
        TimeoutError: the graph did not come up, or nothing was answered.
    """
    from physai_ros.cli.bench_policies import bare_forward, robot_at
    from physai_ros.cli.bench_swaps import ROUNDS, SwapLog, add_versions, swap_figures, swapping
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.robot.spec import RobotSpec

    with moving_graph(policy, rate, task=task, namespace=namespace, seed=seed) as (graph, monitor, tap):
        record = record_of(tap)
        registry = PolicyRegistry(graph.run / "registry")
        versions = add_versions(registry) if swaps else []
        log = SwapLog(tap, RobotSpec.load(robot_at(rate, graph.run))) if swaps else None
        pause_training(monitor, paused=True)
        window = watch(monitor, tap, seconds)
        swapped: list[tuple[float, float]] = []
        if log is not None:
            asked = swapping(monitor, versions, seconds / swaps)
            while len(log.changes(swapped)) < swaps and len(swapped) < ROUNDS:
                swapped.append(watch(monitor, tap, seconds, settle=0.0, meanwhile=lambda: next(asked)))
        loaded = registry.load(registry.current()[0])
    beside = bare_forward(loaded)
    if lerobot is not None:
        from physai_ros.cli.bench_lerobot import measure_lerobot

        beside |= measure_lerobot(lerobot, loaded, rate, seconds)
    row = record.figures(1.0 / rate, [window])
    if log is not None:
        row |= {"swaps": swaps} | swap_figures(record, log, 1.0 / rate, [window], swapped)
    if not row["answered"]:
        raise TimeoutError(f"no measurement was answered within {seconds:g} s; measure longer with --seconds")
    named = {"case": f"{policy} policy, {rate:g} Hz, paced", "policy": policy, "rate": rate, "task": task}
    return named | {"seconds": seconds} | row | beside


@contextmanager
def moving_graph(
    policy: str,
    rate: float,
    *,
    task: str,
    namespace: str,
    seed: int,
    more: dict[str, dict[str, object]] | None = None,
) -> Iterator[tuple[SupervisedGraph, GraphMonitor, ControlTap]]:
    """A graph whose arm moves by a policy at a control rate [Hz], and a tap on its control loop."""
    from contextlib import ExitStack

    from physai_ros.cli.bench_policies import CAMERAS, SIZE, prepare_seeing, robot_at, temporary_folder
    from physai_ros.cli.camera_replay import replayed
    from physai_ros.cli.control_tap import ControlTap
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
        monitor.hear_control(False)  # the tap does, for less
        yield graph, monitor, stack.enter_context(ControlTap(namespace))


def record_of(tap: ControlTap) -> LatencyRecord:
    """A record that is filled by what is taken from the tap from now on."""
    from physai_ros.cli.latency_record import LatencyRecord
    from physai_ros.msg import DriverState, RobotAction, SafeCommand
    from physai_ros.ros.stamps import seconds_of

    record = LatencyRecord()

    def on_action(message: RobotAction, _instant: float) -> None:
        age = seconds_of(message.header.stamp) - seconds_of(message.observation_stamp)
        record.proposal(message.sequence, message.state_sequence, message.episode_id, age)

    def on_command(message: SafeCommand, instant: float) -> None:
        if message.source == SafeCommand.SOURCE_POLICY:
            record.permitted(message.proposed_sequence, instant)

    heard: dict[type, Callable[[Any, float], None]] = {
        DriverState: lambda message, instant: record.state(message.sequence, instant),
        RobotAction: on_action,
        SafeCommand: on_command,
    }
    tap.hooks.append(lambda message, instant: heard[type(message)](message, instant))
    return record


def watch(
    monitor: GraphMonitor,
    tap: ControlTap,
    seconds: float,
    settle: float = _SETTLE,
    meanwhile: Callable[[], object] | None = None,
) -> tuple[float, float]:
    """Begin and end [s] of a measurement of this length, with the tap emptied and stops resumed meanwhile.

    `meanwhile` is called again and again, about every 10 ms where there is one.
    """
    from std_srvs.srv import Trigger

    from physai_ros.cli.control_tap import without_pauses
    from physai_ros.msg import SafetyStatus

    time.sleep(settle)
    with without_pauses():
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            if monitor.safety is not None and monitor.safety.state == SafetyStatus.STOPPED:
                with suppress(TimeoutError):  # asked again half a second later
                    monitor.call(Trigger, "resume", Trigger.Request(), timeout=2.0)
            until = min(time.monotonic() + 0.5, begin + seconds)
            while meanwhile is not None and time.monotonic() < until:
                meanwhile()
                time.sleep(0.01)
            time.sleep(max(0.0, until - time.monotonic()))
            tap.take()
    return begin, begin + seconds


def pause_training(monitor: GraphMonitor, *, paused: bool) -> None:
    """Have the trainer of a graph wait, or go on."""
    from std_srvs.srv import SetBool

    monitor.call(SetBool, "pause_training", SetBool.Request(data=paused), timeout=30.0)


def _swap_table(rows: list[dict[str, Any]], swaps: int) -> Table:
    """The same cases with and without swaps, one under the other."""
    from rich.table import Table

    title = f"{swaps} changes of the policy in motion, beside the same graph without"
    table = Table(title=title, title_justify="left", box=None)
    head = ("case", "in mid-episode", "p50", "p99", "max", "missed share", "missed at the change", "jerk of limit")
    for name in head:
        table.add_column(name, justify="left" if name == "case" else "right")
    for row in rows:
        case = f"{row['policy']} {row['rate']:g} Hz"
        names = ("p50_ms", "p99_ms", "max_ms", "missed_share")
        table.add_row(case, "", *(f"{row[name]:.3g}" for name in names), "", f"{row['jerk_of_limit']:.3g}")
        names = (*names, "late_share", "jerk_of_limit")
        table.add_row(
            f"{case}, swapped", str(row["swaps_in_motion"]), *(f"{row[f'swaps_{name}']:.3g}" for name in names)
        )
    return table


def _lerobot_table(rows: list[dict[str, Any]]) -> Table:
    """The same network behind LeRobot's server, under each case of the graph."""
    from rich.table import Table

    title = (
        "the same network behind LeRobot's policy server: observation to action at its client, nothing else in between"
    )
    table = Table(title=title, title_justify="left", box=None)
    names = ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms", "missed_share")
    for name in ("case", *(name.removesuffix("_ms").replace("_", " ") for name in names)):
        table.add_column(name, justify="left" if name == "case" else "right")
    for row in rows:
        table.add_row(f"{row['policy']} {row['rate']:g} Hz", *(f"{row[f'lerobot_{name}']:.3g}" for name in names))
    return table


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
