"""A decision waits for all who may move the arm, and for nobody who is not there."""

import pytest

from physai_ros.robot.action import Intervention
from physai_ros.safety.lock_step import LockStepGate


@pytest.fixture
def gate():
    return LockStepGate()


def test_the_policy_has_to_speak_for_this_very_state(gate, loop):
    assert not gate.is_open(7, 0.0, 0.0)
    gate.hear_proposal(loop.action(loop.spec.home_positions, state_sequence=6))
    assert not gate.is_open(7, 0.0, 0.0)
    gate.hear_proposal(loop.action(loop.spec.home_positions, state_sequence=7))
    assert gate.is_open(7, 0.0, 0.0)


def test_an_operator_who_is_there_is_waited_for(gate, loop):
    home = loop.spec.home_positions
    gate.hear_episode("", operator=True)
    gate.hear_proposal(loop.action(home, state_sequence=loop.sequence))
    assert not gate.is_open(loop.sequence, 0.0, 0.0)
    gate.hear_intervention(loop.intervention(home, enable=False))
    assert gate.is_open(loop.sequence, 0.0, 0.0)


def test_a_proposal_that_overtakes_the_news_of_its_episode_waits_for_it(gate, loop):
    home, sequence = loop.spec.home_positions, loop.sequence
    gate.hear_proposal(loop.action(home, state_sequence=sequence, episode_id="e1"))
    assert not gate.is_open(sequence, 0.0, 0.0)
    gate.hear_episode("e1", operator=True)
    assert not gate.is_open(sequence, 0.0, 0.1)
    gate.hear_intervention(loop.intervention(home))
    assert gate.is_open(sequence, 0.0, 0.2)
    gate.hear_episode("e2", operator=False)
    assert not gate.is_open(sequence, 0.0, 0.3)
    assert gate.is_open(sequence, 0.0, 0.6)


def test_an_operator_in_control_waits_for_the_policy_but_does_not_depend_on_it(gate, loop):
    home = loop.spec.home_positions
    gate.hear_intervention(loop.intervention(home))
    assert not gate.is_open(loop.sequence, 0.0, 0.0)
    gate.hear_proposal(loop.action(home, state_sequence=loop.sequence))
    assert gate.is_open(loop.sequence, 0.0, 0.1)
    dead = LockStepGate()
    dead.hear_intervention(loop.intervention(home))
    assert not dead.is_open(loop.sequence, 0.0, 0.0)
    assert dead.is_open(loop.sequence, 0.0, 0.6)


def test_a_silent_operator_is_given_up_until_the_next_word(gate, loop):
    home = loop.spec.home_positions
    gate.hear_intervention(loop.intervention(home))
    sequence = loop.sequence + 1
    gate.hear_proposal(loop.action(home, state_sequence=sequence))
    assert not gate.is_open(sequence, 0.0, 10.0)
    assert not gate.is_open(sequence, 0.0, 10.4)
    assert gate.is_open(sequence, 0.0, 10.6)
    gate.hear_proposal(loop.action(home, state_sequence=sequence + 1))
    assert gate.is_open(sequence + 1, 0.0, 10.7)
    gate.hear_intervention(loop.intervention(home))
    gate.hear_proposal(loop.action(home, state_sequence=sequence + 2))
    assert not gate.is_open(sequence + 2, 0.0, 10.8)


def test_a_proposal_that_was_overtaken_is_dropped(gate, loop):
    home = loop.spec.home_positions
    newer = loop.action(home, sequence=5, state_sequence=50)
    gate.hear_proposal(newer)
    gate.hear_proposal(loop.action(home, sequence=4, state_sequence=49))
    assert gate.proposal is newer
    again = loop.action(home, sequence=5, state_sequence=50)
    gate.hear_proposal(again)  # one that is doubled counts once more as what it is
    assert gate.proposal is again


@pytest.mark.parametrize(("sequence", "state_sequence"), [(1, 51), (6, 2), (1, 5000 - 200)])
def test_a_policy_or_a_driver_that_restarted_is_heard(gate, loop, sequence, state_sequence):
    home = loop.spec.home_positions
    gate.hear_proposal(loop.action(home, sequence=5, state_sequence=50 if state_sequence < 100 else 5000))
    fresh = loop.action(home, sequence=sequence, state_sequence=state_sequence)
    gate.hear_proposal(fresh)
    assert gate.proposal is fresh


def test_an_operator_who_let_go_is_not_in_control_again_by_a_word_that_came_late(gate, loop):
    def word(stamp: float, sequence: int, enable: bool) -> Intervention:
        return Intervention(stamp, enable, 0.2, "test", loop.action(loop.spec.home_positions, sequence=sequence))

    gate.hear_intervention(word(1.00, 7, True))
    gate.hear_intervention(word(1.02, 9, False))
    gate.hear_intervention(word(1.01, 8, True))
    assert not gate.intervention.enable
    gate.hear_intervention(word(5.00, 1, True))  # another device, or the same after a restart
    assert gate.intervention.enable
    gate.hear_intervention(word(2.00, 2, True))  # its clock was set back; it still counts on
    assert gate.intervention.stamp == 2.00


def test_an_operator_who_keeps_hands_off_for_a_while_is_not_waited_for_in_it(gate, loop):
    home = loop.spec.home_positions

    def proposed(sequence: int) -> None:
        gate.hear_proposal(loop.action(home, state_sequence=sequence, episode_id="e1"))

    gate.hear_episode("e1", operator=True)
    action = loop.action(home, state_sequence=10, episode_id="e1")
    gate.hear_intervention(Intervention(1.00, False, 0.05, "test", action))
    proposed(10)
    assert gate.is_open(10, 1.00, 0.0)
    proposed(14)
    assert gate.is_open(14, 1.04, 0.1)
    proposed(15)
    assert not gate.is_open(15, 1.05, 0.2)  # now the next word is due
    gate.hear_episode("e2", operator=True)
    gate.hear_proposal(loop.action(home, state_sequence=12, episode_id="e2"))
    assert not gate.is_open(12, 1.02, 0.3)  # it was said of another episode


def test_who_holds_the_switch_has_to_speak_at_every_state(gate, loop):
    home = loop.spec.home_positions
    gate.hear_intervention(Intervention(1.00, True, 0.2, "test", loop.action(home, state_sequence=10)))
    gate.hear_proposal(loop.action(home, state_sequence=11))
    assert not gate.is_open(11, 1.01, 0.0)
