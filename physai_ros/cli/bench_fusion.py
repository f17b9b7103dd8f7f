"""`physai bench fusion`: what the fusion adds to a measurement on its way to the policy, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rclpy.node import Node

    from physai_ros.ros.executor import ControlExecutor

HEIGHT, WIDTH = 480, 640
JOINT_RATE, WRENCH_RATE, CAMERA_RATE = 100, 100, 30.0
_PATIENCE = 120.0  # [s] for processes to come up on a busy machine
_SETTLE = 2.0  # [s] at the start that are not measured
_PRIORITY = 50  # as in config/graphs, where the system permits it
_FRAMES, _FILMED = 12, (120, 160)  # pictures are drawn small, which is quick, and shown large


def fusion(
    seconds: Annotated[float, typer.Option(min=2.0, max=3600.0, help="Time to measure each case for [s].")] = 20.0,
    namespace: Annotated[str, typer.Option(help="ROS namespace that is used.")] = "bench_fusion",
    seed: Annotated[int, typer.Option(min=0, help="Of the filmed episode.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time from `driver_state` written to `robot_state` heard, and CPU of the fusion, a process of its own over DDS.

    Three cases: joints, wrench (100 Hz each) and two cameras of 640x480 at 30 Hz, whose frames are replayed; joints and
    wrench without cameras; and, in the fusion's place, a node that only passes `driver_state` on, which shows what
    rclpy and DDS cost by themselves.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.bench_policies import film, temporary_folder
    from physai_ros.cli.camera_replay import write_frames
    from physai_ros.cli.results import write_json

    console = Console()
    with console.status("measuring"), temporary_folder() as folder:
        frames = write_frames(Path(folder) / "frames.npz", film("reach", _FRAMES, _FILMED, seed))
        rows = [
            measure("fusion, joints, wrench, 2 cameras", seconds, namespace, frames=frames),
            measure("fusion, joints, wrench", seconds, namespace),
            measure("relay alone", seconds, namespace, relay=True),
        ]
    table = Table(title="fusion: driver_state to robot_state", title_justify="left", box=None)
    names = ("p50_ms", "p99_ms", "p999_ms", "max_ms", "lost_share", "cpu_share")
    for name in ("case", *names):
        table.add_column(name, justify="left" if name == "case" else "right")
    for row in rows:
        table.add_row(row["case"], *(f"{row[name]:.3g}" for name in names))
    console.print(table)
    full, blind, bare = rows
    figures = {
        "added_latency_p50_ms": full["p50_ms"],
        "added_latency_p99_ms": full["p99_ms"],
        "cpu_share": full["cpu_share"],
        "cpu_per_message_ms": full["cpu_per_message_ms"],
        "without_cameras_p99_ms": blind["p99_ms"],
        "without_cameras_cpu_share": blind["cpu_share"],
        "relay_p99_ms": bare["p99_ms"],
        "relay_cpu_share": bare["cpu_share"],
        "lost_share": full["lost_share"],
        "observations_per_second": full["observations"] / full["seconds"],
        "observation_age_p99_ms": full["observation_age_p99_ms"],
    }
    if json_file is not None:
        write_json(json_file, "bench fusion", seed, figures, rows=rows)


def measure(
    case: str, seconds: float, namespace: str, *, frames: Path | None = None, relay: bool = False
) -> dict[str, Any]:
    """The row of one case.

    Raises:
        TimeoutError: a process did not come up.
    """
    from contextlib import ExitStack

    import psutil
    import rclpy

    from physai_ros.cli.camera_replay import replayed
    from physai_ros.cli.live_graph import real_time_threads
    from physai_ros.deployment.environment import talk_as_simulated
    from physai_ros.ros.executor import ControlExecutor

    talk_as_simulated()
    with ExitStack() as stack:
        context = rclpy.Context()
        rclpy.init(context=context)
        stack.callback(context.try_shutdown)
        with real_time_threads():  # the threads of DDS, as those of a driver
            node = rclpy.create_node("source", namespace=namespace, context=context)
        executor = ControlExecutor(context=context)
        executor.add_node(node)
        stack.callback(node.destroy_node)
        stack.callback(executor.shutdown)
        source = Source(node, executor, wrench=not relay)
        child = stack.enter_context(_relay(namespace) if relay else _fusion(node, executor, namespace, frames))
        if frames is not None:
            stack.enter_context(replayed(frames, CAMERA_RATE, namespace, (HEIGHT, WIDTH)))
        process = psutil.Process(child)
        source.play(_SETTLE, until=lambda: source.heard(pictures=frames is not None))
        source.forget()
        before = sum(process.cpu_times()[:2])
        with real_time_threads():
            source.play(seconds)
        return {"case": case, "seconds": seconds, **source.row(sum(process.cpu_times()[:2]) - before, seconds)}


@contextmanager
def _fusion(node: Node, executor: ControlExecutor, namespace: str, frames: Path | None) -> Iterator[int]:
    """Process id of a fusion that is active."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    from physai_ros.cli.bench_policies import CAMERAS
    from physai_ros.cli.live_graph import real_time_threads

    arguments = ["-r", f"__ns:=/{namespace}", "-p", "task:=reach", "-p", "wrench_topic:=wrench"]
    if frames is not None:
        arguments += ["-p", "cameras:=[" + ", ".join(f"'{name}'" for name in CAMERAS) + "]"]
    with real_time_threads(_PRIORITY):
        child = subprocess.Popen([sys.executable, "-m", "physai_ros.nodes.sensor_fusion", "--ros-args", *arguments])
    try:
        client = node.create_client(ChangeState, "sensor_fusion/change_state")
        _until(executor, client.service_is_ready, "the fusion")
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            answer = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
            _until(executor, answer.done, "a transition of the fusion")
            if not answer.result().success:
                raise RuntimeError("the fusion refused a transition; see what it says above")
        yield child.pid
    finally:
        child.terminate()
        child.wait()


