"""Twins: drawn by seed alone, different from one another, and beyond what physics parameters can say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.twins import Beyond, Twin
from physai_ros.tasks.catalog import load_task

TASK = load_task("pick_place")
SPEC = RobotSpec.load("fr3_sim")
SCENARIO = TASK.sample_scenario(np.random.default_rng(2))


def motion(arm: SimulatedArm) -> np.ndarray:
    """What is measured while the arm waves to and fro."""
    arm.reset(SCENARIO, 1)
    rows = []
    for cycle in range(60):
        arm.step(SPEC.home_positions + 0.2 * np.sin(0.1 * cycle), -1.0)
        driver, objects = arm.driver_state(), arm.object_states()
        rows.append(np.concatenate([driver.joint_positions, driver.joint_velocities, objects.positions.ravel()]))
    return np.array(rows)


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_a_twin_is_drawn_by_its_seed_alone(seed):
    twin = Twin.draw(seed)
    assert twin == Twin.draw(seed)
    assert twin.physics != Twin.draw(seed + 1).physics
    assert Twin.draw(seed, inside=True).beyond == Beyond()


def test_draws_are_frozen():
    physics = Twin.draw(1000).physics
    assert [round(physics.actuator_delay, 6), round(physics.goal_x, 6)] == [0.038642, 0.023041]


def test_recordings_of_a_twin_depend_on_the_seed_alone():
    twin = Twin.draw(3)
    np.testing.assert_array_equal(motion(twin.arm(SPEC, TASK)), motion(twin.arm(SPEC, TASK)))


def test_a_twin_from_inside_is_what_the_simulator_can_imitate():
    twin = Twin.draw(3, inside=True)
    np.testing.assert_array_equal(motion(twin.arm(SPEC, TASK)), motion(SimulatedArm(SPEC, TASK, twin.physics)))


@pytest.mark.parametrize(
    "beyond",
    [
        Beyond(breakaway=1.5),
        Beyond(joint_spread=0.2),
        Beyond(cable_stiffness=1.0),
        Beyond(cable_mass=0.3),
        Beyond(delay_jitter=0.02),
        Beyond(noise_persistence=0.8),
        Beyond(magnification=0.02),
    ],
    ids=lambda beyond: next(name for name, value in vars(beyond).items() if value != getattr(Beyond(), name)),
)
def test_what_lies_beyond_takes_effect(beyond):
    physics = Twin.draw(3, inside=True).physics
    inside, outside = (Twin(3, physics, each).arm(SPEC, TASK) for each in (Beyond(), beyond))
    assert np.abs(motion(outside) - motion(inside)).max() > 1e-4


def test_noise_keeps_its_size_whatever_its_memory():
    physics = Twin.draw(3, inside=True).physics.with_values({"encoder_noise": 0.004})
    arm = Twin(3, physics, Beyond(noise_persistence=0.8)).arm(SPEC, TASK)
    arm.reset(SCENARIO, 0)
    noise = []
    for _ in range(400):
        noise.append(arm.driver_state().joint_positions - arm.true_driver_state().joint_positions)
        arm.step(SPEC.home_positions, 1.0)
    noise = np.array(noise)
    np.testing.assert_allclose(noise.std(), 0.004, rtol=0.15)
    assert np.mean(noise[1:] * noise[:-1]) / np.mean(noise**2) == pytest.approx(0.8, abs=0.08)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="twin seed is -1"):
        Twin.draw(-1)
