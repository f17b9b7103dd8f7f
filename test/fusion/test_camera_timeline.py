"""A picture belongs to the joint sample nearest to its exposure, and no camera waits for another that is silent."""

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
    assert timeline.add_picture("scene", exposure, BLACK)
    observation = timeline.observation()
    assert observation.stamp == exposure
    assert abs(observation.sequence / 100 - exposure) <= 0.005 + 1e-12
    assert abs(observation.ages[0]) <= 0.005 + 1e-12
    assert observation.pictures[0].shape == (8, 8, 3)


def test_areas_are_averaged_and_what_lacks_is_named() -> None:
    timeline = CameraTimeline(("scene", "wrist"), 1, 1)
    with pytest.raises(ValueError, match="no picture"):
        timeline.observation()
    timeline.add_sample(0.0, 1)
    assert timeline.add_picture("scene", 0.0, np.array([[[0] * 3, [100] * 3]], np.uint8))
    observation = timeline.observation()
    assert observation.cameras == ("scene",)
    assert observation.pictures[0].ravel().tolist() == [50, 50, 50]
    scene, wrist = timeline.modalities(0.01)
    assert scene.valid
    assert not wrist.valid
    assert (wrist.name, wrist.reason) == ("camera/wrist", "no picture yet")


def test_an_observation_is_due_once_all_that_are_on_time_have_shown_something_new() -> None:
    timeline = CameraTimeline(("scene", "wrist"), 8, 8)
    timeline.add_sample(0.0, 1)
    due = [timeline.add_picture("scene", 0.0, BLACK)]
    timeline.observation()
    for index in range(1, 5):
        for camera in ("wrist", "scene"):
            due.append(timeline.add_picture(camera, index / 30, BLACK))
            if due[-1]:
                assert timeline.observation().cameras == ("scene", "wrist")
    assert due == [True, *(False, True) * 4]


def test_a_silent_camera_holds_up_nobody_for_longer_than_a_picture() -> None:
    timeline = CameraTimeline(("scene", "wrist"), 8, 8, timeout=0.25)
    timeline.add_sample(0.0, 1)
    timeline.add_picture("wrist", 0.0, BLACK)
    shown = []
    for index in range(20):
        if timeline.add_picture("scene", index / 30, BLACK):
            shown.append((index, timeline.observation().cameras))
    assert all(later - index <= 2 for (index, _), (later, _) in zip(shown, shown[1:], strict=False))
    assert shown[-1] == (19, ("scene",))


def test_what_comes_again_or_overtaken_is_dropped_and_a_clock_that_starts_again_is_believed() -> None:
    timeline = CameraTimeline(("scene",), 8, 8, timeout=0.25)
    timeline.add_sample(5.0, 1)
    assert timeline.add_picture("scene", 5.0, BLACK)
    assert not timeline.add_picture("scene", 5.0, BLACK)
    assert not timeline.add_picture("scene", 4.9, BLACK)
    assert timeline.dropped == 2
    assert timeline.add_picture("scene", 0.0, BLACK)
    assert timeline.observation().stamp == 0.0
    for broken in (BLACK[..., 0], BLACK.astype(float), BLACK[:0]):
        with pytest.raises(ValueError, match="expected"):
            timeline.add_picture("scene", 6.0, broken)
