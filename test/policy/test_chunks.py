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
    """Chunks of one and the same path: whatever is blended, and however late they come, that path is gone."""
    plan = np.random.default_rng(seed).uniform(-0.2, 0.2, size=(40, 3))
    way = np.cumsum(plan[:, :2], axis=0)
    player, place = ChunkPlayer(continuity), [np.zeros(2)]
    place += [place[0]] * late  # until the first has come the arm stands
    for step in range(30):
        chunk = plan[step : step + STEPS].copy()
        chunk[0, :2] = way[step] - place[step]
        player.add(step, chunk, step, step + late)
        played = player.play(step + late)
        place.append(place[-1] + played.action[:2])
        np.testing.assert_allclose(place[-1], way[step + late], atol=1e-9)
        assert played.action[2] == pytest.approx(plan[step + late, 2])
        assert (played.index, played.chunk) == (late, step)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONTINUITY), st.floats(-3.0, 3.0), st.integers(0, 3), st.lists(st.floats(-1.0, 1.0), max_size=6))
def test_what_a_plan_does_first_is_done_however_late_it_comes(continuity, goal, late, pushes):
    """Every plan goes to the goal at once, and has nothing to do in its later steps: the goal is reached and kept."""
    player, places = ChunkPlayer(continuity), [0.0] * (late + 1)
    for step in range(60):
        seen = places[step] + (pushes[step] if step < len(pushes) else 0.0)
        left, chunk = goal - seen, np.zeros((STEPS, 2))
        for ahead in range(STEPS):
            chunk[ahead, 0] = np.clip(left, -1.0, 1.0)
            left -= chunk[ahead, 0]
        player.add(step, chunk, step, step + late)
        action = player.play(step + late).action[0]
        assert abs(action) <= 1.0
        places.append(places[-1] + action)
    np.testing.assert_allclose(places[-5:], goal, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONTINUITY), st.integers(0, 2**32 - 1))
def test_where_it_goes_lies_between_where_the_predictions_would_be(continuity, seed):
    generator = np.random.default_rng(seed)
    player, known, place = ChunkPlayer(continuity), [], np.zeros(2)
    for step in range(12):
        actions = generator.uniform(-0.1, 0.1, size=(STEPS, 3))
        known.append((step, place + np.cumsum(actions[:, :2], axis=0), actions[:, 2]))
        player.add(step, actions, step, step)
        spoken = [(way[step - begin], grip[step - begin]) for begin, way, grip in known if step < begin + STEPS]
        action = player.play(step).action
        place = place + action[:2]
        assert (place >= np.min([way for way, _ in spoken], axis=0) - 1e-9).all()
        assert (place <= np.max([way for way, _ in spoken], axis=0) + 1e-9).all()
        assert min(grip for _, grip in spoken) - 1e-9 <= action[2] <= max(grip for _, grip in spoken) + 1e-9


def test_a_blend_begins_at_the_old_path_and_ends_at_the_new():
    old, new = np.zeros((8, 2)), np.ones((8, 2))
    new[:, 0] = [0.8, *[0.0] * 7]
    places, grips = {}, {}
    for continuity in CONTINUITY:
        player = ChunkPlayer(continuity)
        player.add(0, old, 1, 0)
        assert not any(player.play(step).action.any() for step in range(2))
        player.add(1, new, 2, 2)
        played = [player.play(step).action for step in range(2, 9)]
        places[continuity], grips[continuity] = np.cumsum([a[0] for a in played]), [float(a[1]) for a in played]
    np.testing.assert_allclose(places["none"], [0.8] * 7)
    assert grips["none"] == [1.0] * 7
    np.testing.assert_allclose(places["blend"], 0.8 * np.array([0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(grips["blend"], [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0])
    assert grips["ensemble"][0] == pytest.approx(0.5, abs=0.01)
    assert places["ensemble"][0] == pytest.approx(0.4, abs=0.01)
    assert (grips["ensemble"][-1], places["ensemble"][-1]) == (1.0, pytest.approx(0.8))


def test_what_was_overtaken_is_dropped_and_an_unknown_way_is_refused():
    player = ChunkPlayer()
    player.add(5, np.ones((3, 1)), 1, 5)
    player.add(4, np.zeros((3, 1)), 2, 5)
    assert player.play(5).chunk == 1
    assert player.play(8) is None
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
    moved = np.array([action.ee_delta[0] for action in actions[40:]]) / 0.025
    assert (np.abs(moved) <= 1.0).all()
    assert 0.1 - 1e-9 <= moved.mean() <= 0.1 + 0.2 * behind + 1e-9  # as the plan is at the steps that are at hand
    for action in actions[40:]:
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
