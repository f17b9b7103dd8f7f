"""Depth in metres whatever a camera writes, and the points in space that it shows."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.fusion.depth import depth_of, depth_reason
from physai_ros.fusion.intrinsics import Intrinsics

SEEDS = st.integers(0, 2**32 - 1)
CAMERA = Intrinsics(480, 640, (600.0, 610.0), (320.0, 240.0))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from(["16UC1", "32FC1"]), st.booleans(), st.integers(0, 8))
def test_depth_is_in_metres_and_what_is_unknown_is_nan(seed: int, encoding: str, big: bool, padding: int) -> None:
    generator = np.random.default_rng(seed)
    millimetres = generator.integers(0, 65536, (4, 5))
    if encoding == "16UC1":
        pixels, expected = millimetres.astype(np.uint16), np.where(millimetres, millimetres / 1000, np.nan)
    else:
        pixels = (millimetres / 1000).astype(np.float32)
        pixels[generator.random((4, 5)) < 0.4] = generator.choice([np.nan, np.inf, -np.inf, -1.0])
        expected = np.where(np.isfinite(pixels) & (pixels > 0), pixels, np.nan)
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).view(np.uint8).reshape(4, -1)
    data = np.pad(rows, ((0, 0), (0, padding))).tobytes()
    depth = depth_of(encoding, 4, 5, rows.shape[1] + padding, data, big_endian=big)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("encoding", "step", "size", "reason"),
    [
        ("mono16", 10, 40, "one of 16UC1, 32FC1"),
        ("16UC1", 10, 39, "expected 40"),
        ("32FC1", 10, 40, "step of"),
    ],
)
def test_refusals_name_what_was_expected(encoding: str, step: int, size: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        depth_of(encoding, 4, 5, step, bytes(size))


@pytest.mark.parametrize(
    ("depth", "kind"),
    [
        (0.7, ""),
        (12.0, ""),
        (0.02, ""),
        (700.0, "units"),
        (0.0007, "units"),
        (30000.0, "range"),
        (np.nan, "not finite"),
    ],
)
def test_units_are_suspected_by_what_most_of_the_picture_shows(depth: float, kind: str) -> None:
    picture = np.full((9, 9), depth, dtype=np.float32)
    picture[:4] = 3.0 if not np.isnan(depth) else np.nan  # the smaller half
    assert depth_reason(picture).partition(":")[0] == kind


def test_a_point_lies_where_the_pinhole_says() -> None:
    # By hand, at u = 440, v = 118, z = 1.5: x = (440 - 320) / 600 * 1.5 = 0.3, y = (118 - 240) / 610 * 1.5 = -0.3.
    depth = np.full((480, 640), np.nan, dtype=np.float32)
    depth[118, 440] = 1.5
    points = CAMERA.points(depth)
    np.testing.assert_allclose(points[118, 440], [0.3, -0.3, 1.5], atol=1e-9)
    assert np.isfinite(points).all(axis=2).sum() == 1


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.booleans())
def test_points_are_seen_at_the_pixels_that_they_come_from(seed: int, distorted: bool) -> None:
    generator = np.random.default_rng(seed)
    distortion = tuple(generator.uniform(-0.02, 0.02, 5)) if distorted else ()
    camera = Intrinsics(12, 16, (20.0, 21.0), (7.3, 6.1), distortion)
    points = camera.points(generator.uniform(0.3, 2.0, (12, 16)))
    matrix = np.array([[20.0, 0.0, 7.3], [0.0, 21.0, 6.1], [0.0, 0.0, 1.0]])
    seen, _ = cv2.projectPoints(points.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), matrix, np.array(distortion))
    rows, columns = np.indices((12, 16))
    np.testing.assert_allclose(seen.reshape(12, 16, 2), np.stack([columns, rows], axis=2), atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4))
def test_a_picture_made_small_shows_the_middle_of_what_its_pixels_showed(down: int, across: int) -> None:
    camera = Intrinsics(4 * down, 6 * across, (9.0, 8.0), (11.0, 7.0))
    whole = camera.points(np.full((4 * down, 6 * across), 2.0)).reshape(4, down, 6, across, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(camera.resized(4, 6).points(np.full((4, 6), 2.0)), whole, atol=1e-12)


def test_camera_info_says_what_the_pictures_of_a_region_show() -> None:
    k = [600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0]
    assert Intrinsics.of_camera_info(480, 640, k, [0.0] * 5, "plumb_bob") == CAMERA
    # Half the resolution of the region of 200 x 300 pixels whose first is at row 40, column 20.
    region = Intrinsics.of_camera_info(480, 640, k, offset=(40, 20), region=(200, 300), binning=(2, 2))
    assert (region.height, region.width) == (100, 150)
    assert region.focal == (300.0, 305.0)
    assert region.center == (300.5 / 2 - 0.5, 200.5 / 2 - 0.5)
    assert region.reason(100, 150) == ""
    assert region.reason(480, 640) == "calibration: camera_info is of 150x100 pixels, the picture has 640x480"


@pytest.mark.parametrize(
    ("k", "d", "model", "reason"),
    [
        ([0.0] * 9, [], "", "calibration: matrix is"),
        ([np.nan] * 9, [], "", "calibration: matrix is"),
        (
            [600.0, 0, 320, 0, 600, 240, 0, 0, 1],
            [0.1] * 4,
            "equidistant",
            "known are plumb_bob and",
        ),
    ],
)
def test_a_camera_that_is_not_calibrated_is_refused(k, d, model, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        Intrinsics.of_camera_info(480, 640, k, d, model)


def test_depth_of_another_size_has_no_points() -> None:
    with pytest.raises(ValueError, match="camera_info is of 640x480 pixels, the picture has 64x48"):
        CAMERA.points(np.ones((48, 64)))
