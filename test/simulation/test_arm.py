"""The simulated arm: measurements, motion, forces, time, pictures."""

import numpy as np
import pytest

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.camera import RenderingError
from physai_ros.simulation.physics import SHIFTED_ARM, PhysicsParameters
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import ObjectSpec, Scenario

TASK = load_task("pick_place")
SPEC = RobotSpec.load("fr3_sim")
SCENARIO = TASK.sample_scenario(np.random.default_rng(5))


@pytest.fixture(scope="module")
def arm() -> SimulatedArm:
    return SimulatedArm(SPEC, TASK)


def measured(arm: SimulatedArm) -> np.ndarray:
    driver, objects = arm.driver_state(), arm.object_states()
    parts = [driver.joint_positions, driver.joint_velocities, driver.joint_torques, driver.wrench]
    return np.concatenate([*parts, driver.contact_forces, objects.positions.ravel(), objects.quaternions_wxyz.ravel()])


def drive(arm: SimulatedArm, seed: int, cycles: int = 40) -> np.ndarray:
    arm.reset(SCENARIO, seed, SHIFTED_ARM)
    rows = [measured(arm)]
    for cycle in range(cycles):
        arm.step(SPEC.home_positions + 0.2 * np.sin(0.1 * cycle), np.cos(0.2 * cycle))
        rows.append(measured(arm))
    return np.array(rows)


def test_an_episode_depends_on_its_seed_alone(arm):
    first = drive(arm, 3)
    arm.reset(TASK.sample_scenario(np.random.default_rng(9)), 1, PhysicsParameters())
    np.testing.assert_array_equal(drive(arm, 3), first)
    np.testing.assert_array_equal(drive(SimulatedArm(SPEC, TASK), 3), first)
    assert np.abs(drive(arm, 4) - first).max() > 0


def test_asking_twice_gives_the_same_measurement(arm):
    arm.reset(SCENARIO, 0, SHIFTED_ARM)
    first = measured(arm)
    arm.task_state()
    np.testing.assert_array_equal(measured(arm), first)


def test_time_and_sequence_go_on_over_a_reset(arm):
    arm.reset(SCENARIO, 0)
    before = arm.driver_state()
    arm.step(SPEC.home_positions, 1.0)
    arm.reset(SCENARIO, 0)
    after = arm.driver_state()
    assert after.sequence == before.sequence + 2
    assert after.stamp == pytest.approx(before.stamp + 2 * SPEC.control_period)
    assert arm.object_states().sequence == after.sequence


def test_noise_has_the_size_that_was_asked_for(arm):
    arm.reset(SCENARIO, 0, PhysicsParameters(encoder_noise=0.004, object_noise=0.003, force_noise=0.5))
    rows = []
    for _ in range(400):
        true, driver = arm.true_driver_state(), arm.driver_state()
        objects = arm.object_states().positions - arm.true_object_states().positions
        wrench = driver.wrench - true.wrench
        rows.append(np.concatenate([driver.joint_positions - true.joint_positions, wrench[:3], objects[0]]))
        arm.step(SPEC.home_positions, 1.0)
    spread = np.std(rows, axis=0)
    np.testing.assert_allclose(spread, [0.004] * 7 + [0.5] * 3 + [0.003] * 3, rtol=0.2)


def test_perception_is_off_by_the_calibration(arm):
    physics = PhysicsParameters(calibration_x=0.012, calibration_y=-0.01, calibration_z=0.004, calibration_yaw=0.06)
    arm.reset(SCENARIO, 0, physics)
    seen, true = arm.perceived_state().object_poses["cube"], arm.task_state().object_poses["cube"]
    np.testing.assert_allclose(seen[:3] - true[:3], [0.012, -0.01, 0.004], atol=1e-12)
    yaw = 2 * (np.arctan2(seen[6], seen[3]) - np.arctan2(true[6], true[3]))
    assert yaw == pytest.approx(0.06)


def test_holds_its_set_point_and_feels_nothing_in_free_motion(arm):
    arm.reset(SCENARIO, 0, PhysicsParameters())
    target = SPEC.home_positions + np.array([0.2, 0.1, -0.1, 0.1, 0.2, 0.1, -0.2])
    forces = []
    for cycle in range(200):
        arm.step(SPEC.home_positions + min(1.0, cycle / 100) * (target - SPEC.home_positions), 1.0)
        forces.append(np.abs(arm.driver_state().wrench).max())
    state = arm.driver_state()
    np.testing.assert_allclose(state.joint_positions, target, atol=2e-3)
    np.testing.assert_allclose(state.commanded_positions, target)
    assert max(forces) < 1e-9
    assert (np.abs(state.joint_torques) <= SPEC.effort_limits).all()


