"""Steps settle without overshoot, ramps are followed with bounded lag, feasible references are met exactly."""

import numpy as np
import pytest

from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference
from physai_ros.robot.set_point import SetPoint
from physai_ros.safety.filter import SafetyFilter
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.tracking import ReferenceTracker


@pytest.fixture
def follow(spec, limits, kinematics):
    def run(references: np.ndarray, cycles: np.ndarray | None = None) -> np.ndarray:
        tracker = ReferenceTracker(limits, spec.control_period)
        project = SafetyFilter(limits, kinematics, spec.control_period).project
        set_point, path = SetPoint.at_rest(spec.home_positions), []
        for cycle, reference in enumerate(references):
            number = cycle if cycles is None else int(cycles[cycle])
            target = tracker.target(reference, number, set_point)
            set_point = set_point.followed_by(project(target, set_point).positions, spec.control_period)
            path.append(set_point.positions)
        return np.array(path)

    return run


@pytest.mark.parametrize("size", [0.0005, 0.002, 0.01, 0.1, 0.5])
def test_a_step_is_reached_without_overshoot(follow, spec, size):
    step = size * np.array([1.0, -0.4, 0.2, -0.6, 1.0, 0.5, -1.0])
    path = follow(np.tile(spec.home_positions + step, (300, 1))) - spec.home_positions
    share = path / step
    assert share.max() < 1.0 + 1e-6
    assert (np.diff(share, axis=0) > -1e-9).all()
    assert np.allclose(path[-1], step, atol=1e-9)


@pytest.mark.parametrize("speed", [0.05, 0.3, 1.0, 1.5])
def test_a_ramp_is_followed_with_bounded_lag_and_its_end_is_not_overrun(follow, spec, limits, speed):
    direction = np.array([1.0, 0.0, 0.5, -0.3, 0.0, 0.0, 1.0])
    way = np.minimum(np.arange(1, 151), 50)[:, np.newaxis] * speed * spec.control_period * direction
    path = follow(spec.home_positions + way) - spec.home_positions
    lag = (way - path)[:, 0]
    assert lag.min() > -1e-9  # never ahead of the reference, at its end neither
    assert lag.max() <= speed**2 / (2 * limits.acceleration[0]) + 2 * speed * spec.control_period
    assert np.abs(lag[-1]) < 1e-9


def test_a_reference_within_the_limits_is_met_exactly(follow, spec):
    time = np.arange(200)[:, np.newaxis] * spec.control_period
    way = 0.3 * (1 - np.cos(2 * time)) * np.ones(7) * 0.5
    references = spec.home_positions + way
    assert np.abs(follow(references) - references).max() == 0.0


def test_policy_steps_of_stepping_speed_do_not_make_it_swing(follow, spec):
    generator = np.random.default_rng(3)
    speeds = np.repeat(generator.uniform(0.2, 0.6, (30, 1)), 10, axis=0) * np.array([1, 0.5, 0.2, 1, 0.3, 0.4, 1])
    references = spec.home_positions * 0 + spec.home_positions + np.cumsum(speeds * 0.2, axis=0) * spec.control_period
    path = follow(references)
    assert (np.diff(path, axis=0) > 0).all()  # all joints keep going the way that the reference goes


def test_a_late_reference_is_carried_on_then_stands(follow, spec):
    time = np.arange(100)[:, np.newaxis] * spec.control_period
    references = spec.home_positions + 0.3 * (1 - np.cos(time)) * np.ones(7)
    late = references.copy()
    cycles = np.arange(100)
    late[60], cycles[60] = late[59], 59
    path = follow(late, cycles)
    assert np.abs(path - references).max() < 1e-4
    late[60:], cycles[60:] = late[59], 59
    stands = follow(late, cycles)
    assert np.allclose(stands[-1], 3 * references[59] - 2 * references[58], atol=1e-9)


def test_policy_steps_within_the_limits_pass_bit_for_bit(loop, kinematics):
    generator = np.random.default_rng(5)
    reference = CartesianReference(kinematics, CYCLES_PER_STEP)
    reference.reset(loop.spec.home_positions)
    scale = np.array([0.025, 0.025, 0.025, 0.0, 0.0, 0.12])
    speeds, command = set(), loop.cycle(loop.spec.home_positions)
    for _ in range(40):
        reference.begin_step(scale * generator.uniform(-1.0, 1.0, 6))
        for _ in range(CYCLES_PER_STEP):
            proposed = reference.advance(command.positions)
            command = loop.cycle(proposed)
            assert not command.altered and not command.reasons
            assert np.array_equal(command.positions, proposed)
            speeds.add(round(float(np.abs(command.velocities).max()), 1))
    assert max(speeds) > 0.8  # it did move


@pytest.mark.parametrize(("way", "missed"), [(1, 0.0), (2, 0.0), (2, 0.2), (4, 0.1)])
def test_references_that_come_late_or_not_at_all_keep_their_speed(loop, kinematics, way, missed):
    generator = np.random.default_rng(way)
    reference = CartesianReference(kinematics, CYCLES_PER_STEP, leash=0.15)
    reference.reset(loop.spec.home_positions)
    on_the_way, heard, travelled = [], None, []
    command = loop.cycle(loop.spec.home_positions)
    for step in range(30):
        angle = step * 0.4
        reference.begin_step(0.05 * np.array([np.cos(angle), np.sin(angle), 0.0, 0.0, 0.0, 0.0]))
        for _ in range(CYCLES_PER_STEP):
            # What the policy sees of the set-point is as old as what reaches safety of the policy.
            on_the_way.append(loop.action(reference.advance(command.positions)))
            if len(on_the_way) > way - 1:
                newest = on_the_way.pop(0)
                heard = newest if heard is None or generator.random() >= missed else heard
            command = loop.cycle(proposal=heard) if heard is not None else loop.cycle(loop.spec.home_positions)
            assert loop.supervisor.state <= SafetyState.LIMITED
            tool = kinematics.jacobian(command.positions)[:3] @ command.velocities
            travelled.append(np.linalg.norm(tool))
    assert np.mean(travelled[50:]) > 0.85 * 0.5
