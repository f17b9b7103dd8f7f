"""What a driver does with commands, and without."""

from dataclasses import replace

import numpy as np
import pytest

from physai_ros.robot.command import CommandSource, SafeCommand, StopTrajectory
from physai_ros.robot.state import DriverMode
from physai_ros.safety.driver_guard import DriverGuard

PERIOD = 0.01


@pytest.fixture
def guard(spec):
    guard = DriverGuard(spec)
    guard.initialise(spec.home_positions)
    return guard


def command(spec, token, sequence=1, positions=None, stop=None, **changes: object):
    positions = spec.home_positions + 0.001 if positions is None else positions
    stop = positions + np.array([[0.0008], [0.001], [0.001]]) if stop is None else stop
    fields = {
        "stamp": 0.0,
        "sequence": sequence,
        "state_sequence": sequence,
        "proposed_sequence": sequence,
        "joint_names": spec.joint_names,
        "positions": positions,
        "velocities": np.zeros(7),
        "gripper_command": -0.5,
        "valid_for": 0.05,
        "source": CommandSource.POLICY,
        "stop": StopTrajectory(PERIOD, stop),
        "token": token,
    }
    return SafeCommand(**{**fields, **changes})


def test_it_takes_nothing_before_claim_and_resume(guard, spec):
    assert guard.mode == DriverMode.IDLE
    assert not guard.resume()[0]
    assert not guard.accept(command(spec, ""), 0.0)
    token = guard.claim("monitor")
    assert guard.mode == DriverMode.STOPPED
    assert not guard.accept(command(spec, token), 0.0)
    assert guard.resume()[0]
    assert guard.accept(command(spec, token), 0.0)
    positions, gripper = guard.setpoint(0.009)
    assert np.allclose(positions, spec.home_positions + 0.001)
    assert gripper == -0.5


def test_a_new_claim_ends_the_former(guard, spec):
    first = guard.claim("a")
    guard.resume()
    second = guard.claim("b")
    assert first != second
    assert guard.mode == DriverMode.STOPPED
    guard.resume()
    assert not guard.accept(command(spec, first), 0.0)
    assert guard.last_refusal == "token"
    assert guard.accept(command(spec, second), 0.0)


def bad_stop(spec, value):
    return spec.home_positions + np.array([[0.001], [value]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda spec: {"token": "0" * 32}, "token"),
        (lambda spec: {"positions": spec.home_positions * np.nan}, "not_finite"),
        (lambda spec: {"positions": np.zeros(3)}, "malformed"),
        (lambda spec: {"stop": StopTrajectory(PERIOD, np.zeros((0, 7)))}, "malformed"),
        (lambda spec: {"stop": StopTrajectory(PERIOD, bad_stop(spec, np.inf))}, "not_finite"),
        (lambda spec: {"stop": StopTrajectory(PERIOD, bad_stop(spec, 5.0))}, "position"),
        (lambda spec: {"stop": StopTrajectory(PERIOD, bad_stop(spec, 0.2))}, "stop_step"),
        (lambda spec: {"stop": StopTrajectory(0.0, bad_stop(spec, 0.001))}, "valid_for"),
        (lambda spec: {"joint_names": tuple("abcdefg")}, "joints"),
        (lambda spec: {"valid_for": 10.0}, "valid_for"),
        (lambda spec: {"valid_for": float("nan")}, "not_finite"),
        (lambda spec: {"gripper_command": 3.0}, "gripper"),
        (lambda spec: {"positions": spec.home_positions + 0.2}, "step"),
        (lambda spec: {"positions": spec.position_upper + 0.1}, "position"),
    ],
)
def test_what_may_not_move_the_arm_is_refused_and_counted(guard, spec, change, reason):
    token = guard.claim("monitor")
    guard.resume()
    before = guard.setpoint(0.0)[0]
    assert not guard.accept(replace(command(spec, token), **change(spec)), 0.0)
    assert guard.last_refusal == reason
    assert guard.refused[reason] == guard.commands_refused == 1
    assert (guard.setpoint(0.0)[0] == before).all()


