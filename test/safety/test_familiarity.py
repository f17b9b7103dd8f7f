"""What an alarm of the policy leads to: slow, hold, ask the operator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.robot.command import CommandSource
from physai_ros.safety.state_machine import SafetyState


def drive(loop, cycles, uncertainty, episode_id="e", intervene=False, step=0.002):
    """States over cycles of a slow motion that is proposed with this uncertainty."""
    states = []
    for _ in range(cycles):
        loop.sequence += 1
        reference = loop.supervisor.set_point.positions + step
        action = loop.action(reference, uncertainty=uncertainty, episode_id=episode_id)
        intervention = loop.intervention(reference) if intervene else None
        loop.sequence -= 1
        loop.cycle(proposal=action, intervention=intervention)
        states.append(loop.supervisor.state)
    return states


def tool_speed(loop):
    now = loop.supervisor.set_point
    return float(np.linalg.norm(loop.kinematics.jacobian(now.positions)[:3] @ now.velocities))


def reasons(loop):
    return loop.supervisor.status().reasons


@pytest.mark.parametrize("uncertainty", [0.0, 0.9, 1.0, float("nan")])
def test_without_an_alarm_nothing_changes(loop, uncertainty):
    assert set(drive(loop, 400, uncertainty)) == {SafetyState.NOMINAL}


def test_an_alarm_slows_then_holds_then_asks(loop):
    permitted = loop.limits.reduced_scale * loop.limits.tool_speed
    drive(loop, 20, 0.5, step=0.006)
    assert tool_speed(loop) > 1.2 * permitted
    slowed = drive(loop, 100, 1.2)
    assert set(slowed) == {SafetyState.LIMITED}
    assert "out_of_distribution" in reasons(loop)
    assert tool_speed(loop) <= 1.1 * permitted
    assert set(drive(loop, 90, 1.2)[1:]) == {SafetyState.HOLD}
    assert "out_of_distribution_sustained" in reasons(loop)
    assert "operator_needed" not in reasons(loop)
    assert not loop.supervisor.set_point.velocities.any()
    drive(loop, 30, 1.2)
    assert "operator_needed" in reasons(loop)


def test_a_short_alarm_lets_go_by_itself(loop):
    drive(loop, 60, 1.2)
    states = drive(loop, 120, 0.5)
    assert states[0] == SafetyState.LIMITED
    assert states[-1] == SafetyState.NOMINAL
    assert SafetyState.HOLD not in states


def test_a_request_for_the_operator_stands_until_one_takes_over(loop):
    drive(loop, 250, 1.2)
    assert set(drive(loop, 200, 0.5)) == {SafetyState.HOLD}
    assert reasons(loop) == ("operator_needed",)
    drive(loop, 100, 1.2, intervene=True)
    assert loop.commands[-1].source == CommandSource.OPERATOR
    assert "operator_needed" not in reasons(loop)
    assert loop.supervisor.set_point.velocities.any()


def test_a_request_for_the_operator_ends_with_the_episode_and_with_a_resume(loop):
    drive(loop, 250, 1.2)
    assert SafetyState.HOLD not in drive(loop, 50, 0.5, episode_id="f")[30:]
    drive(loop, 250, 1.2, episode_id="f")
    loop.supervisor.emergency_stop()
    loop.cycle()
    loop.start()
    drive(loop, 60, 0.5, episode_id="f")
    assert loop.supervisor.state == SafetyState.NOMINAL


def test_an_alarm_that_is_not_heeded_changes_nothing(loop):
    loop.supervisor.heed_alarm(False)
    assert set(drive(loop, 250, 5.0)) == {SafetyState.NOMINAL}


@settings(max_examples=20, deadline=None)
@given(uncertainties=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
def test_an_alarm_never_permits_what_is_forbidden_without_it(make_loop, uncertainties):
    heeding, deaf = make_loop(), make_loop()
    deaf.supervisor.heed_alarm(False)
    for uncertainty in uncertainties:
        for loop in (heeding, deaf):
            drive(loop, 3, uncertainty)
        assert heeding.supervisor.state >= deaf.supervisor.state
        if heeding.commands[-1].source == CommandSource.POLICY:
            assert deaf.commands[-1].source == CommandSource.POLICY
