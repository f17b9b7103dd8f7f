"""Trigger and release, latch, and what nobody thought of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.safety.rules import rules_of
from physai_ros.safety.state_machine import Rule, SafetyState, SafetyStateMachine

RULES = {
    "slow": Rule(SafetyState.LIMITED, trigger=3, release=5, slows=True),
    "hold": Rule(SafetyState.HOLD),
    "stop": Rule(SafetyState.STOPPED, trigger=2),
}


@pytest.fixture
def machine():
    machine = SafetyStateMachine(RULES)
    machine.activate("not_resumed")
    machine.resume()
    return machine


def test_it_needs_its_count_to_trigger_and_its_own_to_release(machine):
    states = [machine.update({"slow"}) for _ in range(3)] + [machine.update(set()) for _ in range(6)]
    assert [int(state) for state in states] == [1, 1, 2, 2, 2, 2, 2, 1, 1]
    assert not machine.slowed


def test_the_most_restrictive_wins_and_leads_the_reasons(machine):
    for _ in range(3):
        machine.update({"slow", "hold"})
    assert machine.state == SafetyState.HOLD
    assert machine.reasons == ("hold", "slow")
    assert machine.slowed


def test_an_unknown_condition_stops(machine):
    assert machine.update({"never heard of"}) == SafetyState.STOPPED


def test_inactive_stays_inactive():
    machine = SafetyStateMachine(RULES)
    machine.latch("stop")
    assert machine.update({"stop"}) == SafetyState.INACTIVE
    assert "activate" in machine.resume()


@given(st.lists(st.sets(st.sampled_from([*RULES, "unknown"])), max_size=60))
def test_stopped_is_left_by_resume_alone(history):
    machine = SafetyStateMachine(RULES)
    machine.activate("not_resumed")
    assert machine.resume() == ""
    stopped = False
    for conditions in history:
        state = machine.update(conditions)
        stopped = stopped or state == SafetyState.STOPPED
        assert (state == SafetyState.STOPPED) == stopped
    assert machine.stops == int(stopped)
    machine.resume()
    assert machine.state != SafetyState.STOPPED


def test_every_rule_of_the_supervisor_can_be_reached(limits):
    for name, rule in rules_of(limits).items():
        machine = SafetyStateMachine(rules_of(limits))
        machine.activate("not_resumed")
        machine.resume()
        for _ in range(rule.trigger):
            state = machine.update({name})
        assert state == rule.state, name
