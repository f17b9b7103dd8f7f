"""The figures of the fault matrix, on series of which it is known what happened."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.cli.fault_record import DRIVER_STOPS, Command, Record, State, Status
from physai_ros.msg import DriverState
from physai_ros.robot.set_point import SetPoint
from physai_ros.robot.spec import RobotSpec
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.stopping import StopPlanner

SPEC = RobotSpec.load("fr3_sim")
PLANNER = StopPlanner(SafetyLimits.from_spec(SPEC), SPEC.control_period)
SPEED = 0.85 * SPEC.velocity_limits * np.array([1, 0, 0, 0, 0, 0, 0])
POLICY, STOP = 1, 3
ACTIVE, STOPPING, STOPPED = 1, 2, 3
FAULT = 1.004  # [s]


def lived(reacts: int = 6, mode: int = ACTIVE, cycles: int = 300, reason: str = "proposal_stale") -> Record:
    """A graph whose arm moves steadily for a second, then stops along its stop `reacts` cycles after the fault."""
    record = Record(SimpleNamespace(hooks=[], episode=None))
    period, turn = SPEC.control_period, 100 + reacts
    position = SPEC.home_positions - np.array([1.8, 0, 0, 0, 0, 0, 0])
    stop, played = None, 0
    for cycle in range(cycles):
        now = cycle * period
        stopping = cycle > turn
        if not stopping:
            position = position + SPEED * period
            stop = PLANNER.plan(SetPoint(position, SPEED, np.zeros(7))).positions
        else:
            position = stop[min(played, len(stop) - 1)]
            played += 1
        left = stop[min(played, len(stop) - 1) :]
        record.states.append(State(now, cycle, position, position, mode if stopping else ACTIVE))
        source = STOP if stopping and mode == ACTIVE else POLICY
        if not (stopping and mode != ACTIVE):  # where the driver stops by itself, safety is silent
            reasons = (reason,) if source == STOP else ()
            record.commands.append(Command(now + 0.001, cycle, source, reasons, np.vstack([position, left])))
    return record


def test_a_stop_is_timed_from_the_fault_to_the_last_motion():
    found = lived(reacts=6).findings(FAULT, 2.5, 2.99)
    assert found.detect == pytest.approx(1.071 - FAULT)
    assert found.cycles == 7
    planned = PLANNER.plan(SetPoint(SPEC.home_positions, SPEED, np.zeros(7)))
    assert found.rest == pytest.approx(found.detect + len(planned.positions) * 0.01, abs=0.025)
    assert found.bound == pytest.approx((np.abs(SPEED) / SPEC.acceleration_limits).max() + 0.014)
    assert found.rest <= 0.1 + found.bound
    assert found.stays
    assert found.holds
    assert not found.stops
    assert found.reasons == ("proposal_stale",)
    assert found.off_path < 1e-9
    assert found.leap == pytest.approx(0.85 / 4)
    assert found.start == 0.0
    assert found.outside == 0


def test_what_the_driver_does_by_itself_is_a_reaction_with_a_name():
    found = lived(reacts=10, mode=STOPPED).findings(FAULT, 2.5, 2.99, by_command=True)
    assert found.detect == pytest.approx(1.11 - FAULT)
    assert found.reasons == (DRIVER_STOPS,)
    assert found.stops
    assert found.gap > 1.0


def test_an_arm_that_goes_on_is_not_at_rest_and_nobody_reacted():
    found = lived(reacts=500).findings(FAULT, 2.5, 2.99)
    assert np.isnan(found.detect)
    assert np.isnan(found.rest)
    assert not found.stays
    assert not found.holds
    assert found.cycles == -1


def test_what_is_said_counts_where_it_may():
    record = lived(reacts=500)
    record.statuses.append(Status(1.05, 4, ("emergency_stop",)))
    assert record.findings(FAULT, 2.5, 2.99).detect == pytest.approx(1.05 - FAULT)
    assert np.isnan(record.findings(FAULT, 2.5, 2.99, by_command=True).detect)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 280), st.floats(0.23, 0.5), st.integers(0, 6))
def test_no_leap_of_the_set_point_goes_unseen(at, size, joint):
    record = lived()
    for index in range(at + 1, len(record.states)):
        state = record.states[index]
        offset = np.zeros(7)
        offset[joint] = size
        # The set-point leaps, the arm does not.
        record.states[index] = state._replace(commanded=state.commanded + offset)
    before = lived().findings(0.0, 2.9, 3.0)
    after = record.findings(0.0, 2.9, 3.0)
    assert before.leap < 0.25
    assert after.leap > 1.05


def test_a_reset_of_the_world_is_no_speed():
    hooks, shares = [], []
    record = Record(SimpleNamespace(hooks=hooks, episode=None))
    for sequence, turn in enumerate((0.0, 0.01, 1.0)):
        joints = (SPEC.home_positions + np.array([turn, 0, 0, 0, 0, 0, 0])).tolist()
        hooks[0](DriverState(sequence=sequence, commanded_positions=joints, joint_positions=joints))
        shares.append(record.share)
    assert shares[0] == shares[2] == 0.0
    assert 1.0 / SPEC.velocity_limits[0] <= shares[1] < 1.0


def test_a_reset_of_the_world_is_no_leap_and_a_restart_of_the_driver_neither():
    record = lived()
    home = SPEC.home_positions
    for index in range(200, len(record.states)):
        record.states[index] = record.states[index]._replace(commanded=home, measured=home)
    record.starts.add(200)
    assert record.findings(0.0, 2.9, 3.0).leap < 0.25
    for index in range(250, len(record.states)):
        record.states[index] = record.states[index]._replace(sequence=index - 250, commanded=home + 1.0)
    assert record.findings(0.0, 2.9, 3.0).leap < 0.25


def test_a_jump_out_of_rest_is_seen_and_a_start_is_none():
    record = lived()
    for index in range(200, len(record.states)):
        gone = 0.5 * 10.0 * ((index - 199) * 0.01) ** 2
        record.states[index] = record.states[index]._replace(commanded=record.states[199].commanded + gone)
    assert record.findings(FAULT, 1.9, 2.99).start == pytest.approx(5e-4)
    for index in range(200, len(record.states)):
        state = record.states[index]
        record.states[index] = state._replace(commanded=state.commanded + 0.01)
    assert record.findings(FAULT, 1.9, 2.99).start == pytest.approx(0.0105)


def test_after_rest_only_a_reset_of_the_world_may_move_the_set_point():
    record, home = lived(), SPEC.home_positions
    for index in range(230, len(record.states)):
        record.states[index] = record.states[index]._replace(commanded=home, measured=home)
    assert record.findings(FAULT, 2.9, 3.0).stays
    for index in range(220, len(record.states)):
        record.states[index] = record.states[index]._replace(commanded=record.states[index].commanded + 1e-4)
    assert not record.findings(FAULT, 2.9, 3.0).stays


def test_a_stop_beside_the_verified_one_is_seen():
    record = lived()
    for index in range(108, len(record.states)):
        state = record.states[index]
        record.states[index] = state._replace(commanded=state.commanded + np.array([0, 0.02, 0, 0, 0, 0, 0]))
    assert record.findings(FAULT, 2.5, 2.99).off_path == pytest.approx(0.02, abs=1e-3)


def test_set_points_outside_the_range_are_counted():
    record = lived()
    record.states[150] = record.states[150]._replace(commanded=SPEC.position_upper + 0.1)
    assert record.findings(FAULT, 2.5, 2.99).outside == 1
