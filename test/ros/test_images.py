"""Pictures come back as they went, in every encoding."""

import numpy as np
import pytest

from physai_ros.ros.images import decode_rgb, image_message, rgb_array

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