def test_a_servo_returns_from_afar_at_the_speed_of_its_joint(arm):
    arm.reset(SCENARIO, 0, PhysicsParameters())
    far, fastest = SPEC.home_positions.copy(), np.zeros(7)
    far[[0, 4, 6]] += [1.0, -1.5, 1.5]
    for _ in range(200):
        arm.step(far, 1.0)
        fastest = np.maximum(fastest, np.abs(arm.true_driver_state().joint_velocities))
    assert (fastest <= 1.1 * SPEC.velocity_limits).all()
    assert (fastest[[0, 4, 6]] > 0.8 * SPEC.velocity_limits[[0, 4, 6]]).all()
    assert np.allclose(arm.true_driver_state().joint_positions, far, atol=0.01)


def test_pressing_on_the_table_is_felt_upwards_and_named(arm):
    arm.reset(TASK.scenario({**SCENARIO.parameters, "cube_y": 0.2}), 0, PhysicsParameters())
    pose = arm.kinematics.tool_pose(SPEC.home_positions)
    positions = SPEC.home_positions
    for step in range(150):
        height = max(pose.position[2] - 0.003 * step, 0.008)
        positions = arm.kinematics.step_towards(positions, pose._replace(position=[*pose.position[:2], height]))
        arm.step(positions, 1.0)
    state = arm.task_state()
    to_base = arm.kinematics.tool_pose(state.joint_positions).rotation
    force = to_base @ state.wrench[:3]
    assert force[2] > 5.0
    touching = [c for c in arm.contacts() if "table" in c[:2] and any("finger" in name for name in c[:2])]
    assert sum(c.force for c in touching) == pytest.approx(force[2], rel=0.2)


def test_a_grasp_is_felt_on_both_pads_with_the_grip_force(arm):
    pose = arm.kinematics.tool_pose(SPEC.home_positions).position
    scenario = Scenario({}, {"cube": (*map(float, pose), 1.0, 0.0, 0.0, 0.0)}, (0.5, 0.1, 0.02))
    held = 0.0
    arm.reset(scenario, 0, PhysicsParameters(grip_force=15.0, gravity=9.0))
    for _ in range(80):
        if arm.true_driver_state().contact_forces.min() < 1.0 and held == 0.0:
            # The cube hangs in the air until the fingers have it.
            snapshot = arm.snapshot()
            snapshot[-7:-4] = pose
            arm.restore(snapshot)
        else:
            held += 1
        arm.step(SPEC.home_positions, -1.0)
    state = arm.task_state()
    np.testing.assert_allclose(state.contact_forces, 15.0, rtol=0.1)
    assert state.gripper_width == pytest.approx(0.04, abs=0.003)
    weight = arm.kinematics.tool_pose(state.joint_positions).rotation @ state.wrench[:3]
    assert weight[2] == pytest.approx(-0.1 * 9.0, rel=0.1)


def test_bad_commands_and_scenarios_are_refused(arm):
    arm.reset(SCENARIO, 0)
    for positions, gripper in (([0.0] * 6, 0.0), ([np.nan] * 7, 0.0), (SPEC.home_positions, np.inf)):
        with pytest.raises(ValueError, match="7 finite joint positions"):
            arm.step(np.array(positions), gripper)
    with pytest.raises(ValueError, match="no pose for 'cube'"):
        arm.reset(Scenario({}, {}, (0.0,)), 0)


def test_fixed_objects_stay_where_the_scenario_puts_them():
    class Shelf(type(TASK)):
        objects = (*TASK.objects, ObjectSpec("shelf", (0.1, 0.1, 0.1), 1.0, (0.5, 0.5, 0.5, 1.0), fixed=True))

        def sample_scenario(self, generator) -> Scenario:
            poses = {"cube": (0.5, 0.0, 0.17, 1.0, 0.0, 0.0, 0.0), "shelf": (0.5, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0)}
            return Scenario({}, poses, (0.5, 0.0, 0.0))

    arm = SimulatedArm(SPEC, Shelf())
    for _ in range(50):
        arm.step(SPEC.home_positions, 1.0)
    states = arm.true_object_states()
    assert states.names == ("cube", "shelf")
    np.testing.assert_allclose(states.positions, [[0.5, 0.0, 0.17], [0.5, 0.0, 0.1]], atol=2e-3)


def test_pictures_show_the_scene_and_a_recorded_state(arm):
    arm.reset(SCENARIO, 0)
    try:
        first = arm.render("scene", 120, 160)
    except RenderingError as error:
        assert "MUJOCO_GL" in str(error)
        return
    assert first.shape == (120, 160, 3) and first.dtype == np.uint8 and first.std() > 10
    recorded, snapshot = arm.task_state(), arm.snapshot()
    for _ in range(30):
        arm.step(SPEC.home_positions + 0.3, -1.0)
    assert np.abs(arm.render("scene", 120, 160).astype(int) - first).max() > 50
    arm.restore(snapshot)
    np.testing.assert_array_equal(arm.render("scene", 120, 160), first)
    arm.reset(SCENARIO, 0)
    arm.show(recorded)
    np.testing.assert_array_equal(arm.render("scene", 120, 160), first)
    with pytest.raises(RenderingError, match="scene, wrist"):
        arm.render("ceiling", 120, 160)
    arm.close()
