"""What the cameras have shown: message and arrays."""

from __future__ import annotations

import numpy as np

from physai_ros import msg
from physai_ros.fusion.camera_timeline import CameraObservation
from physai_ros.ros.images import depth_message, image_message, rgb_array
from physai_ros.ros.stamps import seconds_of, set_time


def observation_message(observation: CameraObservation, frame: str) -> msg.Observation:
    """The message of a picture, colour or depth, and the state that it belongs to, with the instant of its exposure."""
    message = msg.Observation(state_sequence=observation.sequence, camera_names=[observation.camera])
    message.ages = [observation.age]
    set_time(message.header.stamp, observation.stamp)
    message.header.frame_id = frame
    picture, frame_id = observation.picture, f"{observation.camera}_optical_frame"
    make = image_message if picture.ndim == 3 else depth_message
    message.images = [make(picture, observation.stamp, frame_id)]
    return message


def pictures_of(message: msg.Observation) -> dict[str, tuple[float, np.ndarray]]:
    """Instant of exposure [s] and picture (height, width, 3) uint8 by camera.

    Raises:
        ValueError: there are not as many names as pictures, or one is no picture.
    """
    if len(message.camera_names) != len(message.images):
        raise ValueError(
            f"observation: {len(message.camera_names)} cameras and {len(message.images)} pictures; expected as many"
        )
    return {
        name: (seconds_of(image.header.stamp), rgb_array(image))
        for name, image in zip(message.camera_names, message.images, strict=True)
    }
