"""What a grasp tells of perception."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.transfer.grasp_evidence import grasp_of

ACROSS_TOOL = np.array([0.0, 1.0, 0.0])


def held(physics: PhysicsParameters, yaw: float, *, count: int = 60, felt: float = 10.0) -> Episode:
    """A tool that points down, turned by `yaw`, with a cube in its fingers that a camera sees as `physics` say."""
    half = 0.5 * yaw
    tool = np.array([0.0, np.cos(half), np.sin(half), 0.0])  # down, then turned about z
    seen = 0.5 * (yaw + physics.calibration_yaw)
    offset = np.array([physics.calibration_x, physics.calibration_y, physics.calibration_z])
    cube = np.concatenate([np.array([0.5, 0.1, 0.1]) + offset, [np.cos(seen), 0.0, 0.0, np.sin(seen)]])
    series = {
        "stamp": 0.01 * np.arange(count),
        "ee_position": np.tile([0.5, 0.1, 0.1], (count, 1)),
        "ee_orientation": np.tile(tool, (count, 1)),
        "gripper_command": np.full(count, -1.0),
        "contact_forces": np.full((count, 2), felt),
        "object_poses": np.tile(cube, (count, 1, 1)),
    }
    return Episode(EpisodeContext(), EpisodeOutcome(), (), ("cube",), series)


@settings(deadline=None)
@given(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02), st.floats(-0.3, 0.3), st.floats(-1.5, 1.5))
def test_the_true_calibration_puts_what_is_held_between_the_fingers(x, y, turn, yaw):
    physics = PhysicsParameters(calibration_x=x, calibration_y=y, calibration_yaw=turn)
    grasp = grasp_of(held(physics, yaw), ACROSS_TOOL)
    np.testing.assert_allclose(grasp.differences(physics), 0.0, atol=1e-6)


def test_a_wrong_calibration_does_not():
    grasp = grasp_of(held(PhysicsParameters(calibration_y=0.01, calibration_yaw=0.06), 0.0), ACROSS_TOOL)
    across, turn = grasp.differences(PhysicsParameters())
    assert abs(across) == pytest.approx(5.0) and turn == pytest.approx(2.0)
    # Along the fingers' faces a grasp tells nothing.
    along = grasp.differences(PhysicsParameters(calibration_x=0.01, calibration_y=0.01, calibration_yaw=0.06))
    np.testing.assert_allclose(along, 0.0, atol=1e-6)


def test_where_nothing_is_held_nothing_is_told():
    assert grasp_of(held(PhysicsParameters(), 0.0, felt=0.0), ACROSS_TOOL) is None
    assert grasp_of(held(PhysicsParameters(), 0.0, count=5), ACROSS_TOOL) is None
