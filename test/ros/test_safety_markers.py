"""What RViz is shown is what was decided."""

import numpy as np
import pytest
from visualization_msgs.msg import Marker

from physai_ros.robot.action import RobotAction
from physai_ros.robot.command import CommandSource, SafeCommand, StopTrajectory
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.safety_markers import SafetyMarkers
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.report import SafetyReport
from physai_ros.safety.state_machine import SafetyState

SPEC = RobotSpec.load("fr3_sim")
LIMITS = SafetyLimits.from_spec(SPEC)
KINEMATICS = Kinematics(SPEC)
HOME = SPEC.home_positions


def drawn(
    state=SafetyState.NOMINAL, reasons=(), margins=None, proposed=None, names=SPEC.joint_names, permitted=HOME
) -> dict[str, Marker]:
    stop = StopTrajectory(0.01, np.array([permitted + 0.01, permitted + 0.015]))
    command = SafeCommand(0.0, 1, 1, 1, SPEC.joint_names, permitted, np.zeros(7), 1.0, 0.1, CommandSource.POLICY, stop)
    proposal = None
    if proposed is not None:
        proposal = RobotAction(0.0, 1, 1, names, proposed, np.zeros(len(proposed)))
    report = SafetyReport(state=state, reasons=reasons, margins=margins or {"workspace": 0.5})
    array = SafetyMarkers(SPEC.base_frame, LIMITS, KINEMATICS).array(report, command, proposal, 1.5)
    for marker in array.markers:
        assert marker.header.frame_id == "base_link"
        assert (marker.header.stamp.sec, marker.header.stamp.nanosec) == (1, 500_000_000)
        assert marker.pose.orientation.w == 1.0
        assert marker.lifetime.nanosec  # it goes when the monitor goes
    names = [marker.ns for marker in array.markers]
    assert len(set(names)) == len(names)
    return {marker.ns.removeprefix("safety/"): marker for marker in array.markers}


def at(point) -> list[float]:
    return [point.x, point.y, point.z]


def test_proposed_and_permitted_stand_where_the_tool_would(spec=SPEC):
    markers = drawn(proposed=HOME + 0.05)
    permitted = KINEMATICS.tool_pose(HOME).position
    proposed = KINEMATICS.tool_pose(HOME + 0.05).position
    assert at(markers["permitted"].pose.position) == pytest.approx(permitted.tolist())
    assert at(markers["proposed"].pose.position) == pytest.approx(proposed.tolist())
    assert [at(p) for p in markers["refused_part"].points] == [pytest.approx(permitted), pytest.approx(proposed)]
    end = KINEMATICS.tool_pose(HOME + 0.015).position
    assert at(markers["stop"].points[-1]) == pytest.approx(end.tolist())
    # Another order of joints is the same posture.
    turned = drawn(proposed=(HOME + 0.05)[::-1], names=SPEC.joint_names[::-1])
    assert at(turned["proposed"].pose.position) == pytest.approx(proposed.tolist())


@pytest.mark.parametrize("proposed", [np.full(7, np.nan), HOME[:6], np.zeros(0)])
def test_what_cannot_be_drawn_is_left_out(proposed):
    names = SPEC.joint_names[: len(proposed)]
    assert "proposed" not in drawn(proposed=proposed, names=names)


def test_the_reason_of_a_stop_is_said_in_red():
    markers = drawn(SafetyState.STOPPED, ("contact_force", "emergency_stop"))
    assert markers["state"].text == "STOPPED contact force emergency stop"
    assert markers["state"].color.r > 0.9 > 0.5 > markers["state"].color.g
    assert drawn()["state"].color.g > 0.5 > drawn()["state"].color.r


def test_the_workspace_is_a_box_and_its_nearest_wall_is_measured():
    markers = drawn(margins={"workspace": 0.02, "velocity": 0.7})
    box = np.array([at(p) for p in markers["workspace"].points])
    assert len(box) == 24
    assert box.min(axis=0) == pytest.approx(LIMITS.workspace_lower)
    assert box.max(axis=0) == pytest.approx(LIMITS.workspace_upper)
    assert (np.abs(np.diff(box.reshape(12, 2, 3), axis=1)) > 0).sum() == 12  # every edge along one axis
    assert markers["workspace"].color.r > 0.9 > markers["workspace"].color.g
    tool, foot = (np.array(at(p)) for p in markers["distance"].points)
    room = np.concatenate([tool - LIMITS.workspace_lower, LIMITS.workspace_upper - tool]).min()
    assert np.linalg.norm(tool - foot) == pytest.approx(room)
    assert markers["margins"].text.splitlines() == ["workspace 2 %", "velocity 70 %"]


def test_before_the_first_decision_there_are_limits_and_words_alone():
    array = SafetyMarkers(SPEC.base_frame, LIMITS, KINEMATICS).array(SafetyReport(), None, None, 0.0)
    assert {marker.ns for marker in array.markers} == {"safety/workspace", "safety/state", "safety/margins"}
