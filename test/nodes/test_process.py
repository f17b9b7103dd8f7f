"""How a node's process starts and leaves."""

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from physai_ros.ros.process import REFUSED


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"mode": "sometimes"}, "parameter 'mode' is 'sometimes'; expected one of paced, lock_step"),
        ({"camera_rate": 1000.0}, "parameter 'camera_rate' is 1000.0; expected a number in 0 to 60"),
        ({"speed": 2}, "unknown parameter 'speed'; known are: "),
    ],
)
def test_a_parameter_that_cannot_be_used_is_one_clear_line(graph, parameters, said):
    process = graph.start("driver_node", **parameters)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == REFUSED
    assert said in errors
    assert len(errors.strip().splitlines()) == 1


def test_what_configure_cannot_do_is_one_clear_line_and_a_failed_transition(graph):
    graph.start("driver_node", robot="nobody")
    configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not graph.call(ChangeState, "driver_node/change_state", configure).success
    code, errors = graph.stop("driver_node")
    assert code == 0
    lines = errors.strip().splitlines()
    assert len(lines) == 1
    assert "cannot configure: unknown robot 'nobody'; known are: fr3, " in lines[0]
