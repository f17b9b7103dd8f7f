"""A picture of what the graph's markers show, for whoever has no RViz: `python -m physai_ros.cli.scene`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from visualization_msgs.msg import Marker, MarkerArray

TOPICS = ("markers", "learning_markers")
_BALLS = (Marker.SPHERE, Marker.POINTS)


def draw_markers(markers: Iterable[Marker], path: Path) -> None:
    """Draw markers in their common frame into a PNG, seen from the side and from above.

    Boxes are drawn by their edges, texts beside the picture in the order of their height.
    """
    markers = list(markers)
    figure = Figure(figsize=(13, 7))
    views = [figure.add_subplot(1, 2, 1, projection="3d"), figure.add_subplot(1, 2, 2, projection="3d")]
    for view, (elevation, azimuth) in zip(views, ((20, -60), (90, -90)), strict=True):
        view.view_init(elevation, azimuth)
        for marker in markers:
            _draw(view, marker)
        view.set_xlabel("x [m]")
        view.set_ylabel("y [m]")
        view.set_zlabel("z [m]")
        view.set_box_aspect((1, 1, 1))
    words = sorted((m for m in markers if m.type == Marker.TEXT_VIEW_FACING), key=lambda m: -m.pose.position.z)
    figure.text(0.01, 0.98, "\n".join(m.text for m in words), va="top", fontsize=8, family="monospace")
    figure.savefig(path, dpi=90)


def _draw(view: Axes, marker: Marker) -> None:
    colour = (marker.color.r, marker.color.g, marker.color.b, marker.color.a)
    position = np.array([marker.pose.position.x, marker.pose.position.y, marker.pose.position.z])
    points = np.array([[p.x, p.y, p.z] for p in marker.points]).reshape(-1, 3)
    if marker.type == Marker.LINE_LIST:
        for first, second in points.reshape(-1, 2, 3):
            view.plot(*np.array([first, second]).T, color=colour, linewidth=1)
    elif marker.type in (Marker.LINE_STRIP, Marker.ARROW):
        view.plot(*points.T, color=colour, linewidth=2)
    elif marker.type == Marker.POINTS:
        colours = [(c.r, c.g, c.b, c.a) for c in marker.colors] or [colour]
        view.scatter(*points.T, c=colours, s=6)
    elif marker.type == Marker.SPHERE:
        view.scatter(*position[:, np.newaxis], color=[colour], s=60)
    elif marker.type == Marker.CUBE:
        half = np.array([marker.scale.x, marker.scale.y, marker.scale.z]) / 2.0
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
        turn = marker.pose.orientation
        corners = _turned(corners, np.array([turn.w, turn.x, turn.y, turn.z])) + position
        for i in range(8):
            for bit in (1, 2, 4):
                if not i & bit:
                    view.plot(*corners[[i, i | bit]].T, color=colour, linewidth=1)


def _turned(points: np.ndarray, quaternion_wxyz: np.ndarray) -> np.ndarray:
    w, axis = quaternion_wxyz[0], quaternion_wxyz[1:]
    return points + 2.0 * np.cross(axis, np.cross(axis, points) + w * points)


def scene(
    out: Annotated[Path, typer.Option(help="PNG to be written.")] = Path("scene.png"),
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph.")] = "physai",
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to listen [s].")] = 3.0,
) -> None:
    """Listen to the running graph for a moment and draw its markers."""
    import rclpy

    from physai_ros.ros import qos

    with rclpy.init():
        node = rclpy.create_node("scene", namespace=namespace)
        newest: dict[str, MarkerArray] = {}
        for topic in TOPICS:
            node.create_subscription(MarkerArray, topic, lambda m, topic=topic: newest.update({topic: m}), qos.EVENT)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.1)
        node.destroy_node()
    if not newest:
        raise typer.BadParameter(f"no markers came from /{namespace} within {seconds:g} s; does the graph run?")
    draw_markers([marker for array in newest.values() for marker in array.markers], out)
    typer.echo(f"{out}: {sum(len(array.markers) for array in newest.values())} markers of {', '.join(sorted(newest))}")


if __name__ == "__main__":
    typer.run(scene)
