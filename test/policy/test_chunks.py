"""Chunks that come late: what is played, what is blended, and what happens where nothing has come."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.chunks import CONTINUITY, ChunkPlayer
from physai_ros.policy.network import Prediction
from physai_ros.policy.predictor import AsQuick, AtOnce, InThread, Late, Question
from physai_ros.policy.runtime import PolicyRuntime

AXES, SCALE = (0, 1, 2, 5), (0.025, 0.025, 0.025, 0.12)
STEPS = 6


class Clockwork:
    """A policy that plans a ramp from the step in which it was asked, and counts."""

    def __init__(self, steps: int = STEPS, decision_time: float = 0.0, takes: float = 0.0) -> None:
        self.version, self.decision_time = "000001", decision_time
        self.steps, self.asked, self._takes = steps, 0, takes
        self.threads: set[str] = set()

    def predict(self, observation: np.ndarray, *sight: object) -> Prediction:
        """The ramp."""
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        time.sleep(self._takes)
        actions = np.zeros((self.steps, 5))
        actions[:, 0] = 0.1 + 0.1 * np.arange(self.steps)
        return Prediction(actions, 0.5, 0.0)


def runtime(spec, kinematics, features, policy: Clockwork, **how: object) -> PolicyRuntime:
    made = PolicyRuntime(spec, kinematics, features, AXES, SCALE, policy, **how)
    made.start_episode((0.5, -0.1, 0.02), "episode", 0)
    return made


def play(made: PolicyRuntime, make_state, cycles: int) -> list:
    positions, actions = None, []
    for sequence in range(cycles):
        actions.append(made.act(make_state(sequence, positions)))
        positions = actions[-1].reference_positions
    return actions


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONTINUITY), st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_where_predictions_agree_continuity_makes_no_difference(continuity, seed, late):
    """Chunks of one and the same plan: whatever is blended, the plan is played."""
    plan = np.random.default_rng(seed).normal(size=(40, 2))
    player = ChunkPlayer(continuity)
    for step in range(30):
        player.add(step, plan[step : step + STEPS], step, step + late)
        played = player.at(step + late)
        np.testing.assert_allclose(played.action, plan[step + late])
        assert (played.index, played.chunk) == (late, step)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONTINUITY), st.integers(0, 2**32 - 1))
def test_what_is_played_lies_between_what_was_predicted(continuity, seed):
    generator = np.random.default_rng(seed)
    player, known = ChunkPlayer(continuity), []
    for step in range(12):
        actions = generator.normal(size=(STEPS, 2))
        known.append((step, actions))
        player.add(step, actions, step, step)
        spoken = np.stack([chunk[step - begin] for begin, chunk in known if begin <= step < begin + STEPS])
        action = player.at(step).action
        assert (action >= spoken.min(axis=0) - 1e-9).all()
        assert (action <= spoken.max(axis=0) + 1e-9).all()


def test_a_blend_begins_at_the_old_plan_and_ends_at_the_new():
    old, new = np.zeros((8, 1)), np.ones((8, 1))
    steps = {}
    for continuity in CONTINUITY:
        player = ChunkPlayer(continuity)
        player.add(0, old, 1, 0)
        player.add(1, new, 2, 2)
        steps[continuity] = [float(player.at(step).action[0]) for step in range(2, 9)]
    assert steps["none"] == [1.0] * 7
    np.testing.assert_allclose(steps["blend"], [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0])
    assert steps["ensemble"][0] == pytest.approx(0.5, abs=0.01)
    assert steps["ensemble"][-1] == 1.0


def test_what_was_overtaken_is_dropped_and_an_unknown_way_is_refused():
    player = ChunkPlayer()
    player.add(5, np.ones((3, 1)), 1, 5)
    player.add(4, np.zeros((3, 1)), 2, 5)
    assert player.at(5).chunk == 1
    assert player.at(8) is None
    with pytest.raises(ValueError, match="blend"):
        ChunkPlayer("melt")


@pytest.mark.parametrize("delay", [0.0, 0.04, 0.1, 0.25])
def test_under_a_delay_the_step_at_hand_is_played_and_every_state_is_answered(
    spec, kinematics, features, make_state, delay
):
    made = runtime(spec, kinematics, features, Clockwork(), predictor=Late(delay))
    actions = play(made, make_state, 120)
    assert [action.state_sequence for action in actions] == list(range(120))
    behind = int(np.ceil(delay / 0.1 - 1e-9))
    first = actions[int(round(100 * delay)) - 1] if delay else None
    if first is not None:
        assert not first.ee_delta.any()  # nothing is known yet: it holds
    # One network at a time: a plan is used until the next one comes, so that the step played grows by up to the delay.
    indices = {action.step for action in actions[40:]}
    assert indices <= set(range(behind, 2 * behind + 1)) if behind else indices == {0}
    for action in actions[40:]:
        assert action.ee_delta[0] == pytest.approx(0.025 * (0.1 + 0.1 * action.step))
        assert action.stamp - action.observation_stamp <= 0.1 * (action.step + 1) + 1e-9
    assert made.underruns == 0


def test_where_chunks_are_too_short_for_the_delay_it_holds_and_counts_the_underruns(
    spec, kinematics, features, make_state
):
    made = runtime(spec, kinematics, features, Clockwork(steps=2), predictor=Late(0.5))
    actions = play(made, make_state, 200)
    assert made.underruns > 0
    assert not actions[-1].ee_delta.any()
    total = sum(action.joint_delta for action in actions)
    np.testing.assert_allclose(spec.home_positions + total, actions[-1].reference_positions, atol=1e-9)


def test_a_step_that_is_known_late_is_played_over_what_is_left_of_it(spec, kinematics, features, make_state):
    made = runtime(spec, kinematics, features, Clockwork(steps=1), predictor=Late(0.03))
    actions = play(made, make_state, 100)
    assert [bool(action.ee_delta.any()) for action in actions[50:60]] == [False] * 3 + [True] * 7
    assert made.underruns == 0
    moved = kinematics.tool_pose(actions[-1].reference_positions).position[0]
    assert moved - kinematics.tool_pose(spec.home_positions).position[0] == pytest.approx(10 * 0.0025, abs=2e-3)


def test_an_interrupt_drops_the_chunk(spec, kinematics, features, make_state):
    made = runtime(spec, kinematics, features, Clockwork(), predictor=Late(0.05))
    play(made, make_state, 35)
    made.interrupt()
    action = made.act(make_state(40, spec.home_positions + 0.05))
    assert not action.ee_delta.any()
    assert np.abs(action.reference_positions - spec.home_positions - 0.05).max() < 0.01


def test_a_slow_network_decides_in_a_thread_and_no_state_waits_for_it(spec, kinematics, features, make_state):
    quick, slow = Clockwork(), Clockwork(decision_time=1.0, takes=0.01)
    for policy, own in ((quick, True), (slow, False)):
        predictor = AsQuick(patience=0.5)
        made = runtime(spec, kinematics, features, policy, predictor=predictor)
        sequence = 0
        until = time.monotonic() + 30.0
        while made.last_chunk is None or made.last_chunk.chunk_id < 3:
            made.act(make_state(sequence))
            sequence += 1
            assert time.monotonic() < until
            time.sleep(0.0 if own else 0.001)
        assert (threading.current_thread().name in policy.threads) == own
        predictor.close()


@pytest.mark.parametrize("make", [AtOnce, lambda: Late(0.2), InThread])
def test_what_is_forgotten_is_not_answered_and_the_newest_question_waits(make):
    predictor, policy = make(), Clockwork()
    for step in range(4):
        predictor.ask(policy, Question(step, np.zeros(1), (), 0.0, step), now=0.0)
    predictor.forget()
    assert predictor.answers(10.0) == []
    predictor.ask(policy, Question(9, np.zeros(1), (), 0.0, 9), now=20.0)
    answers, until = [], time.monotonic() + 30.0
    while not answers:
        answers = predictor.answers(30.0)
        assert time.monotonic() < until
    assert [answer.question.step for answer in answers] == [9]
    if hasattr(predictor, "close"):
        predictor.close()
