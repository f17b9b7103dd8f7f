"""Cameras that show recorded pictures again, in a process of their own: what draws pictures must not take the cores.

Called as `python -m physai_ros.cli.camera_replay FILE --ros-args ...` with a JSON file {frames, rate, height, width}.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def write_frames(path: Path, frames: dict[str, np.ndarray]) -> Path:
    """Keep frames (n, height, width, 3) uint8 by camera in a file; returns its path."""
    np.savez(path, **frames)
    return path


@contextmanager
def replayed(frames: Path, rate: float, namespace: str, size: tuple[int, int] | None = None) -> Iterator[int]:
    """Show the frames of a file on camera/<name>/image_raw at a rate [Hz] while the block lasts; gives the process id.

    `size` (height, width) makes them larger or smaller first; None: as they are.
    """
    settings = {"frames": str(frames), "rate": rate, "size": size}
    file = frames.with_suffix(".json")
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "physai_ros.cli.camera_replay", str(file), "--ros-args"]
    process = subprocess.Popen([*command, "-r", f"__ns:=/{namespace.strip('/')}"])
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def main(arguments: list[str]) -> None:
    """Publish until told to stop, stamped with the driver's clock as it is heard."""
    import signal

    import cv2
    import rclpy
    from rclpy.clock import Clock, ClockType
    from sensor_msgs.msg import Image

    from physai_ros import msg
    from physai_ros.ros import qos
    from physai_ros.ros.executor import ControlExecutor
    from physai_ros.ros.images import image_message
    from physai_ros.ros.stamps import seconds_of, set_time

    settings = json.loads(Path(arguments[0]).read_text())
    rclpy.init(args=arguments[1:])
    node = rclpy.create_node("camera_replay")
    messages: dict[str, list[Image]] = {}
    with np.load(settings["frames"]) as frames:
        for name, pictures in frames.items():
            if settings["size"] is not None:
                height, width = settings["size"]
                pictures = [cv2.resize(picture, (width, height)) for picture in pictures]
            messages[name] = [image_message(picture, 0.0, f"{name}_optical_frame") for picture in pictures]
    publishers = {
        name: node.create_publisher(Image, f"camera/{name}/image_raw", qos.SENSOR_WRITER) for name in messages
    }
    ahead: list[float] = []  # of the driver's clock before the steady one [s]
    shown = 0

    def on_driver(message: msg.DriverState) -> None:
        ahead[:] = [seconds_of(message.header.stamp) - time.monotonic()]

    def show() -> None:
        nonlocal shown
        if not ahead:
            return
        for name, pictures in messages.items():
            picture = pictures[shown % len(pictures)]
            set_time(picture.header.stamp, time.monotonic() + ahead[0])
            publishers[name].publish(picture)
        shown += 1

    node.create_subscription(msg.DriverState, "driver_state", on_driver, qos.CONTROL)
    node.create_timer(1.0 / settings["rate"], show, clock=Clock(clock_type=ClockType.STEADY_TIME))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    executor = ControlExecutor()
    executor.add_node(node)
    while rclpy.ok():
        executor.spin_once(timeout_sec=0.2)


if __name__ == "__main__":
    from physai_ros.deployment.environment import prepare_process

    prepare_process()
    main(sys.argv[1:])
