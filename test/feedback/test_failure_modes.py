"""Each failure has one cause, and it is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.feedback.failure_modes import classify_failure
from physai_ros.robot.command import CommandSource
from physai_ros.tasks.task import FAILURE_MODES

BUDGET = 40.0


def grasp(episode, begin, end, rise=0.0):
    """Hold an object from sample `begin` to `end`, lifting it; it is lost while the fingers go on closing."""
    series = episode.series
    series["gripper_command"][begin:] = -1.0
    series["contact_forces"][begin:end] = 8.0
    series["gripper_width"][begin:] = 0.04
    series["gripper_width"][end:] = 0.0
    series["ee_position"][begin:, 2] = 0.02 + rise * np.clip(np.linspace(0, 2, len(series["stamp"]) - begin), 0, 1)
    return episode


def hit(episode, force, begin, length):
    episode.series["wrench"][begin : begin + length, 2] = force
    return episode


def stop(episode, begin):
    episode.series["command_source"][begin:] = CommandSource.STOP
    return episode


def cut_off(episode):
    episode.complete = False
    return episode


@pytest.mark.parametrize(
    ("build", "mode"),
    [
        (lambda make: make(success=True), "none"),
        (lambda make: make(end_reason="operator took it away"), "operator_abort"),
        (lambda make: stop(make(), 450), "safety_stop"),
        (lambda make: make(end_reason="safety"), "safety_stop"),
        (lambda make: stop(hit(make(), 90.0, 430, 10), 440), "collision"),
        (lambda make: hit(make(), 90.0, 300, 10), "collision"),
        (lambda make: make(mode="timeout", end_reason="timeout"), "timeout"),
        (lambda make: make(end_reason="timeout"), "timeout"),
        (lambda make: grasp(make(mode="timeout"), 100, 400, rise=0.1), "drop"),
        (lambda make: grasp(make(mode="timeout"), 100, 400, rise=0.0), "unstable_grasp"),
        (lambda make: grasp(make(mode="timeout"), 100, 600, rise=0.1), "timeout"),
        (lambda make: make(mode="planning_failure"), "planning_failure"),
        (lambda make: make(), "unknown"),
        (lambda make: cut_off(make()), "unknown"),
    ],
)
def test_each_cause_is_named(make_episode, build, mode):
    verdict = classify_failure(build(make_episode), BUDGET)
    assert verdict.mode == mode
    assert 0.5 <= verdict.confidence <= 1.0
    assert all(isinstance(v, float) for v in verdict.evidence.values())


@pytest.mark.parametrize(
    "build",
    [
        lambda make: hit(make(mode="timeout"), 39.0, 300, 200),  # much force, within the budget
        lambda make: hit(make(mode="timeout"), 90.0, 300, 3),  # a knock
    ],
)
def test_what_looks_alike_is_told_apart(make_episode, build):
    assert classify_failure(build(make_episode), BUDGET).mode == "timeout"


def test_letting_go_on_purpose_is_no_drop(make_episode):
    episode = grasp(make_episode(mode="timeout"), 100, 400, rise=0.1)
    episode.series["gripper_command"][400:] = 1.0
    assert classify_failure(episode, BUDGET).mode == "timeout"


def test_a_stop_that_was_resumed_is_not_the_cause(make_episode):
    episode = make_episode(mode="timeout")
    episode.series["command_source"][100:150] = CommandSource.STOP
    assert classify_failure(episode, BUDGET).mode == "timeout"


def test_a_piece_of_a_stop_at_the_very_end_is_not_the_cause(make_episode):
    assert classify_failure(stop(make_episode(mode="timeout"), 597), BUDGET).mode == "timeout"


@pytest.mark.parametrize(("rise", "mode"), [(0.0, "unstable_grasp"), (0.1, "timeout")])
def test_a_grasp_makes_good_for_a_loss_only_if_it_carries(make_episode, rise, mode):
    episode = grasp(make_episode(mode="timeout"), 100, 300)
    episode.series["gripper_command"][350:400] = 1.0
    series = grasp(episode, 400, 600, rise).series
    series["gripper_command"][350:400] = 1.0
    assert classify_failure(episode, BUDGET).mode == mode


@pytest.mark.parametrize(("share", "mode"), [(0.2, "planning_failure"), (0.8, "timeout")])
def test_who_is_kept_from_most_of_the_way_asked_for_is_blocked(make_episode, share, mode):
    episode = make_episode(mode="timeout")
    series = episode.series
    series["command_altered"][:] = 1.0
    series["action_ee_delta"][:] = 0.0
    series["action_ee_delta"][:, 0] = 0.02  # [m] a policy step of 0.1 s
    series["ee_position"][:] = [0.5, 0.0, 0.3]
    series["ee_position"][:, 0] += share * 0.2 * (series["stamp"] - series["stamp"][0])
    assert classify_failure(episode, BUDGET).mode == mode


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(FAILURE_MODES),
    reason=st.sampled_from(["outcome", "label failure", "timeout", "safety", "operator", ""]),
    success=st.booleans(),
    samples=st.integers(0, 30),
    seed=st.integers(0, 1000),
)
def test_every_episode_gets_a_mode_and_only_success_gets_none(make_episode, mode, reason, success, samples, seed):
    generator = np.random.default_rng(seed)
    episode = make_episode(success=success, mode=mode, end_reason=reason, seconds=samples / 100)
    episode.series["command_source"][:] = generator.integers(0, 4, samples)
    episode.series["wrench"][:] = generator.normal(scale=50, size=(samples, 6))
    episode.series["gripper_command"][:] = generator.choice([-1.0, 1.0], samples)
    episode.series["contact_forces"][:] = generator.random((samples, 2)) * 3
    verdict = classify_failure(episode, BUDGET)
    assert verdict.mode in FAILURE_MODES
    assert (verdict.mode == "none") == success
