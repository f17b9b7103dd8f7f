"""Physics parameters: ranges, errors, and that every one of them changes what is simulated or measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.camera import RenderingError
from physai_ros.simulation.physics import ROBOT_SIM_PARAMS, SHIFTED_ARM, PhysicsParameters, shifted_arm
from physai_ros.simulation.simulated_driver import SimulatedDriver
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario

TASK = load_task("pick_place")
SPEC = RobotSpec.load("fr3_sim")
CHANGED = {
    "gravity": 9.2,
    "time_step": 0.001,
    "object_mass_scale": 3.0,
    "object_friction": 0.4,
    "restitution": 0.7,
    "joint_friction": 2.0,
    "joint_damping": 4.0,
    "actuator_gain": 0.5,
    "actuator_delay": 0.05,
    "backlash": 0.01,
    "payload": 1.0,
    "grip_force": 8.0,
    "calibration_x": 0.01,
    "calibration_y": 0.01,
    "calibration_z": 0.01,
    "calibration_yaw": 0.1,
    "goal_x": 0.01,
    "goal_y": 0.01,
    "goal_z": 0.01,
    "encoder_noise": 0.005,
    "object_noise": 0.005,
    "force_noise": 1.0,
    "camera_noise": 0.05,
    "depth_noise": 0.01,
    "light": 0.5,
    "background": 1.0,
}
VISUAL = ("camera_noise", "depth_noise", "light", "background")
GOAL = ("goal_x", "goal_y", "goal_z")


def values():
    ranges = {name: st.floats(low, high) for name, (_, low, high, _, _) in ROBOT_SIM_PARAMS.items()}
    return st.fixed_dictionaries({}, optional=ranges)


@pytest.fixture(scope="module")
def arm() -> SimulatedArm:
    return SimulatedArm(SPEC, TASK)


@given(values())
def test_values_go_there_and_back(changes):
    physics = PhysicsParameters().with_values(changes)
    assert PhysicsParameters().with_values(physics.values()) == physics
    assert all(physics.values()[name] == value for name, value in changes.items())


def test_the_table_describes_every_field_and_the_nominal_arm():
    assert set(PhysicsParameters().values()) == set(ROBOT_SIM_PARAMS)
    for name, (nominal, low, high, unit, description) in ROBOT_SIM_PARAMS.items():
        assert low <= nominal <= high and unit and description, name
        assert PhysicsParameters().values()[name] == nominal


def test_bad_values_are_refused_by_name():
    with pytest.raises(ValueError, match="unknown physics parameter 'frction'.*object_friction"):
        PhysicsParameters().with_values({"frction": 1.0})
    for value in (5.0, float("nan"), True, "much"):
        with pytest.raises(ValueError, match=r"object_friction.*0\.2 to 2"):
            PhysicsParameters().with_values({"object_friction": value})


@given(st.integers(0, 10_000))
def test_shifted_arms_differ_mildly(seed):
    arm = shifted_arm(seed)
    assert arm == shifted_arm(seed)
    for name, value in arm.values().items():
        shift = getattr(SHIFTED_ARM, name) - ROBOT_SIM_PARAMS[name][0]
        assert value == pytest.approx(ROBOT_SIM_PARAMS[name][0] + shift, abs=0.15 * abs(shift) + 1e-12)


def script(arm: SimulatedArm, physics: PhysicsParameters) -> np.ndarray:
    """Everything that is measured while the arm moves away and a cube that was let go in the air hits the table."""
    scenario = Scenario({}, {"cube": (0.45, 0.0, 0.06, 0.9689, 0.0, 0.0, 0.2474)}, (0.5, 0.1, 0.02))
    arm.reset(scenario, seed=1, physics=physics)
    rows = []
    target = SPEC.home_positions + np.array([0.2, 0.1, 0.0, 0.1, 0.1, 0.0, 0.2])
    for _ in range(30):
        arm.step(target, -1.0)
        driver, objects = arm.driver_state(), arm.object_states()
        rows.append(
            np.concatenate(
                [
                    driver.joint_positions,
                    driver.joint_torques,
                    driver.wrench,
                    driver.contact_forces,
                    [driver.gripper_width],
                    objects.positions.ravel(),
                    objects.quaternions_wxyz.ravel(),
                ]
            )
        )
    return np.array(rows)


def grasp(arm: SimulatedArm, physics: PhysicsParameters) -> np.ndarray:
    """Pad forces, wrench and cube while the fingers close on a cube held out to them, and then turn with it."""
    pose = arm.kinematics.tool_pose(SPEC.home_positions).position
    scenario = Scenario({}, {"cube": (*map(float, pose), 1.0, 0.0, 0.0, 0.0)}, (0.5, 0.1, 0.02))
    arm.reset(scenario, seed=1, physics=physics)
    rows, held = [], arm.snapshot()[-7:]
    for cycle in range(80):
        if arm.true_driver_state().contact_forces.min() < 1.0 and cycle < 30:
            # The cube hangs in the air until the fingers have it.
            arm.restore(np.concatenate([arm.snapshot()[:-7], held]))
        arm.step(SPEC.home_positions + (1.5 if cycle > 40 else 0.0) * np.array([1, 0, 0, 0, 0, 0, 0]), -1.0)
        state = arm.true_driver_state()
        rows.append(np.concatenate([state.contact_forces, state.wrench, arm.true_object_states().positions[0]]))
    return np.array(rows)


def views(arm: SimulatedArm, physics: PhysicsParameters) -> np.ndarray:
    """Mean picture and depth of the scene, with the noise that one row of the picture has."""
    arm.reset(TASK.sample_scenario(np.random.default_rng(0)), 1, physics)
    picture, depth = arm.render("scene", 60, 80).astype(float), arm.depth("scene", 60, 80)
    return np.concatenate([picture.mean(axis=(0, 1)), picture[30].std(axis=0), 1e3 * depth[30]])


@pytest.mark.parametrize("name", VISUAL)
def test_every_visual_parameter_takes_effect(arm, name):
    changed = PhysicsParameters().with_values({name: CHANGED[name]})
    try:
        difference = np.abs(views(arm, changed) - views(arm, PhysicsParameters())).max()
    except RenderingError as error:
        assert "MUJOCO_GL" in str(error)
        return
    assert difference > 1.0


@pytest.mark.parametrize("name", GOAL)
def test_a_goal_lies_elsewhere_than_it_is_told(name):
    driver = SimulatedDriver(SPEC, load_task("reach"), PhysicsParameters().with_values({name: 0.02}), 0)
    tool = driver.arm.kinematics.tool_pose(SPEC.home_positions).position
    told = np.array(tool) + [0.02 * (name == other) for other in GOAL]
    driver.reset(driver.arm.task, Scenario({}, {}, tuple(told.tolist())), 0, "episode")
    assert driver.test().evidence["distance_to_goal"] < 1e-3


@pytest.mark.parametrize("name", [name for name in ROBOT_SIM_PARAMS if name not in (*VISUAL, *GOAL)])
def test_every_parameter_takes_effect(arm, name):
    assert name in CHANGED
    changed = PhysicsParameters().with_values({name: CHANGED[name]})
    difference = np.abs(script(arm, changed) - script(arm, PhysicsParameters())).max()
    if name in ("object_friction", "grip_force", "object_mass_scale"):  # felt in the hand
        difference = np.abs(grasp(arm, changed) - grasp(arm, PhysicsParameters())).max()
    assert difference > 1e-4


def peak_after_impact(arm: SimulatedArm, restitution: float) -> float:
    scenario = Scenario({}, {"cube": (0.5, 0.15, 0.15, 1.0, 0.0, 0.0, 0.0)}, (0.5, 0.1, 0.02))
    arm.reset(scenario, 0, PhysicsParameters(restitution=restitution))
    heights = []
    for _ in range(60):
        arm.step(SPEC.home_positions, 1.0)
        heights.append(arm.true_object_states().positions[0, 2])
    landed = int(np.argmax(np.array(heights) < 0.03))
    return max(heights[landed:]) - 0.02


def test_more_restitution_bounces_higher(arm):
    peaks = [peak_after_impact(arm, value) for value in (0.0, 0.4, 0.8)]
    assert peaks[0] < peaks[1] < peaks[2] < 0.13


def test_delay_shifts_the_motion_in_time(arm):
    def track(delay: float) -> np.ndarray:
        arm.reset(TASK.sample_scenario(np.random.default_rng(0)), 0, PhysicsParameters(actuator_delay=delay))
        rows = []
        for _ in range(40):
            arm.step(SPEC.home_positions + 0.05, 1.0)
            rows.append(arm.true_driver_state().joint_positions)
        return np.array(rows)

    np.testing.assert_allclose(track(0.08)[8:], track(0.0)[:-8], atol=1e-3)
