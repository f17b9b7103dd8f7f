"""Tactile arrays: the force of a pad is that of its taxels together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.fusion.tactile import TactilePads
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState

SPEC = RobotSpec.load("fr3_sim")


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda pads: st.integers(1, 6).flatmap(
            lambda taxels: arrays(np.float64, (pads, taxels), elements=st.floats(0.0, 10.0))
        )
    ),
    st.floats(0.001, 10.0),
    st.booleans(),
)
def test_what_a_pad_feels_is_the_sum_of_its_taxels(taxels: np.ndarray, newtons: float, told: bool) -> None:
    pads = TactilePads(len(taxels), timeout=0.1, newtons=newtons)
    assert pads.add(0.0, taxels.ravel(), taxels.shape if told else ()) == ""
    values, age, reason = pads.reading(0.05)
    np.testing.assert_allclose(values, newtons * taxels.sum(axis=1))
    assert (age, reason) == (0.05, "")


@pytest.mark.parametrize(
    ("taxels", "sizes", "reason"),
    [
        ([1.0] * 7, (), "length: 7 taxels of no stated size, expected 2 pads of as many taxels, 8 in all"),
        ([1.0] * 6, (), "length: 6 taxels"),
        ([1.0] * 8, (4, 2), "length: 8 taxels 4 x 2, expected 2 pads"),
        ([1.0] * 8, (2, 3), "length: 8 taxels 2 x 3"),
        ([], (), "length: 0 taxels"),
        ([1.0] * 7 + [np.nan], (2, 2, 2), "not finite"),
        ([30.0] * 8, (), "range: pad 0 feels 120 N; believed are up to 100 N and no pull; check"),
        ([0.0] * 7 + [-9.0], (), "range: pad 1 feels -9 N"),
    ],
)
def test_what_is_refused_is_named_and_is_the_reason_when_the_last_good_one_is_too_old(taxels, sizes, reason) -> None:
    pads = TactilePads(2, timeout=0.1, largest=100.0)
    pads.add(0.0, np.ones(8))
    assert pads.add(0.05, np.array(taxels), sizes).startswith(reason)
    assert pads.reading(0.05).reason == ""
    held = pads.reading(0.2)
    assert held.reason.startswith(reason)
    np.testing.assert_array_equal(held.values, [4.0, 4.0])


def test_pads_take_the_place_of_the_drivers_contact_forces() -> None:
    # Also before the first sample there are as many numbers as pads, so that nobody trips over their absence.
    home, still = SPEC.home_positions, np.zeros(7)
    state = DriverState(1.0, 1, SPEC.joint_names, home, still, still, home, contact_forces=np.full(2, 9.0))
    fuser, pads = StateFuser(SPEC, Kinematics(SPEC)), TactilePads(2, timeout=0.1)
    silent = fuser.fuse(state, None, 1.0, tactile=pads)
    assert np.isnan(silent.contact_forces).all()
    assert silent.contact_forces.shape == (2,)
    assert silent.modality("contacts").reason.startswith("missing")
    pads.add(0.98, np.array([1.0, 2.0]))
    felt = fuser.fuse(state, None, 1.0, tactile=pads)
    np.testing.assert_array_equal(felt.contact_forces, [1.0, 2.0])
    assert felt.modality("contacts").age == pytest.approx(0.02)
    np.testing.assert_array_equal(fuser.fuse(state, None, 1.0).contact_forces, [9.0, 9.0])
