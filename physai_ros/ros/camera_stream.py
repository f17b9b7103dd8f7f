"""One camera's topics, colour or depth: its pictures, and what its `camera_info` says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from physai_ros.fusion.camera_timeline import CameraObservation, CameraTimeline
from physai_ros.ros.images import intrinsics_of
from physai_ros.ros.stamps import seconds_of

_STAMP_END = 12  # of a serialized message that begins with a header


@dataclass
class CameraStream:
    """Takes a camera's messages to its timeline."""

    timeline: CameraTimeline
    camera: str
    decode: Callable[[Image | CompressedImage], np.ndarray]
    _told: bytes = b""

    def take_picture(self, message: Image | CompressedImage, lock_step: bool = False) -> CameraObservation | None:
        """What a picture shows; None where it is dropped. In lock-step one that comes again is shown again.

        Raises:
            ValueError: it cannot be used; the timeline knows.
        """
        try:
            stamp, picture = seconds_of(message.header.stamp), self.decode(message)
            return self.timeline.add_picture(self.camera, stamp, picture, lock_step)
        except ValueError as error:
            self.timeline.refuse(self.camera, str(error))
            raise

    def take_info(self, serialized: bytes) -> None:
        """Keep a serialized `camera_info`; it comes with every picture, and is read when it says something new.

        Raises:
            ValueError: it cannot be used; the timeline knows.
        """
        told = serialized[_STAMP_END:]
        if told == self._told and self.timeline.has_calibration(self.camera):
            return
        self._told = told
        try:
            self.timeline.add_calibration(self.camera, intrinsics_of(deserialize_message(serialized, CameraInfo)))
        except ValueError as error:
            self.timeline.add_calibration(self.camera, str(error))
            raise