def test_duplicates_and_older_commands_do_nothing(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    newer = command(spec, token, 5)
    assert guard.accept(newer, 0.0)
    assert not guard.accept(newer, 0.001)
    assert not guard.accept(command(spec, token, 4, spec.home_positions), 0.002)
    assert guard.refused == {"duplicate": 1, "old": 1}
    assert guard.command_sequence == 5
    assert (guard.setpoint(0.003)[0] == newer.positions).all()


def test_silence_plays_the_stop_then_latches(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    sent = command(spec, token, stop=spec.home_positions + 0.001 + np.linspace(0.001, 0.01, 10)[:, None])
    guard.accept(sent, 0.0)
    path, modes = [], []
    for cycle in range(1, 20):
        path.append(guard.setpoint(cycle * PERIOD)[0])
        modes.append(guard.mode)
    assert (path[0] == sent.positions).all()
    assert np.allclose(path[1:11], sent.stop.positions)
    assert np.allclose(path[11:], sent.stop.positions[-1])
    assert modes[4] == DriverMode.ACTIVE
    assert modes[5] == DriverMode.STOPPING
    assert modes[-1] == DriverMode.STOPPED
    assert not guard.accept(command(spec, token, 2, path[-1]), 0.2)
    assert guard.last_refusal == "stopped"
    assert guard.commands_refused == 0
    assert guard.resume()[0]
    assert (guard.setpoint(0.3)[0] == sent.stop.positions[-1]).all()
    assert guard.accept(command(spec, token, 3, path[-1]), 0.3)


def test_a_command_during_the_stop_does_not_end_it(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    guard.accept(command(spec, token, stop=spec.home_positions + 0.001 + np.linspace(0.001, 0.02, 20)[:, None]), 0.0)
    guard.setpoint(0.08)
    assert guard.mode == DriverMode.STOPPING
    assert not guard.accept(command(spec, token, 2), 0.08)
    assert not guard.resume()[0]


def test_a_late_command_goes_on_without_a_latch(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    guard.accept(command(spec, token, 1), 0.0)
    guard.setpoint(0.03)
    assert guard.mode == DriverMode.ACTIVE
    assert guard.accept(command(spec, token, 2, spec.home_positions + 0.003), 0.031)


def test_time_that_stands_still_is_no_silence(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    guard.accept(command(spec, token), 1.0)
    for _ in range(1000):
        assert (guard.setpoint(1.0)[0] == spec.home_positions + 0.001).all()
    assert guard.mode == DriverMode.ACTIVE


def test_emergency_stop_plays_the_stop_at_once(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    sent = command(spec, token)
    guard.accept(sent, 0.0)
    guard.emergency_stop()
    path = [guard.setpoint(0.005 + cycle * PERIOD)[0] for cycle in range(4)]
    assert np.allclose(path[:3], sent.stop.positions)
    assert guard.mode == DriverMode.STOPPED
    assert guard.claimed


def test_a_reset_leaves_no_old_command_in_force(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    guard.accept(command(spec, token), 0.0)
    guard.initialise(spec.home_positions + 0.3)
    for cycle in range(100):
        assert np.allclose(guard.setpoint(cycle * PERIOD)[0], spec.home_positions + 0.3)
    assert guard.mode == DriverMode.ACTIVE
    assert not guard.accept(command(spec, token, 2), 1.0)  # aimed at where the arm was
    assert guard.last_refusal == "step"


def test_joints_are_taken_by_name(guard, spec):
    token = guard.claim("monitor")
    guard.resume()
    sent = command(spec, token)
    turned = replace(
        sent,
        joint_names=spec.joint_names[::-1],
        positions=sent.positions[::-1],
        stop=StopTrajectory(PERIOD, sent.stop.positions[:, ::-1]),
    )
    assert guard.accept(turned, 0.0)
    assert np.allclose(guard.setpoint(0.0)[0], sent.positions)


def test_the_supervisors_commands_survive_a_frozen_monitor(loop):
    """The guard bridges three cycles along the stop, then the monitor rejoins without a jump."""
    reference = loop.spec.home_positions
    for cycle in range(40):
        reference = reference + 0.006
        if cycle in (20, 21, 22):
            loop.sequence += 1
            loop.guard.setpoint(loop.now)
            continue
        loop.cycle(reference)
    assert loop.guard.mode == DriverMode.ACTIVE
    assert loop.guard.commands_refused == 0
    velocities = np.diff(loop.path(), axis=0) / loop.spec.control_period
    assert (velocities > -0.05).all()


def test_the_arm_rests_inside_the_limits_when_the_monitor_dies(loop):
    for _ in range(60):
        loop.cycle(loop.spec.home_positions + 1.5)
    assert np.abs(loop.supervisor.set_point.velocities).max() > 1.0
    path = []
    for _ in range(60):
        loop.sequence += 1
        path.append(loop.guard.setpoint(loop.now)[0])
    assert loop.guard.mode == DriverMode.STOPPED
    assert (np.diff(path[-20:], axis=0) == 0).all()
    assert (np.array(path) <= loop.limits.position_upper + 1e-6).all()


@pytest.mark.parametrize("latched", [False, True])
@pytest.mark.parametrize("frozen", [0.06, 0.3, 5.0])
def test_a_driver_that_was_frozen_plays_the_stop_from_where_it_was(guard, spec, frozen, latched):
    token = guard.claim("a")
    guard.resume()
    start = spec.home_positions + 0.01
    path = start + 0.01 * np.sqrt(np.arange(1, 31) / 30.0)[:, np.newaxis]
    assert guard.accept(command(spec, token, positions=start, stop=path), 0.0)
    if latched:
        guard.emergency_stop()
    before, played = guard.setpoint(0.005)[0], []
    now = 0.005 + frozen
    while guard.mode != DriverMode.STOPPED:
        played.append(guard.setpoint(now)[0])
        now += PERIOD
    steps = np.diff([before, *played], axis=0)
    # No step is longer than the first of the path's own, which is its longest.
    assert np.abs(steps).max() <= np.abs(path[0] - start).max() + 1e-12
    assert np.allclose(played[-1], path[-1])
    assert now - frozen < 0.4
