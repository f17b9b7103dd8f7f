"""Every arm of config/robots: its limits, its kinematics against what is published, and a safety monitor for it."""

import numpy as np
import pytest

from physai_ros.drivers.catalog import DRIVERS, load_driver
from physai_ros.robot.kinematics import Kinematics, ToolPose
from physai_ros.robot.share import share_path
from physai_ros.robot.spec import RobotSpec
from physai_ros.safety.distances import Distances
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.supervisor import SafetySupervisor

ARMS = sorted(path.stem for path in share_path("config", "robots").glob("*.yaml"))


def transform(theta: float, a: float, d: float, alpha: float, *, modified: bool = False) -> np.ndarray:
    """One row of a table of Denavit-Hartenberg parameters, (4, 4); `modified` after Craig."""
    c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
    if modified:
        return np.array([[c, -s, 0, a], [s * ca, c * ca, -sa, -d * sa], [s * sa, c * sa, ca, d * ca], [0, 0, 0, 1]])
    return np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])


def table(rows: list[tuple[float, float, float]], positions: np.ndarray, *, modified: bool = False) -> np.ndarray:
    """Pose (4, 4) at the end of a table of (a, d, alpha) at joint positions."""
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(rows, positions, strict=True):
        pose = pose @ transform(theta, a, d, alpha, modified=modified)
    return pose


def along_z(distance: float, angle: float = 0.0) -> np.ndarray:
    return transform(angle, 0.0, distance, 0.0)


H = np.pi / 2
# Base to first joint, rows of (a, d, alpha), whether they are modified ones, offsets of the angles, flange to tool0.
TABLES = {
    # Franka Control Interface documentation, "Denavit-Hartenberg parameters", flange and hand.
    "fr3": (
        np.eye(4),
        [(0, 0.333, 0), (0, 0, -H), (0, 0.316, H), (0.0825, 0, H), (-0.0825, 0.384, -H), (0, 0, H), (0.088, 0, H)],
        True,
        np.zeros(7),
        along_z(0.107, -np.pi / 4) @ along_z(0.1034),
    ),
    # Universal Robots, support article 45257; their base frame is turned by half a turn from REP-103's.
    "ur5e": (
        along_z(0.0, np.pi),
        [(0, 0.1625, H), (-0.425, 0, 0), (-0.3922, 0, 0), (0, 0.1333, H), (0, 0.0997, -H), (0, 0.0996, 0)],
        False,
        np.zeros(6),
        np.eye(4),
    ),
    # UFACTORY, "xArm kinematic and dynamic parameters" (modified parameters), and the xArm Gripper's centre point.
    "xarm7": (
        np.eye(4),
        [
            (0, 0.267, 0),
            (0, 0, -H),
            (0, 0.293, H),
            (0.0525, 0, H),
            (0.0775, 0.3425, H),
            (0, 0, H),
            (0.076, 0.097, -H),
        ],
        True,
        np.zeros(7),
        along_z(0.172),
    ),
    # Kinova, Gen3 user guide, "DH parameters of the 7 DoF robot" (classical, sums of lengths of two housings each).
    "gen3": (
        transform(0.0, 0.0, 0.0, np.pi),
        [
            (0, -(0.1564 + 0.1284), H),
            (0, -(0.0054 + 0.0064), H),
            (0, -(0.2104 + 0.2104), H),
            (0, -(0.0064 + 0.0064), H),
            (0, -(0.2084 + 0.1059), H),
            (0, 0, H),
            (0, -(0.1059 + 0.0615), np.pi),
        ],
        False,
        np.array([0.0, np.pi, np.pi, np.pi, np.pi, np.pi, np.pi]),
        along_z(0.15),
    ),
}


@pytest.fixture(params=ARMS)
def spec(request):
    return RobotSpec.load(request.param)


def test_all_arms_of_the_package_are_there():
    assert {"fr3", "fr3_sim", "gen3", "so101", "ur5e", "xarm7"} <= set(ARMS)


def test_an_arm_is_named_as_its_file_and_has_a_driver(spec):
    assert spec.name in ARMS
    assert spec.driver in {*DRIVERS, "simulated", "ros2_control"}
    if spec.driver in DRIVERS:
        driver = load_driver(spec)  # the connection is what the driver wants to know
        assert driver.capabilities.command_timeout <= spec.command_timeout
        assert driver.capabilities.rate == spec.control_rate


