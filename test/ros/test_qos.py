"""Every reader of a topic matches its writer: a reliable reader hears no best-effort writer."""

import pytest
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from physai_ros.ros import qos


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (qos.CONTROL_WRITER, qos.CONTROL),
        (qos.CONTROL_WRITER, qos.RECORD),
        (qos.CONTROL_WRITER, qos.COMMAND),
        (qos.INTERVENTION, qos.INTERVENTION),
        (qos.INTERVENTION, qos.RECORD),
        (qos.EVENT, qos.EVENT),
        (qos.LATCHED, qos.LATCHED),
        (qos.LATCHED, qos.EVENT),
        (qos.SENSOR_WRITER, qos.SENSOR),
        (qos.SENSOR_WRITER, qos.RECORD),
        (qos.CLOCK_WRITER, qos.CLOCK),
    ],
)
def test_readers_match_writers(writer: QoSProfile, reader: QoSProfile) -> None:
    assert qos_check_compatible(writer, reader)[0] == QoSCompatibility.OK


def test_a_recorder_holds_two_seconds_and_the_control_loop_one_sample() -> None:
    assert qos.RECORD.depth >= 200
    assert qos.CONTROL.depth == 1
