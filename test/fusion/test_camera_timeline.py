"""A picture belongs to the joint sample nearest to its exposure, and no camera waits for another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.fusion.camera_timeline import DEPTH, CameraTimeline
from physai_ros.fusion.intrinsics import Intrinsics

BLACK = np.zeros((16, 16, 3), np.uint8)


@given(st.floats(0.0, 0.99))
def test_the_nearest_sample_is_found(exposure: float) -> None:
    timeline = CameraTimeline(("scene",), 8, 8)
    for sequence in range(100):
        timeline.add_sample(sequence / 100, sequence)
    shown = timeline.add_picture("scene", exposure, BLACK)
    assert (shown.camera, shown.stamp) == ("scene", exposure)
    assert abs(shown.sequence / 100 - exposure) <= 0.005 + 1e-12
    assert abs(shown.age) <= 0.005 + 1e-12
    assert shown.picture.shape == (8, 8, 3)


def test_areas_are_averaged_and_what_lacks_is_named() -> None:
    timeline = CameraTimeline(("scene", "wrist"), 1, 1)
    assert timeline.add_picture("scene", -1.0, BLACK) is None  # there is nothing yet that it could belong to
    timeline.add_sample(0.0, 1)
    shown = timeline.add_picture("scene", 0.0, np.array([[[0] * 3, [100] * 3]], np.uint8))
    assert shown.picture.ravel().tolist() == [50, 50, 50]
    scene, wrist = timeline.modalities(0.01)
    assert scene.valid
    assert not wrist.valid
    assert (wrist.name, wrist.reason) == ("camera/wrist", "no picture yet")
    assert not timeline.modalities(1.0)[0].valid
    assert "ahead" in timeline.modalities(-1.0)[0].reason


@given(st.lists(st.tuples(st.sampled_from(["scene", "wrist"]), st.integers(0, 20)), max_size=40))
def test_what_goes_out_of_a_camera_is_in_order_whatever_the_other_does(pictures: list[tuple[str, int]]) -> None:
    timeline = CameraTimeline(("scene", "wrist"), 8, 8, timeout=10.0)
    timeline.add_sample(0.0, 1)
    out: dict[str, list[float]] = {"scene": [], "wrist": []}
    for camera, number in pictures:
        shown = timeline.add_picture(camera, number / 30, BLACK)
        if shown is not None:
            out[shown.camera].append(shown.stamp)
    for camera, stamps in out.items():
        offered = [number / 30 for name, number in pictures if name == camera]
        assert stamps == sorted(set(stamps))
        assert not offered or stamps[-1] == max(offered)
    assert timeline.dropped == len(pictures) - sum(map(len, out.values()))


def test_a_clock_that_starts_again_is_believed_and_what_is_no_picture_is_refused() -> None:
    timeline = CameraTimeline(("scene",), 8, 8, timeout=0.25)
    timeline.add_sample(5.0, 1)
    assert timeline.add_picture("scene", 5.0, BLACK)
    assert timeline.add_picture("scene", 4.9, BLACK) is None
    assert timeline.add_picture("scene", 0.0, BLACK).stamp == 0.0
    for broken in (BLACK[..., 0], BLACK.astype(float), BLACK[:0]):
        with pytest.raises(ValueError, match="expected"):
            timeline.add_picture("scene", 6.0, broken)


def test_in_lock_step_what_comes_again_goes_out_again_and_nothing_is_used_up_before_it_can_go_out() -> None:
    timeline = CameraTimeline(("scene",), 8, 8)
    assert timeline.add_picture("scene", 0.0, BLACK, lock_step=True) is None
    timeline.add_sample(0.0, 1)
    shown = timeline.add_picture("scene", 0.0, BLACK, lock_step=True)
    assert shown.sequence == 1
    assert timeline.add_picture("scene", 0.0, BLACK, lock_step=True) is shown
    assert timeline.add_picture("scene", 0.0, BLACK) is None
    assert timeline.add_picture("scene", -0.1, BLACK, lock_step=True) is None


def depth_timeline(**changes: int) -> CameraTimeline:
    made = CameraTimeline(("scene",), **({"height": 2, "width": 2} | changes), kind=DEPTH)
    made.add_sample(0.0, 1)
    return made


def test_depth_made_small_lies_on_what_was_seen_never_between() -> None:
    made = depth_timeline(height=1, width=2)
    picture = np.tile(np.array([0.5, 0.5, 2.0, np.nan], np.float32), (4, 1))
    shown = made.add_picture("scene", 0.0, picture)
    assert shown.picture.dtype == np.float32
    assert set(shown.picture.ravel().tolist()) <= {0.5, 2.0}
    assert made.modalities(0.0)[0].name == "camera/scene/depth"
    with pytest.raises(ValueError, match="expected \\(height, width\\) float32"):
        made.add_picture("scene", 1.0, BLACK)


def test_depth_that_cannot_be_metres_is_the_reason_once_the_one_before_is_too_old() -> None:
    made, metres = depth_timeline(), np.ones((2, 2), np.float32)
    made.add_picture("scene", 0.0, metres)
    with pytest.raises(ValueError, match="millimetres") as error:
        made.add_picture("scene", 0.1, 700.0 * metres)
    made.refuse("scene", str(error.value))
    assert made.modalities(0.1)[0].valid
    assert made.modalities(0.3)[0].reason.startswith("units:")
    made.add_picture("scene", 0.3, metres)
    assert made.modalities(0.3)[0].valid
    assert made.modalities(0.6)[0].reason.startswith("picture is")


def test_a_calibration_is_of_the_pictures_that_come_and_is_given_for_those_that_go_out() -> None:
    for made, picture, valid in (
        (depth_timeline(), np.ones((4, 8), np.float32), False),
        (CameraTimeline(("scene",), 2, 2), np.zeros((4, 8, 3), np.uint8), True),
    ):
        made.add_sample(0.0, 1)
        made.add_picture("scene", 0.0, picture)
        assert made.intrinsics("scene") is None
        assert made.modalities(0.0)[0].valid
        made.add_calibration("scene", Intrinsics(4, 8, (10.0, 10.0), (3.5, 1.5)))
        assert made.intrinsics("scene") == Intrinsics(2, 2, (2.5, 5.0), (0.5, 0.5))
        made.add_calibration("scene", Intrinsics(8, 8, (10.0, 10.0), (3.5, 3.5)))
        assert made.intrinsics("scene") is None
        assert made.calibration_reason("scene").startswith("calibration: camera_info is of 8x8")
        assert made.modalities(0.0)[0].valid == valid  # colour is of use without
        made.add_calibration("scene", "calibration: not known")
        assert made.calibration_reason("scene") == "calibration: not known"
