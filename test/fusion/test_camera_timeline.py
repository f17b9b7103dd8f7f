"""A picture belongs to the joint sample nearest to its exposure, and no camera waits for another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.fusion.camera_timeline import CameraTimeline

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