@contextmanager
def _relay(namespace: str) -> Iterator[int]:
    """Process id of a node that passes `driver_state` on as the fusion would, and does nothing else."""
    from physai_ros.cli.live_graph import real_time_threads

    code = "from physai_ros.cli.bench_fusion import relay; relay()"
    with real_time_threads(_PRIORITY):
        child = subprocess.Popen([sys.executable, "-c", code, "--ros-args", "-r", f"__ns:=/{namespace}"])
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait()


def relay() -> None:
    """Answer every `driver_state` with an empty `robot_state` of its sequence, until told to stop."""
    import signal

    import rclpy

    from physai_ros import msg
    from physai_ros.ros import qos
    from physai_ros.ros.executor import ControlExecutor

    rclpy.init(args=sys.argv)
    node = rclpy.create_node("relay")
    publisher = node.create_publisher(msg.RobotState, "robot_state", qos.CONTROL_WRITER)

    def pass_on(message: msg.DriverState) -> None:
        publisher.publish(msg.RobotState(sequence=message.sequence))

    node.create_subscription(msg.DriverState, "driver_state", pass_on, qos.CONTROL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    executor = ControlExecutor()
    executor.add_node(node)
    while rclpy.ok():
        executor.spin_once(timeout_sec=0.2)


def _until(executor: ControlExecutor, condition: Any, what: str) -> None:  # noqa: ANN401 a callable
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {_PATIENCE:.0f} s")
        executor.spin_once(timeout_sec=0.05)


class Source:
    """Writes what a driver and a wrist sensor would, in real time, and hears what the fusion makes of it."""

    def __init__(self, node: Node, executor: ControlExecutor, *, wrench: bool) -> None:
        from geometry_msgs.msg import WrenchStamped

        from physai_ros import msg
        from physai_ros.robot.spec import RobotSpec
        from physai_ros.ros import qos

        spec = RobotSpec.load("fr3_sim")
        self._executor = executor
        self._drive = node.create_publisher(msg.DriverState, "driver_state", qos.CONTROL_WRITER)
        self._feel = node.create_publisher(WrenchStamped, "wrench", qos.SENSOR_WRITER) if wrench else None
        node.create_subscription(msg.RobotState, "robot_state", self._on_state, qos.CONTROL)
        node.create_subscription(msg.Observation, "observation", self._on_observation, qos.SENSOR)
        home, still = spec.home_positions.tolist(), [0.0] * len(spec.joint_names)
        self._state = msg.DriverState(joint_names=list(spec.joint_names), contact_forces=[0.0, 0.0])
        self._state.joint_positions = self._state.commanded_positions = home
        self._state.joint_velocities = self._state.joint_torques = still
        self._wrench = WrenchStamped()
        self._sequence = 0
        self._invalid = ""
        self.forget()

    def forget(self) -> None:
        """Begin to measure anew."""
        self._written: dict[int, float] = {}
        self._latencies: list[float] = []
        self._ages: list[float] = []
        self._observations = 0

    def heard(self, *, pictures: bool) -> bool:
        """Whether states come back, and pictures where there are cameras."""
        return bool(self._latencies) and (not pictures or self._observations > 0)

    def play(self, seconds: float, until: Any = lambda: True) -> None:  # noqa: ANN401 a callable
        """Write for so many seconds, and go on until a condition holds.

        Raises:
            TimeoutError: it did not hold.
        """
        from physai_ros.ros.stamps import set_time

        began, cycle = time.monotonic(), 0
        while cycle < seconds * JOINT_RATE or not until():
            if cycle > (seconds + _PATIENCE) * JOINT_RATE:
                raise TimeoutError(f"nothing came back within {_PATIENCE:.0f} s")
            cycle += 1
            while (left := began + cycle / JOINT_RATE - time.monotonic()) > 0:
                self._executor.spin_once(timeout_sec=left)
            self._sequence += 1
            now = time.monotonic()
            if self._feel is not None and cycle % (JOINT_RATE // WRENCH_RATE) == 0:
                set_time(self._wrench.header.stamp, now)
                self._wrench.wrench.force.z = 0.01 * (cycle % 100)
                self._feel.publish(self._wrench)
            set_time(self._state.header.stamp, now)
            self._state.sequence = self._sequence
            self._written[self._sequence] = time.monotonic()
            self._drive.publish(self._state)

    def row(self, cpu: float, seconds: float) -> dict[str, Any]:
        """Figures of what was heard, for so much CPU time [s] of the process that is measured."""
        import numpy as np

        from physai_ros.cli.latency_record import PERCENTILES

        times = 1e3 * np.array(self._latencies)
        if not len(times):
            raise RuntimeError("no state came back; see what the fusion says above")
        written = len(self._written)
        messages = written * (2 if self._feel is not None else 1) + 2 * self._observations
        return {
            **{name: float(np.percentile(times, share)) for name, share in PERCENTILES.items()},
            "max_ms": float(times.max()),
            "lost_share": 1.0 - len(times) / written,
            "cpu_share": cpu / seconds,
            "cpu_per_message_ms": 1e3 * cpu / messages,
            "observations": self._observations,
            "observation_age_p99_ms": 1e3 * float(np.percentile(self._ages, 99)) if self._ages else float("nan"),
            "invalid": self._invalid,
        }

    def _on_state(self, message: Any) -> None:  # noqa: ANN401 a RobotState
        written = self._written.get(message.sequence)
        if written is not None:
            self._latencies.append(time.monotonic() - written)
        self._invalid = ", ".join(f"{each.name}: {each.reason}" for each in message.modalities if not each.valid)

    def _on_observation(self, message: Any) -> None:  # noqa: ANN401 an Observation
        from physai_ros.ros.stamps import seconds_of

        self._observations += 1
        self._ages += [time.monotonic() - seconds_of(image.header.stamp) for image in message.images]
