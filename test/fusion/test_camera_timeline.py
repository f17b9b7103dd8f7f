"""A picture belongs to the joint sample nearest to its exposure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.fusion.camera_timeline import CameraTimeline


@given(st.floats(0.0, 0.99))
def test_the_nearest_sample_is_found(exposure: float) -> None:
    timeline = CameraTimeline(("scene",), 8, 8)
    for sequence in range(100):
        timeline.add_sample(sequence / 100, sequence)
    timeline.add_picture("scene", exposure, np.zeros((16, 16, 3), np.uint8))
    newest, sequence, pictures, ages = timeline.observation()
    assert newest == exposure
    assert abs(sequence / 100 - exposure) <= 0.005 + 1e-12
    assert abs(ages[0]) <= 0.005 + 1e-12
    assert pictures[0].shape == (8, 8, 3)


def test_areas_are_averaged_and_what_lacks_is_named() -> None:
    timeline = CameraTimeline(("scene", "wrist"), 1, 1)
    with pytest.raises(ValueError, match="no picture of scene, wrist"):
        timeline.observation()
    timeline.add_sample(0.0, 1)
    timeline.add_picture("scene", 0.0, np.array([[[0] * 3, [100] * 3]], np.uint8))
    assert not timeline.complete
    with pytest.raises(ValueError, match="no picture of wrist"):
        timeline.observation()
    timeline.add_picture("wrist", 0.0, np.zeros((2, 2, 3), np.uint8))
    assert timeline.observation()[2][0].ravel().tolist() == [50, 50, 50]
