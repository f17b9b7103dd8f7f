"""Shows an operator how the scene is to be set up: the start frame over what the camera sees now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Image

from physai_ros import msg
from physai_ros.evaluation.start_frames import StartFrames, mismatch, overlay
from physai_ros.ros import qos
from physai_ros.ros.images import image_message, rgb_array
from physai_ros.ros.stamps import seconds_of


class StartOverlay:
    """Publishes `start_overlay` while a scene is set up that was seen before, and keeps the first frame of each.

    Where no camera sends `observation` there is nothing to show, and the operator goes by the poses in
    `workcell_request` alone.
    """

    def __init__(self, node: Node, group: CallbackGroup, say: Callable[[str], None]) -> None:
        self._frames: StartFrames | None = None
        self._say = say
        self._scenario = ""
        self._running = False
        self._said = False
        self._camera = ""
        self._publisher = node.create_publisher(Image, "start_overlay", qos.EVENT)
        self._subscription = node.create_subscription(
            msg.Observation, "observation", self._on_observation, qos.SENSOR, callback_group=group
        )

    def set_up(self, scenario_json: str, folder: Path | None) -> None:
        """A scene is to be set up; its pictures lie in `folder`."""
        self._frames = StartFrames(folder) if folder is not None else None
        self._scenario, self._running, self._said = scenario_json, False, False

    def begun(self) -> None:
        """The episode runs: what the camera sees next is how it started."""
        self._running = True

    def done(self) -> None:
        """Nothing is to be shown or kept."""
        self._scenario = ""

    def _on_observation(self, message: msg.Observation) -> None:
        if not self._scenario or self._frames is None or not message.images:
            return
        # Cameras come by turns; a scene is compared through one of them, the first that was heard.
        camera = message.camera_names[0] if message.camera_names else ""
        self._camera = self._camera or camera
        if camera != self._camera:
            return
        live = rgb_array(message.images[0])
        if self._running:
            self._frames.keep(self._scenario, live)
            self._scenario = ""
            return
        reference = self._frames.reference(self._scenario)
        if reference is None:
            return
        of = message.images[0].header
        self._publisher.publish(image_message(overlay(reference, live), seconds_of(of.stamp), of.frame_id))
        if not self._said:
            self._said = True
            self._say(
                f"start_overlay shows how the scene was: {100 * mismatch(reference, live):.1f} % off now; "
                f"the picture itself is {self._frames.path(self._scenario)}"
            )
