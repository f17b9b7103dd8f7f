"""Whole episodes on the simulated arm: the expert solves, the test judges, the operator takes over when it must."""

from collections.abc import Callable

import numpy as np
import pytest

from physai_ros.robot.cartesian_reference import CartesianReference
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.physics import SHIFTED_ARM, PhysicsParameters
from physai_ros.tasks.catalog import TASKS, load_task
from physai_ros.tasks.operator import ScriptedOperator
from physai_ros.tasks.task import Outcome, Scenario, TaskAction

SPEC = RobotSpec.load("fr3_sim")
ARMS: dict[str, SimulatedArm] = {}
Decide = Callable[[RobotState, tuple, float, np.ndarray], TaskAction]


def arm_for(name: str) -> SimulatedArm:
    if name not in ARMS:
        ARMS[name] = SimulatedArm(SPEC, load_task(name))
    return ARMS[name]


def episode(
    arm: SimulatedArm,
    seed: int,
    decide: Decide,
    physics: PhysicsParameters | None = None,
    *,
    noise: float = 0.0,
    scenario: Scenario | None = None,
) -> Outcome:
    """One episode in which `decide` sees the true state; `noise` disturbs each step, in shares of the action scale."""
    task, generator = arm.task, np.random.default_rng([seed, 11])
    scenario = scenario or task.sample_scenario(generator)
    goal = np.array(scenario.goal)
    arm.reset(scenario, seed, physics or PhysicsParameters())
    reference = CartesianReference(arm.kinematics, 10)
    reference.reset(arm.driver_state().commanded_positions)
    test, start, cycle = task.test(), arm.time, 0
    while True:
        state = arm.task_state()
        outcome = test.update(state, arm.time - start, goal)
        if outcome.done:
            assert test.update(state, arm.time - start + 1.0, goal) is outcome
            return outcome
        if cycle % 10 == 0:
            action = decide(state, reference.commanded_pose, arm.time - start, goal)
            displacement = action.ee_delta.copy()
            axes = list(task.action_axes)
            assert (np.abs(displacement[axes]) <= np.array(task.action_scale) + 1e-9).all()
            displacement[axes] += noise * np.array(task.action_scale) * generator.standard_normal(len(axes))
            reference.begin_step(displacement)
        arm.step(reference.advance(state.commanded_positions), action.gripper)
        cycle += 1


def expert(arm: SimulatedArm, seed: int) -> Decide:
    solver = arm.task.expert(np.random.default_rng(seed))
    return lambda state, pose, elapsed, goal: solver.act(state, pose, goal)


@pytest.mark.parametrize("name", sorted(TASKS))
@pytest.mark.parametrize(("physics", "noise"), [(PhysicsParameters(), 0.0), (SHIFTED_ARM, 0.0), (SHIFTED_ARM, 0.3)])
def test_the_expert_solves(name, physics, noise):
    arm = arm_for(name)
    outcomes = [episode(arm, seed, expert(arm, seed), physics, noise=noise) for seed in range(10)]
    failed = [(seed, o.failure_mode, o.stage) for seed, o in enumerate(outcomes) if not o.success]
    assert len(failed) <= (1 if noise else 0), failed
    assert all(o.failure_mode == "none" and o.reward == 1.0 for o in outcomes if o.success)
    assert np.mean([o.evidence["elapsed"] for o in outcomes]) < 0.6 * arm.task.time_limit


def test_doing_nothing_times_out():
    arm = arm_for("pick_place")
    outcome = episode(arm, 0, lambda *_: TaskAction(np.zeros(6), 1.0))
    assert outcome.done and not outcome.success and outcome.failure_mode == "timeout" and outcome.stage == "reach"
    assert outcome.evidence["elapsed"] == pytest.approx(arm.task.time_limit, abs=0.02)


def test_pressing_on_the_table_is_a_collision():
    arm = arm_for("pick_place")
    outcome = episode(arm, 0, lambda *_: TaskAction(np.array([0, 0, -0.025, 0, 0, 0]), 1.0))
    assert outcome.failure_mode == "collision"
    assert outcome.evidence["peak_force"] > arm.task.force_budget


def test_letting_go_in_the_air_is_a_drop():
    arm = arm_for("pick_place")
    solve = expert(arm, 0)
    dropped = False

    def decide(state, pose, elapsed, goal) -> TaskAction:
        nonlocal dropped
        dropped |= state.object_poses["cube"][2] > 0.08
        return TaskAction(np.zeros(6), 1.0) if dropped else solve(state, pose, elapsed, goal)

    outcome = episode(arm, 0, decide)
    assert outcome.failure_mode == "drop" and outcome.stage == "lost"
    assert outcome.evidence["peak_height"] > 0.08 and outcome.evidence["grasps"] == 1


