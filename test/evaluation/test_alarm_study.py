"""What a study counts of an alarm."""

from dataclasses import replace

import numpy as np
import pytest

from physai_ros.evaluation.alarm_study import CASES, NOMINAL, StudyEpisode, judge_case, policy_step, run_case
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.policy.alarm import Alarm
from physai_ros.policy.network import Prediction
from physai_ros.tasks.catalog import load_task


def make_alarm(features=4) -> Alarm:
    return Alarm(np.zeros((1, features)), np.ones(3), 2.0, 0.1, 4, 20, "0" * 64, window=1)


def episode(success, scores) -> StudyEpisode:
    decisions = tuple(Prediction(np.zeros((1, 2)), 0.5, score, np.zeros(4, dtype=np.float32)) for score in scores)
    return StudyEpisode(NOMINAL, 1, success, "none" if success else "timeout", 0.1 * len(scores), decisions)


def test_alarms_are_counted_by_outcome_with_cause_and_lead_time():
    found = [
        episode(True, [0.0, 1.0, 1.9]),
        episode(True, [0.0, 2.1, 0.0]),
        episode(False, [0.0, 3.0, 0.0, 0.0, 0.0]),
        episode(False, [0.0, 0.0]),
    ]
    result = judge_case(make_alarm(), found, 0.1)
    assert (result.success.count, result.success.total) == (2, 4)
    assert (result.alarms_on_success.count, result.alarms_on_success.total) == (1, 2)
    assert (result.alarms_on_failure.count, result.alarms_on_failure.total) == (1, 2)
    assert result.lead_time == pytest.approx(0.4)
    assert result.causes == {"spread": 2}
    row = result.row()
    assert row["alarms"] == 0.5
    assert row["alarms_lower"] < 0.5 < row["alarms_upper"]
    assert row["by_spread"] == 2


def test_a_case_runs_on_its_own_arm_and_an_alarm_drives_along(spec, registry):
    policy = registry.load("000002")
    rollout = Rollout(spec, load_task("reach"))
    seeds = scenario_seeds("held_out", 5, 2)
    heard = []
    nominal = run_case(rollout, policy, NOMINAL, seeds, lambda: heard.append(1))
    shifted = run_case(rollout, policy, "servos late", seeds)
    assert len(heard) == 2
    assert [one.scenario_seed for one in nominal] == list(seeds)
    assert all(one.success for one in nominal)
    pairs = zip(nominal, shifted, strict=True)
    assert any((a.decisions[-1].actions != b.decisions[-1].actions).any() for a, b in pairs)
    # An alarm that is always raised: the arm slows down, then holds.
    hidden = policy.manifest.architecture.hidden_sizes[-1]
    always = replace(make_alarm(hidden), threshold=1e-6)
    held = run_case(rollout, type(policy)(policy.manifest, policy.network, always), NOMINAL, seeds)
    assert all(slow.duration > fast.duration for slow, fast in zip(held, nominal, strict=True))
    assert len(CASES) > 3
    assert policy_step(rollout) == pytest.approx(0.1)
    rollout.close()
