"""Pictures come back as they went, in every encoding."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from physai_ros.ros.images import (
    decode_depth,
    decode_rgb,
    depth_array,
    depth_message,
    image_message,
    intrinsics_of,
    rgb_array,
)

PICTURE = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_a_picture_comes_back_the_same() -> None:
    message = image_message(PICTURE, 1.25, "wrist_optical_frame")
    assert np.array_equal(rgb_array(message), PICTURE)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 250_000_000)


@pytest.mark.parametrize(("encoding", "order"), [("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])])
def test_other_encodings_and_padded_rows(encoding: str, order: list[int]) -> None:
    message = image_message(PICTURE, 0.0, "")
    rows = PICTURE[..., order].reshape(5, -1)
    message.encoding, message.step = encoding, rows.shape[1] + 4
    message.data = np.pad(rows, ((0, 0), (0, 4))).tobytes()
    assert np.array_equal(rgb_array(message), PICTURE)
    assert np.array_equal(decode_rgb(message), PICTURE)


def test_depth_comes_back_the_same() -> None:
    depth = np.random.default_rng(2).uniform(0.2, 4.0, (5, 7)).astype(np.float32)
    depth[2, 3] = np.nan
    message = depth_message(depth, 1.25, "wrist_optical_frame")
    assert np.array_equal(depth_array(message), depth, equal_nan=True)
    assert np.array_equal(decode_depth(message), depth, equal_nan=True)
    with pytest.raises(ValueError, match="expected \\(height, width\\) float32"):
        depth_message(depth.astype(float), 0.0, "")


def test_depth_in_millimetres_is_the_same_by_either_conversion() -> None:
    millimetres = np.random.default_rng(3).integers(0, 3, (5, 7)).astype(np.uint16) * 700
    message = depth_message(np.zeros((5, 7), np.float32), 0.0, "")
    message.encoding, message.step, message.data = "16UC1", 14, millimetres.tobytes()
    expected = np.where(millimetres, millimetres * np.float32(0.001), np.nan)
    assert np.array_equal(depth_array(message), expected, equal_nan=True)
    assert np.array_equal(decode_depth(message), expected, equal_nan=True)
    message.encoding = "rgb8"
    with pytest.raises(ValueError, match="expected one of 16UC1, 32FC1"):
        depth_array(message)


def test_camera_info_is_read_with_its_region_and_binning() -> None:
    info = CameraInfo(height=480, width=640, distortion_model="plumb_bob", d=[0.0] * 5, binning_x=2, binning_y=4)
    info.k = [600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0]
    info.roi = RegionOfInterest(x_offset=20, y_offset=40, height=200, width=300)
    known = intrinsics_of(info)
    assert (known.height, known.width, known.focal) == (50, 150, (300.0, 152.5))
    assert known.center == (300.5 / 2 - 0.5, 200.5 / 4 - 0.5)


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match="expected \\(height, width, 3\\) uint8"):
        image_message(PICTURE.astype(float), 0.0, "")
    message = image_message(PICTURE, 0.0, "")
    message.encoding = "16UC1"
    with pytest.raises(ValueError, match="expected one of rgb8"):
        rgb_array(message)
    message = image_message(PICTURE, 0.0, "")
    message.height = 6
    with pytest.raises(ValueError, match="expected 126"):
        decode_rgb(message)
