"""The wrist sensor: what touches the tool remains, whatever its bias, its load and its posture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.fusion.filters import LowPass
from physai_ros.fusion.wrist import WristCalibration, WristSensor, calibrated
from physai_ros.robot.rotation import rotation_from_vector

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[WristCalibration, list[np.ndarray], np.random.Generator]:
    generator = np.random.default_rng(seed)
    calibration = WristCalibration(generator.normal(size=6), generator.uniform(0.3, 3.0), generator.normal(0, 0.1, 3))
    return calibration, [rotation_from_vector(generator.normal(0, 2.0, 3)) for _ in range(12)], generator


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_what_touches_is_what_remains(seed: int) -> None:
    truth, postures, generator = drawn(seed)
    touch = generator.normal(0, 10.0, 6)
    for rotation in postures:
        measured = truth.bias + truth.weight(rotation) + touch
        np.testing.assert_allclose(truth.compensated(measured, rotation), touch, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_bias_and_load_are_found_from_free_postures(seed: int) -> None:
    truth, postures, _ = drawn(seed)
    found = calibrated([truth.bias + truth.weight(rotation) for rotation in postures], postures)
    np.testing.assert_allclose(found.bias, truth.bias, atol=1e-8)
    np.testing.assert_allclose(found.mass, truth.mass)
    np.testing.assert_allclose(found.center, truth.center, atol=1e-8)


def test_one_posture_tells_bias_and_weight_not_apart():
    truth, postures, _ = drawn(0)
    with pytest.raises(ValueError, match="two axes"):
        calibrated([truth.bias] * 5, postures[:1] * 5)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_a_wrench_in_another_frame_does_the_same_work(seed: int) -> None:
    generator = np.random.default_rng(seed)
    frame = WristCalibration(rotation=rotation_from_vector(generator.normal(size=3)), position=generator.normal(size=3))
    wrench, velocity, turn = generator.normal(size=6), generator.normal(size=3), generator.normal(size=3)
    # Power does not depend on the frame: the sensor's origin moves by v + w x p.
    in_tool = frame.in_tool(wrench)
    at_sensor = frame.rotation.T @ (velocity + np.cross(turn, frame.position))
    power = wrench[:3] @ at_sensor + wrench[3:] @ (frame.rotation.T @ turn)
    assert in_tool[:3] @ velocity + in_tool[3:] @ turn == pytest.approx(power)


def test_age_counts_the_filter_and_a_silent_sensor_is_named():
    sensor = WristSensor(low_pass=LowPass(10.0, 100.0))
    assert sensor.reading(0.0, np.eye(3)).reason.startswith("missing")
    assert sensor.add(0.0, np.ones(6)) == ""
    reading = sensor.reading(0.02, np.eye(3))
    assert reading.age == pytest.approx(0.02 + sensor.group_delay)
    assert sensor.reading(0.02, np.full((3, 3), np.nan)).reason.startswith("posture")
    assert sensor.reading(1.0, np.eye(3)).reason.startswith("stale")
