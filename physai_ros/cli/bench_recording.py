"""`physai bench recording`: what it costs to write an episode with two cameras, and what is lost of each stream."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from rclpy.node import Node

CAMERAS = ("scene", "wrist")
HEIGHT, WIDTH = 480, 640
STATE_RATE, CAMERA_RATE = 100, 30
_JOINTS = [f"joint_{i}" for i in range(1, 8)]
_PATIENCE = 60.0  # [s] for a node to come up on a busy machine
_SETTLE = 2.0  # [s] at the start that are not measured


def recording(
    seconds: Annotated[float, typer.Option(min=2.0, max=600.0, help="Length of the episode [s].")] = 20.0,
    cameras: Annotated[int, typer.Option(min=0, max=2, help="Cameras of 640x480 at 30 Hz.")] = 2,
    namespace: Annotated[str, typer.Option(help="ROS namespace that is used.")] = "bench_recording",
    seed: Annotated[int, typer.Option(help="Of the pictures' noise.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Share of one core that the feedback collector takes for 100 Hz of states, actions and commands and two cameras.

    The collector is a process of its own, heard over DDS; pictures come raw and are compressed by it.
    """
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json

    result = measure(seconds, CAMERAS[:cameras], namespace, seed)
    table = Table("stream", "published", "kept", "lost", box=None)
    for row in result["rows"]:
        table.add_row(row["stream"], str(row["published"]), str(row["kept"]), str(row["lost"]))
    console = Console()
    console.print(table)
    figures = result["figures"]
    console.print(
        f"{figures['cpu_share']:.1%} of one core over {figures['seconds']:.1f} s, {figures['megabytes']:.1f} MB; "
        f"closing the episode took {figures['finish_cpu_seconds']:.2f} s of CPU"
    )
    if json_file is not None:
        write_json(json_file, "bench recording", seed, figures, rows=result["rows"])


