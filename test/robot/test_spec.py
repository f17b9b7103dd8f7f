"""A robot's description: what it reads, and what it says to bad input."""

import re
import shutil

import numpy as np
import pytest
import yaml

from physai_ros.robot.share import share_path
from physai_ros.robot.spec import RobotSpec, RobotSpecError


@pytest.fixture
def robot(tmp_path):
    """A copy of the FR3's configuration and URDF that a test may spoil; call it to load it."""
    shutil.copy(share_path("models", "fr3.urdf"), tmp_path / "arm.urdf")
    config = yaml.safe_load(share_path("config", "robots", "fr3_sim.yaml").read_text())
    config["urdf"] = "arm.urdf"

    class Robot:
        urdf = tmp_path / "arm.urdf"
        values = config

        def load(self) -> RobotSpec:
            path = tmp_path / "arm.yaml"
            path.write_text(yaml.safe_dump(self.values))
            return RobotSpec.load(path)

    return Robot()


def error_line(robot) -> str:
    with pytest.raises(RobotSpecError) as caught:
        robot.load()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_the_arm():
    spec = RobotSpec.load("fr3_sim")
    assert len(spec.joint_names) == 7
    assert (spec.position_lower < spec.home_positions).all() and (spec.home_positions < spec.position_upper).all()
    assert spec.control_period == pytest.approx(0.01)
    assert spec.effort_limits[0] == 87


def test_unknown_robot_names_the_known():
    with pytest.raises(RobotSpecError, match="fr3_sim"):
        RobotSpec.load("kuka")


def test_urdf_without_limits(robot):
    text = robot.urdf.read_text()
    robot.urdf.write_text(re.sub(r'<limit lower="-1\.7837"[^>]*/>', "", text))
    message = error_line(robot)
    assert "fr3_joint2" in message and "<limit" in message


@pytest.mark.parametrize("key", ["lower", "upper", "velocity", "effort"])
def test_urdf_lacking_one_limit(robot, key):
    text = robot.urdf.read_text()
    robot.urdf.write_text(re.sub(rf'(<limit [^>]*?) ?{key}="[^"]*"', r"\1", text, count=1))
    message = error_line(robot)
    assert "fr3_joint1" in message and key in message


def test_wrong_joint_name(robot):
    robot.values["gripper"]["joints"] = ["finger_a", "finger_b"]
    message = error_line(robot)
    assert "finger_a" in message and "fr3_finger_joint_left" in message


def test_unknown_key(robot):
    robot.values["colour"] = "white"
    message = error_line(robot)
    assert "colour" in message and "control_rate" in message


def test_missing_key(robot):
    del robot.values["jerk_limits"]
    assert "jerk_limits" in error_line(robot)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("control_rate", 0.0),
        ("control_rate", "fast"),
        ("command_timeout", -1.0),
        ("home_positions", [0.0] * 6),
        ("home_positions", [9.0, -0.4, 0.0, -2.35, 0.0, 1.95, 0.78]),
        ("jerk_limits", [0.0] * 7),
        ("acceleration_limits", [float("nan")] * 7),
        ("gripper", {"joints": ["fr3_finger_joint_left"], "max_width": -0.1, "max_force": 70.0}),
    ],
)
def test_value_out_of_range(robot, key, value):
    robot.values[key] = value
    message = error_line(robot)
    assert key in message or "max_width" in message


def test_urdf_that_is_not_there_or_not_xml(robot):
    robot.urdf.write_text("no robot")
    assert "XML" in error_line(robot)
    robot.urdf.unlink()
    assert "urdf" in error_line(robot)


def test_limits_are_inside_what_the_urdf_says():
    spec = RobotSpec.load("fr3_sim")
    text = spec.urdf_path.read_text()
    uppers = [float(value) for value in re.findall(r'upper="([^"]*)"', text)]
    np.testing.assert_array_equal(spec.position_upper, uppers[:7])


def test_reads_volumes_and_force_budgets(robot):
    robot.values["workspace"]["keep_out"] = [{"name": "shelf", "lower": [0.2, 0.2, 0.2], "upper": [0.4, 0.4, 0.4]}]
    robot.values["workspace"]["half_spaces"] = [{"name": "wall", "normal": [0.0, -2.0, 0.0], "offset": -0.5}]
    robot.values["self_distance"] = {"margin": 0.02, "unwatched": [["fr3_link5", "fr3_link7"]]}
    spec = robot.load()
    assert spec.keep_out[0].name == "shelf" and spec.keep_out[0].upper.tolist() == [0.4, 0.4, 0.4]
    assert spec.half_spaces[0].normal.tolist() == [0.0, -1.0, 0.0]
    assert spec.self_distance.unwatched == (frozenset(("fr3_link5", "fr3_link7")),)
    assert spec.force_budgets["reach"] == 50.0


def test_volumes_and_budgets_are_optional(robot):
    for key in ("half_spaces", "keep_out"):
        del robot.values["workspace"][key]
    del robot.values["self_distance"], robot.values["force_budgets"]
    spec = robot.load()
    assert spec.half_spaces == () and spec.keep_out == () and spec.self_distance.margin == 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"workspace": {"half_spaces": [{"name": "a", "normal": [0, 0, 0], "offset": 0}]}}, "'a'.*not all zero"),
        ({"workspace": {"half_spaces": {"name": "a"}}}, "half_spaces is .*expected a list of name, normal, offset"),
        ({"workspace": {"keep_out": [{"name": "a", "lower": [0, 0, 0]}]}}, "key 'upper' is missing"),
        ({"workspace": {"keep_out": [{"name": "a", "lower": [0, 0, 0], "upper": [0, 0, 0]}]}}, "lower below upper"),
        ({"self_distance": {"unwatched": [["fr3_link1"]]}}, "expected a list of pairs"),
        ({"self_distance": {"margin": -1.0}}, "margin is -1.0"),
        ({"force_budgets": {"fly": 3.0}}, "unknown key 'fly'; known are: carry, grasp, reach"),
        ({"force_budgets": {"reach": 0}}, "reach is 0; expected a finite number above zero"),
        ({"connection": "tcp"}, "connection is 'tcp'; expected a mapping of what its driver wants to know"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_line(robot, change, said):
    for key, value in change.items():
        robot.values[key] = {**robot.values[key], **value} if key == "workspace" else value
    assert re.search(said, error_line(robot))


def test_limits_narrow_those_of_the_urdf(robot):
    robot.values["limits"] = {"position_upper": [2.0, 1.5, 2.0, -0.5, 2.0, 4.0, 2.0], "velocity": [1.0] * 7}
    spec = robot.load()
    assert spec.position_upper[0] == 2.0 and (spec.velocity_limits == 1.0).all()
    assert spec.position_lower[0] == RobotSpec.load("fr3_sim").position_lower[0]


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"velocity": [9.0] * 7}, "wider than the URDF's 2.62"),
        ({"position_lower": [-3.0] * 7}, "wider than the URDF's"),
        ({"speed": [1.0] * 7}, "speed"),
        ({"velocity": [1.0] * 6}, "velocity"),
        ([1.0], "limits"),
    ],
)
def test_limits_that_are_none(robot, limits, why):
    robot.values["limits"] = limits
    assert why in error_line(robot)