def test_a_safety_monitor_can_be_built_on_it_and_home_is_inside(spec):
    limits, kinematics = SafetyLimits.from_spec(spec), Kinematics(spec)
    SafetySupervisor(spec, limits, kinematics)
    sight = Distances(limits, kinematics).look(spec.home_positions)
    assert sight.least > 0.0, Distances(limits, kinematics).names[int(sight.distances.argmin())]
    assert (limits.position_lower < spec.home_positions).all() and (spec.home_positions < limits.position_upper).all()


def test_the_tool_points_down_at_home_and_can_be_moved_from_there(spec):
    kinematics = Kinematics(spec)
    home = kinematics.tool_pose(spec.home_positions)
    assert home.rotation[2, 2] < -0.99
    assert (spec.workspace_lower < home.position).all() and (home.position < spec.workspace_upper).all()
    goal = ToolPose(home.position + [0.02, 0.02, 0.02], home.rotation)
    positions = spec.home_positions
    for _ in range(200):
        positions = kinematics.step_towards(positions, goal, damping=0.01)
    assert np.linalg.norm(kinematics.tool_pose(positions).position - goal.position) < 8e-3  # with five joints as well


@pytest.mark.parametrize("name", TABLES)
def test_kinematics_are_those_that_the_maker_publishes(name):
    base, rows, modified, offsets, tool = TABLES[name]
    spec = RobotSpec.load(name)
    kinematics = Kinematics(spec)
    generator = np.random.default_rng(3)
    for _ in range(20):
        positions = generator.uniform(spec.position_lower, spec.position_upper)
        expected = base @ table(rows, positions + offsets, modified=modified) @ tool
        pose = kinematics.tool_pose(positions)
        # Kinova rounds its table to a tenth of a millimetre, our URDFs round angles to a millionth.
        np.testing.assert_allclose(pose.position, expected[:3, 3], atol=5e-4 if name == "gen3" else 3e-5)
        np.testing.assert_allclose(pose.rotation, expected[:3, :3], atol=3e-5)


def test_the_so101_reaches_forward_at_zero_as_its_project_says():
    # TheRobotStudio/SO-ARM100, Simulation/SO101: 116 and 135 mm between the axes of the arm, tips 98 mm from the roll.
    spec = RobotSpec.load("so101")
    kinematics = Kinematics(spec)
    links = kinematics.link_positions(np.zeros(5))
    # The base stands on the table, from which the file's own origin is 30.1 mm away; its mesh says so.
    np.testing.assert_allclose(links[0], [0.0, 0.0, 0.094882 - 0.0301], atol=1e-5)
    assert np.linalg.norm(links[2] - links[1]) == pytest.approx(0.116, abs=5e-4)
    assert np.linalg.norm(links[3] - links[2]) == pytest.approx(0.135, abs=5e-4)
    pose = kinematics.tool_pose(np.zeros(5))
    np.testing.assert_allclose(pose.rotation[:, 2], [1.0, 0.0, 0.0], atol=1e-5)
    assert pose.position[0] > 0.3 and abs(pose.position[1]) < 1e-3


def test_whoever_brakes_at_the_fr3s_limits_keeps_those_of_its_control_interface():
    # libfranka, include/franka/joint_velocity_limits.h and rate_limiting.h: largest speed, offset, deceleration; range.
    shape = np.array(
        [(2.62, 0.3, 6.0), (2.62, 0.2, 2.585), (2.62, 0.2, 3.5), (2.62, 0.3, 4.0)]
        + [(5.26, 0.35, 17.0), (4.18, 0.35, 5.5), (5.26, 0.35, 17.0)]
    )
    upper = np.array([2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196])
    lower = np.array([-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196])
    spec = RobotSpec.load("fr3")
    limits = SafetyLimits.from_spec(spec, position_margin=0.0)
    left = np.linspace(0.0, 2.0, 20001)[:, np.newaxis]  # [rad] to our own limit
    ours = np.minimum(np.sqrt(2.0 * limits.acceleration * left), limits.velocity)
    for room in (upper - limits.position_upper, limits.position_lower - lower):
        allowed = np.minimum(shape[:, 0], np.sqrt(2.0 * shape[:, 2] * (left + room)) - shape[:, 1]) - 0.031
        assert (ours < allowed).all(), np.argwhere(ours >= allowed)[:3]
