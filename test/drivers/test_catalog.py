"""Drivers are found by the kind that a robot's configuration names."""

from dataclasses import replace

import pytest

from physai_ros.drivers.catalog import DRIVERS, load_driver
from physai_ros.drivers.driver import DriverError
from physai_ros.robot.spec import RobotSpec


@pytest.mark.parametrize("kind", ["simulated", "ros2_control", "kuka"])
def test_a_kind_that_is_not_driven_from_here_is_refused_with_those_that_are(kind):
    spec = replace(RobotSpec.load("fr3_sim"), driver=kind)
    with pytest.raises(DriverError, match=f"'{kind}'; known here are: {', '.join(sorted(DRIVERS)) or 'none'}"):
        load_driver(spec)
