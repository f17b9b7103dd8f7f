"""What goes between a driver and its vendor's process comes out as it went in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physai_ros.drivers import wire
from physai_ros.drivers.driver import CommandKind
from physai_ros.drivers.vendor import ArmSettings, Measurement
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode

numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(
    kind=st.sampled_from(CommandKind),
    vector=hnp.arrays(float, st.integers(1, 9), elements=numbers),
    gripper=numbers,
    valid_for=numbers,
)
def test_commands(kind, vector, gripper, valid_for):
    found = wire.unpack_command(wire.pack_command(kind, vector, gripper, valid_for))
    assert found[0] == kind and (found[1] == vector).all() and found[2:] == (gripper, valid_for)


@settings(deadline=None)
@given(
    joints=st.integers(1, 9).flatmap(lambda count: hnp.arrays(float, (3, count), elements=numbers)),
    wrench=st.none() | hnp.arrays(float, 6, elements=numbers),
    fault=st.sampled_from(DriverFault),
    mode=st.sampled_from(DriverMode),
    text=st.text(max_size=500),
    stamp=numbers,
)
def test_reports(joints, wrench, fault, mode, text, stamp):
    measured = Measurement(*joints, wrench, 0.04, 3.0, fault, text, 12.5)
    report = wire.unpack_report(wire.pack_report(wire.Report(measured, mode, stamp, 7.0)))
    found = report.measurement
    for ours, theirs in zip(found[:3], joints, strict=True):
        assert (ours == theirs).all()
    assert (found.wrench is None) == (wrench is None) and (wrench is None or (found.wrench == wrench).all())
    assert found[4:] == (0.04, 3.0, fault, text, 12.5)
    assert report[1:] == (mode, stamp, 7.0)


def test_a_text_without_end_still_fits_into_one_message():
    measured = Measurement(*np.zeros((3, 7)), fault_text="ö" * 9000)
    data = wire.pack_report(wire.Report(measured, DriverMode.ACTIVE, 0.0, 0.0))
    assert len(data) <= wire.LARGEST
    assert wire.unpack_report(data).measurement.fault_text.startswith("ööö")


@pytest.mark.parametrize("robot", ["fr3", "so101"])
def test_settings(robot):
    settings_of_arm = ArmSettings.from_spec(RobotSpec.load(robot))
    assert ArmSettings.from_json(settings_of_arm.to_json()) == settings_of_arm
