"""An alarm keeps to the share of false alarms that was set, and is calibrated on what a policy did alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.evaluation.alarm_calibration import (
    CalibrationError,
    DecisionReader,
    calibrate,
    calibration_rank,
    conformal_threshold,
    levels_of,
    rate_interval,
)
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Purpose
from physai_ros.policy.network import Prediction
from physai_ros.robot.kinematics import Kinematics
from physai_ros.tasks.catalog import load_task


@pytest.fixture(scope="module")
def policy(registry):
    return registry.load("000002")


def solved(generator, count, shift=0.0):
    """Decisions of made-up episodes whose features wander about the origin."""
    return [
        [
            Prediction(np.zeros((1, 2)), 0.5, float(generator.exponential(0.1)), features.astype(np.float32))
            for features in generator.normal(shift, 1.0, size=(int(generator.integers(5, 15)), 6))
        ]
        for _ in range(count)
    ]


@settings(deadline=None)
@given(
    scores=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60),
    rate=st.floats(0.02, 0.98),
)
def test_at_most_the_set_share_of_the_calibration_set_and_one_more_lies_above(scores, rate):
    if calibration_rank(len(scores), rate) > len(scores):
        with pytest.raises(CalibrationError, match="too few|it takes"):
            conformal_threshold(scores, rate)
        return
    threshold = conformal_threshold(scores, rate)
    assert threshold in scores
    # The exchangeability argument, counted: each of the n + 1 episodes is equally likely to be the new one.
    assert (np.array(scores) > threshold).sum() + 1 <= rate * (len(scores) + 1) + 1 + 1e-6


@settings(deadline=None)
@given(scores=st.lists(st.floats(0.0, 1.0), min_size=20, max_size=60), a=st.floats(0.05, 0.9), b=st.floats(0.05, 0.9))
def test_a_lower_rate_never_lowers_the_threshold(scores, a, b):
    low, high = sorted((a, b))
    assert conformal_threshold(scores, low) >= conformal_threshold(scores, high)


def test_false_alarms_over_many_calibrations_keep_to_the_set_rate(policy):
    generator = np.random.default_rng(0)
    alarms = []
    for _ in range(60):
        alarm = calibrate(policy, solved(generator, 45), 0.2)
        alarms += [levels_of(alarm, episode).first_alarm is not None for episode in solved(generator, 20)]
    low, high = rate_interval(30, 0.2)
    assert low < 0.2 < high
    # 1,200 episodes over 60 calibrations: the mean rate is 6/31, its standard error about 0.015.
    assert 0.12 < np.mean(alarms) < 0.2 + 3 * 0.015


def test_what_was_never_met_raises_an_alarm_and_its_cause_is_named(policy):
    generator = np.random.default_rng(1)
    alarm = calibrate(policy, solved(generator, 45), 0.1)
    assert alarm.reference_episodes == 15
    assert alarm.calibration_episodes == 30
    levels = [levels_of(alarm, episode) for episode in solved(generator, 10, shift=5.0)]
    assert all(one.first_alarm is not None for one in levels)
    assert levels[0].causes[levels[0].first_alarm] == "observation"


def test_too_few_episodes_say_how_many_it_takes(policy):
    with pytest.raises(CalibrationError, match=r"10 successful episodes.*takes about 30"):
        calibrate(policy, solved(np.random.default_rng(0), 10), 0.05)
    calibrate(policy, solved(np.random.default_rng(0), 30), 0.05)


def test_decisions_read_from_an_episode_are_those_that_drove_it_and_only_own_successes_count(spec, policy, registry):
    task = load_task("reach")
    rollout = Rollout(spec, task, policy=policy)
    seed = scenario_seeds("held_out", 0, 1)[0]
    driven = []
    episode = rollout.run(
        scenario_of(task, seed), seed, on_cycle=lambda _state, _command: driven.append(rollout.runtime.last_observation)
    )
    reader = DecisionReader(policy, task, Kinematics(spec))
    read = reader.decisions(episode)
    # The runtime decides once a policy step.
    seen = [driven[0], *(b for a, b in zip(driven, driven[1:], strict=False) if b is not a)]
    assert len(read) == len(seen)
    for decision, observation in zip(read, seen, strict=True):
        assert (decision.actions == policy.predict(observation).actions).all()
    assert reader.why_not(episode) == ("" if episode.outcome.success else "failed")
    person = rollout.run(scenario_of(task, seed), seed, Purpose.DEMONSTRATE)
    assert reader.why_not(person) == "driven by a person"
    assert "driven by 000002" in DecisionReader(registry.load("000003"), task, Kinematics(spec)).why_not(episode)
    assert "task" in DecisionReader(policy, load_task("pick_place"), Kinematics(spec)).why_not(episode)
    rollout.close()