def test_the_expert_grasps_again_after_a_drop():
    arm = arm_for("pick_place")
    solve = expert(arm, 1)
    opened = 0

    def drop_once(state, pose, elapsed, goal) -> TaskAction:
        nonlocal opened
        if 0 < opened < 4 or (opened == 0 and state.object_poses["cube"][2] > 0.06):
            opened += 1
            return TaskAction(np.zeros(6), 1.0)
        return solve(state, pose, elapsed, goal)

    values = {"cube_x": 0.45, "cube_y": -0.15, "cube_yaw": 0.3, "goal_x": 0.5, "goal_y": 0.2}
    outcome = episode(arm, 1, drop_once, scenario=arm.task.scenario(values))
    assert outcome.success and outcome.evidence["grasps"] == 2


def test_a_cube_out_of_reach_ends_the_episode():
    arm = arm_for("pick_place")
    scenario = Scenario({}, {"cube": (0.3, 0.5, 0.02, 1.0, 0.0, 0.0, 0.0)}, (0.5, 0.0, 0.02))
    outcome = episode(arm, 0, lambda *_: TaskAction(np.zeros(6), 1.0), scenario=scenario)
    assert outcome.failure_mode == "unknown" and outcome.evidence["elapsed"] < 0.1


def test_a_cube_put_at_the_goal_but_never_lifted_is_no_success():
    arm = arm_for("pick_place")
    scenario = Scenario({}, {"cube": (0.5, 0.0, 0.02, 1.0, 0.0, 0.0, 0.0)}, (0.5, 0.01, 0.02))
    outcome = episode(arm, 0, lambda *_: TaskAction(np.zeros(6), 1.0), scenario=scenario)
    assert not outcome.success


def test_the_operator_leaves_a_good_policy_alone():
    arm = arm_for("pick_place")
    for seed in range(4):
        operator = ScriptedOperator(arm.task, np.random.default_rng(seed))
        solve = expert(arm, seed)

        def decide(state, pose, elapsed, goal, operator=operator, solve=solve) -> TaskAction:
            assert operator.observe(state, pose, elapsed, goal) is None
            return solve(state, pose, elapsed, goal)

        assert episode(arm, seed, decide, SHIFTED_ARM).success
        assert not operator.driving


def helpless(state: RobotState, pose: tuple, elapsed: float, goal: np.ndarray) -> TaskAction:
    return TaskAction(np.zeros(6), 1.0)


def grasping_at_nothing(state: RobotState, pose: tuple, elapsed: float, goal: np.ndarray) -> TaskAction:
    return TaskAction(np.zeros(6), -1.0)


@pytest.mark.parametrize(("policy", "reason"), [(helpless, "stuck"), (grasping_at_nothing, "closed_on_nothing")])
def test_the_operator_takes_over_and_finishes(policy, reason):
    arm = arm_for("pick_place")
    for seed in range(4):
        operator = ScriptedOperator(arm.task, np.random.default_rng(seed))
        taken = []

        def decide(state, pose, elapsed, goal, operator=operator, taken=taken) -> TaskAction:
            action = operator.observe(state, pose, elapsed, goal)
            taken.append(action is not None)
            return policy(state, pose, elapsed, goal) if action is None else action

        assert episode(arm, seed, decide, SHIFTED_ARM).success
        assert operator.reason == reason
        assert taken == sorted(taken) and not any(taken[:5])  # once it drives it goes on, and nobody reacts at once


def test_the_operator_sees_a_drop_as_a_setback():
    arm = arm_for("pick_place")
    operator = ScriptedOperator(arm.task, np.random.default_rng(0))
    solve, dropped = expert(arm, 3), False

    def decide(state, pose, elapsed, goal) -> TaskAction:
        nonlocal dropped
        action = operator.observe(state, pose, elapsed, goal)
        dropped |= state.object_poses["cube"][2] > 0.07
        if action is not None:
            return action
        return TaskAction(np.zeros(6), 1.0) if dropped else solve(state, pose, elapsed, goal)

    values = {"cube_x": 0.45, "cube_y": -0.15, "cube_yaw": 0.3, "goal_x": 0.5, "goal_y": 0.2}
    outcome = episode(arm, 3, decide, scenario=arm.task.scenario(values))
    assert outcome.success and operator.reason == "setback" and outcome.evidence["grasps"] == 2
