"""The safety monitor under bad policies and strange inputs, and the same checks without it, which fail."""

import numpy as np
import pytest

from physai_ros.evaluation.motion_check import MotionCheck
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.safety_fuzz import SafetyFuzz
from physai_ros.evaluation.safety_hours import POLICIES, SafetyTrial
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Purpose
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.safety.limits import SafetyLimits
from physai_ros.tasks.catalog import load_task


@pytest.mark.parametrize("count", [3_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_no_answer_lies_outside_a_limit_and_every_refusal_has_a_reason(count):
    result = SafetyFuzz(seed=3).run(count)
    assert result.violations == {}
    assert result.proposals == count and result.permitted > 0.3 * count
    expected = {"proposal_not_finite", "proposal_malformed", "proposal_joints", "intervention_invalid", "state_invalid"}
    assert expected <= set(result.reasons)


@pytest.mark.parametrize("seconds", [5.0, pytest.param(3600.0, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_bad_policy_breaks_no_limit(policy, seconds):
    trial = SafetyTrial(policy)
    result = trial.run(seconds)
    trial.close()
    assert result.commanded == {} and result.arm == {}
    assert result.cycles == round(seconds * 100)


@pytest.mark.parametrize("policy", POLICIES)
def test_without_the_filter_the_same_policy_breaks_them_all(policy):
    trial = SafetyTrial(policy, filtered=False)
    result = trial.run(8.0)
    trial.close()
    commanded = {"position", "velocity", "acceleration", "jerk", "workspace", "half_space table", "self_distance"}
    assert commanded <= set(result.commanded)
    assert {"position", "velocity"} <= set(result.arm)
    assert result.violations > 800


def test_contact_stops_break_no_limit_and_it_goes_on_after_them():
    limits = SafetyLimits.from_spec(RobotSpec.load("fr3_sim"), force_budget=1.0, force_cycles=1)
    trial = SafetyTrial("adversarial", seed=1, limits=limits)
    result = trial.run(15.0)
    trial.close()
    assert result.violations == 0
    assert result.stops["contact_force"] > 1


def test_an_unknown_policy_is_named():
    with pytest.raises(ValueError, match="unknown policy 'kind'; known are: random, adversarial"):
        SafetyTrial("kind")


def test_the_filter_does_not_touch_a_demonstration():
    task = load_task("pick_place")
    outcomes, paths = [], []
    seed = scenario_seeds("held_out", 0, 1)[0]
    for filtered in (True, False):
        path = []
        rollout = Rollout(RobotSpec.load("fr3_sim"), task, filtered=filtered)
        keep = lambda _state, command, path=path: path.append(command.positions)  # noqa: E731
        episode = rollout.run(scenario_of(task, seed), seed, Purpose.DEMONSTRATE, on_cycle=keep)
        rollout.close()
        outcomes.append(episode.outcome.success)
        paths.append(np.array(path))
    assert outcomes == [True, True]
    assert np.array_equal(*paths)


@pytest.mark.parametrize(
    ("step", "broken"),
    [
        (np.full(7, 0.004), {"acceleration", "jerk"}),
        (np.full(7, 0.04), {"velocity", "acceleration", "jerk"}),
        (np.array([4.0, 0, 0, 0, 0, 0, 0]), {"position", "velocity", "acceleration", "jerk"}),
        (np.zeros(7), set()),
    ],
)
def test_the_check_itself_fails_where_it_should(step, broken):
    spec = RobotSpec.load("fr3_sim")
    limits = SafetyLimits.from_spec(spec, jerk=np.full(7, 20.0))
    check = MotionCheck(limits, Kinematics(spec), spec.control_period)
    check.start(spec.home_positions)
    check.see(spec.home_positions + step)
    assert set(check.violations) == broken


def test_without_the_filter_the_expert_succeeds_in_one_episode_after_the_other():
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, filtered=False)
    for seed in (1, 2):
        scenario = task.sample_scenario(np.random.default_rng(seed))
        assert rollout.run(scenario, seed, Purpose.DEMONSTRATE).outcome.success
    rollout.close()
