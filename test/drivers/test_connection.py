"""What stands under `connection` is read into what a driver wants, or refused with what to correct."""

from dataclasses import replace

import pytest

from physai_ros.drivers.catalog import load_driver
from physai_ros.drivers.driver import DriverError
from physai_ros.robot.spec import RobotSpec


@pytest.mark.parametrize(
    ("robot", "changes", "why"),
    [
        ("fr3", {"adress": "10.0.0.1"}, "unknown key 'adress'; known are: address"),
        ("fr3", {"address": 5}, "address is 5; expected str"),
        ("fr3", {"gripper": "yes"}, "gripper is 'yes'; expected bool"),
        ("fr3", {"realtime": "perhaps"}, "realtime is 'perhaps'; expected enforce or ignore"),
        ("ur5e", {"lookahead": 1.0}, "lookahead is 1 s; expected 0.03 to 0.2"),
        ("ur5e", {"gain": True}, "gain is True; expected float"),
        ("so101", {"servos": [1, 2, 3, 4, 4]}, "expected different ids"),
        ("so101", {"servos": [1, 2]}, "2 servos have 5 zeros"),
        ("so101", {"directions": [1, 1, 0, 1, 1]}, "expected 1 or -1"),
        ("so101", {"zeros": [2048, "2048", 2048, 2048, 2048]}, "zeros is '2048'; expected int"),
        ("so101", {"servos": [1, 2], "zeros": [0, 0], "directions": [1, 1]}, "2 servos for 5 joints"),
    ],
)
def test_a_wrong_connection_is_refused_with_the_key_and_what_is_expected(robot, changes, why):
    spec = RobotSpec.load(robot)
    with pytest.raises(DriverError, match=why) as caught:
        load_driver(replace(spec, connection={**spec.connection, **changes}))
    assert f"robot '{robot}'" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_address_is_said():
    spec = RobotSpec.load("ur5e")
    with pytest.raises(DriverError, match="key 'address' is missing"):
        load_driver(replace(spec, connection={"model": "UR5e"}))


def test_whole_numbers_are_numbers():
    spec = RobotSpec.load("ur5e")
    load_driver(replace(spec, connection={**spec.connection, "gain": 300}))