def measure(seconds: float, cameras: tuple[str, ...], namespace: str, seed: int) -> dict[str, Any]:
    """Figures and rows of one episode that is published in real time.

    Raises:
        TimeoutError: the collector did not come up, or kept nothing.
    """
    import psutil
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from physai_ros.deployment.environment import talk_as_simulated
    from physai_ros.experience.store import EpisodeStore

    talk_as_simulated()
    with tempfile.TemporaryDirectory(prefix="physai-") as folder:
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node("source", namespace=namespace, context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        names = "[" + ", ".join(f"'{camera}'" for camera in cameras) + "]"
        arguments = ["-r", f"__ns:=/{namespace}", "-p", f"store:={folder}/store"]
        arguments += ["-p", f"cameras:={names}"] if cameras else []
        child = subprocess.Popen(
            [sys.executable, "-m", "physai_ros.nodes.feedback_collector", "--ros-args", *arguments]
        )
        try:
            source = _Source(node, cameras, seed)
            _bring_up(node, executor, source)
            process = psutil.Process(child.pid)
            published, measured = source.play(seconds, lambda: sum(process.cpu_times()[:2]))
            before = sum(process.cpu_times()[:2])
            store = EpisodeStore(f"{folder}/store")
            _until(executor, lambda: "bench" in store, "the episode")
            finish = sum(process.cpu_times()[:2]) - before
            summary = store.summary("bench")
            rows = [
                {
                    "stream": topic,
                    "published": count,
                    "kept": summary.streams.get(topic, {}).get("messages", 0),
                    "lost": max(0, count - summary.streams.get(topic, {}).get("messages", 0)),
                }
                for topic, count in sorted(published.items())
            ]
            figures = {
                "cpu_share": measured[1] / measured[0],
                "seconds": measured[0],
                "finish_cpu_seconds": finish,
                "megabytes": store.path("bench").stat().st_size / 1e6,
                "lost": sum(row["lost"] for row in rows),
            }
            return {"figures": figures, "rows": rows}
        finally:
            child.terminate()
            child.wait()
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()


def _bring_up(node: Node, executor: Any, source: _Source) -> None:  # noqa: ANN401 an executor of rclpy
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    client = node.create_client(ChangeState, "feedback_collector/change_state")
    _until(executor, client.service_is_ready, "the feedback collector")
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request()
        request.transition.id = transition
        answer = client.call_async(request)
        _until(executor, answer.done, "a transition")
        if not answer.result().success:
            raise RuntimeError("the feedback collector refused a transition; see what it says above")
    _until(executor, source.heard, "its subscriptions")


def _until(executor: Any, condition: Any, what: str) -> None:  # noqa: ANN401 an executor, a callable
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {_PATIENCE:.0f} s")
        executor.spin_once(timeout_sec=0.05)


class _Source:
    """Publishes what a running graph would, in real time."""

    def __init__(self, node: Node, cameras: tuple[str, ...], seed: int) -> None:
        import numpy as np
        from sensor_msgs.msg import Image

        from physai_ros import msg
        from physai_ros.ros import qos

        kinds = {
            "episode": (msg.EpisodeContext, qos.LATCHED),
            "robot_state": (msg.RobotState, qos.CONTROL_WRITER),
            "proposed_action": (msg.RobotAction, qos.CONTROL_WRITER),
            "safe_command": (msg.SafeCommand, qos.CONTROL_WRITER),
            "action_chunk": (msg.ActionChunk, qos.EVENT),
            "safety_status": (msg.SafetyStatus, qos.EVENT),
        }
        self._publishers = {topic: node.create_publisher(*kind[:1], topic, kind[1]) for topic, kind in kinds.items()}
        self._cameras = {
            name: node.create_publisher(Image, f"camera/{name}/image_raw", qos.SENSOR_WRITER) for name in cameras
        }
        generator = np.random.default_rng(seed)
        self._pictures = [_scene(index, generator) for index in range(8)]
        self._now = lambda: node.get_clock().now().to_msg()

    def heard(self) -> bool:
        """Whether somebody listens to everything."""
        everyone = [*self._publishers.values(), *self._cameras.values()]
        return all(publisher.get_subscription_count() for publisher in everyone)

    def play(self, seconds: float, cpu: Any) -> tuple[dict[str, int], tuple[float, float]]:  # noqa: ANN401 a callable
        """Messages published by topic of recording; the time they stand for and the CPU time [s] of what counts."""
        from physai_ros import msg

        published = dict.fromkeys(self._publishers, 0) | {f"camera/{name}/compressed": 0 for name in self._cameras}
        context = msg.EpisodeContext(episode_id="bench", phase=1, start_sequence=1, task="bench", scenario_json="{}")
        self._publish("episode", context, published)
        began, measured_from = time.monotonic(), None
        pictures = 0
        for cycle in range(1, round(seconds * STATE_RATE) + 1):
            due = began + cycle / STATE_RATE
            while (left := due - time.monotonic()) > 0:
                time.sleep(left)
            if measured_from is None and cycle / STATE_RATE >= min(_SETTLE, seconds / 4):
                measured_from = cycle, cpu()
            self._cycle(cycle, published)
            if cycle * CAMERA_RATE // STATE_RATE > pictures:
                pictures += 1
                for name, publisher in self._cameras.items():
                    image = self._pictures[pictures % len(self._pictures)]
                    image.header.stamp = self._now()
                    publisher.publish(image)
                    published[f"camera/{name}/compressed"] += 1
        # By what was published, not by the wall: a source that was late must not make the collector look cheap.
        measured = (cycle + 1 - measured_from[0]) / STATE_RATE, cpu() - measured_from[1]
        context.phase, context.end_reason = 2, "timeout"
        context.header.stamp = self._now()
        self._publish("episode", context, published)
        return published, measured

    def _cycle(self, sequence: int, published: dict[str, int]) -> None:
        from physai_ros import msg

        stamp, joints = self._now(), [0.001 * (sequence % 1000)] * len(_JOINTS)
        state = msg.RobotState(sequence=sequence, joint_names=_JOINTS, contact_forces=[0.0, 0.0])
        action = msg.RobotAction(sequence=sequence, state_sequence=sequence, episode_id="bench", joint_names=_JOINTS)
        command = msg.SafeCommand(sequence=sequence, state_sequence=sequence, proposed_sequence=sequence, source=1)
        state.joint_positions = state.joint_velocities = state.joint_torques = state.commanded_positions = joints
        action.reference_positions, action.ee_delta = joints, [0.0] * 6
        command.joint_names, command.positions, command.velocities = _JOINTS, joints, joints
        command.stop.time_step, command.stop.samples, command.stop.positions = 0.01, 30, joints * 30
        for topic, message in (("robot_state", state), ("proposed_action", action), ("safe_command", command)):
            message.header.stamp = stamp
            self._publish(topic, message, published)
        if sequence % (STATE_RATE // 10) == 0:
            chunk = msg.ActionChunk(chunk_id=sequence // 10, state_sequence=sequence, episode_id="bench", steps=16)
            chunk.ee_deltas, chunk.gripper_commands = [0.0] * 96, [0.0] * 16
            chunk.header.stamp = stamp
            self._publish("action_chunk", chunk, published)
            self._publish("safety_status", msg.SafetyStatus(margin_names=["position"], margins=[1.0]), published)

    def _publish(self, topic: str, message: object, published: dict[str, int]) -> None:
        self._publishers[topic].publish(message)
        published[topic] += 1


def _scene(index: int, generator: np.random.Generator) -> Any:  # noqa: ANN401 a sensor_msgs/Image
    """A scene with edges, gradients and the noise of a sensor, a little different from the others."""
    import cv2
    import numpy as np

    from physai_ros.ros.images import image_message

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) % 256], -1).astype(np.uint8)
    for _ in range(12):
        corner = generator.integers(0, (WIDTH, HEIGHT))
        colour = tuple(int(value) for value in generator.integers(0, 255, 3))
        cv2.rectangle(picture, tuple(map(int, corner)), tuple(map(int, corner + 60 + index)), colour, -1)
    noise = generator.normal(0, 4, picture.shape)
    return image_message(np.clip(picture + noise, 0, 255).astype(np.uint8), 0.0, "camera_optical_frame")
