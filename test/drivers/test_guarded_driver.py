"""An arm that goes on at the last velocity it was told for ever, behind the guard, on a clock of the test's."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.drivers.activation import ActivationChecks
from physai_ros.drivers.conversion import SetPointConversion
from physai_ros.drivers.driver import CommandKind, DriverCapabilities, DriverError
from physai_ros.drivers.guarded_driver import GuardedDriver
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.set_point import SetPoint
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode, DriverState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.stopping import StopPlanner

SPEC = RobotSpec.load("fr3_sim")
PERIOD = SPEC.control_period
LIMITS = SafetyLimits.from_spec(SPEC)
IN_WRITING = "a person stands at the emergency stop"


class ForwardArm:
    """Integrates the last velocities (or stands at the last positions) whatever else happens."""

    def __init__(self, kind: CommandKind = CommandKind.JOINT_VELOCITIES, timeout: float = float("inf")) -> None:
        self.capabilities = DriverCapabilities((kind,), 100.0, timeout)
        self.positions = SPEC.home_positions.copy()
        self.velocities = np.zeros(7)
        self.names = SPEC.joint_names
        self.changes: dict[str, object] = {}
        self.sequence = 0
        self.stamp = 0.0
        self.commands: list[np.ndarray] = []
        self.grippers: list[float] = []
        self.active = self.refuses = False
        self.recovers = True

    def connect(self) -> None:
        """Nothing to open."""
        pass

    def activate(self, kind: CommandKind) -> None:
        """Take commands of its kind."""
        assert kind is self.capabilities.kinds[0]
        self.active = True

    def read(self) -> DriverState:
        """Measure, with the changes that a test asks for."""
        order = [SPEC.joint_names.index(name) for name in self.names if name in SPEC.joint_names]
        state = DriverState(
            self.stamp,
            self.sequence,
            self.names,
            self.positions[order],
            self.velocities[order],
            np.zeros(len(order)),
            self.positions[order],
            gripper_width=SPEC.gripper.max_width,
        )
        return replace(state, **self.changes)

    def command(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> bool:
        """Keep the command."""
        if not self.active or self.refuses:
            return False
        self.commands.append(vector)
        self.grippers.append(gripper_command)
        return True

    def halt(self, timeout: float) -> bool:
        """Rest at once."""
        self.velocities[:] = 0.0
        return True

    def recover(self) -> bool:
        """Clear what a test brought about."""
        if self.recovers:
            self.changes = {}
        return self.recovers

    def close(self) -> None:
        """Take no more commands."""
        self.active = False

    def advance(self) -> None:
        """One control period of the arm."""
        self.sequence += 1
        self.stamp += PERIOD
        if self.commands:
            if self.capabilities.kinds[0] is CommandKind.JOINT_VELOCITIES:
                self.velocities = self.commands[-1].copy()
            else:
                self.velocities = (self.commands[-1] - self.positions) / PERIOD
            self.positions = self.positions + self.velocities * PERIOD


class Bench:
    """The arm, its guard, and a safety monitor that leads the set-point on a sine."""

    def __init__(self, arm: ForwardArm | None = None, **settings: float) -> None:
        self.arm = arm or ForwardArm()
        self.driver = GuardedDriver(self.arm, SPEC, **settings)
        self.planner = StopPlanner(LIMITS, PERIOD)
        self.checks = ActivationChecks(sink_without_timeout=IN_WRITING)
        self.cycles = 0
        self.sequence = 0
        self.token = ""
        self.set_point = SetPoint.at_rest(SPEC.home_positions)
        self.speeds: list[float] = []

    @property
    def now(self) -> float:
        """Steady time [s]."""
        return self.cycles * PERIOD

    def start(self) -> None:
        """Connect and hold."""
        self.driver.start(self.checks, time.monotonic(), self.arm.stamp)
        self.driver._seen = (self.driver._seen[0], self.now)  # the test's clock, not the machine's
        self.driver._taken = self.now

    def claim_and_resume(self) -> None:
        """As the safety monitor does."""
        self.token = self.driver.guard.claim("test")
        self.sequence = 0
        done, message = self.driver.resume()
        assert done, message
        self.set_point = SetPoint.at_rest(self.driver.guard.set_point)

    def cycle(self, to: np.ndarray | None = None) -> DriverState:
        """One control cycle, with a command to lead the set-point `to` where one is given."""
        if to is not None:
            self.set_point = self.set_point.followed_by(to, PERIOD)
            self.sequence += 1
            command = SafeCommand(
                stamp=0.0,
                sequence=self.sequence,
                state_sequence=0,
                proposed_sequence=0,
                joint_names=SPEC.joint_names,
                positions=self.set_point.positions,
                velocities=self.set_point.velocities,
                gripper_command=0.5,
                valid_for=SPEC.command_timeout,
                source=CommandSource.POLICY,
                stop=self.planner.plan(self.set_point),
                token=self.token,
            )
            self.accepted = self.driver.accept(command, self.now)
        state = self.driver.cycle(self.now)
        self.arm.advance()
        self.speeds.append(float(np.abs(self.arm.velocities).max()))
        self.cycles += 1
        return state

    def lead(self, cycles: int, amplitude: float = 0.25, frequency: float = 0.5) -> None:
        """Lead the set-point along a sine that starts at rest."""
        begin = self.set_point.positions
        for k in range(1, cycles + 1):
            swing = amplitude * (1.0 - np.cos(2.0 * np.pi * frequency * k * PERIOD)) / 2.0
            self.cycle(begin + swing)


def test_nothing_moves_at_start_and_resume_without_a_command():
    bench = Bench()
    bench.start()
    states = [bench.cycle() for _ in range(30)]
    assert states[-1].mode == DriverMode.IDLE
    bench.claim_and_resume()
    states = [bench.cycle() for _ in range(100)]
    assert states[-1].mode == DriverMode.ACTIVE
    assert not np.any(bench.arm.commands)
    assert [state.sequence for state in states] == list(range(states[0].sequence, states[0].sequence + 100))
    assert set(bench.arm.grippers) == {1.0}  # as it was found, open


@pytest.mark.parametrize(("width", "force", "expected"), [(0.08, 0.0, 1.0), (0.02, 0.0, -0.5), (0.05, 9.0, -1.0)])
def test_the_gripper_is_left_as_it_was_found(width, force, expected):
    bench = Bench()
    bench.arm.changes = {"gripper_width": width, "gripper_force": force}
    bench.start()
    bench.cycle()
    assert bench.arm.grippers[-1] == pytest.approx(expected)


def test_the_arm_follows_and_a_joint_order_of_its_own_is_no_matter():
    bench = Bench()
    bench.arm.names = SPEC.joint_names[::-1]
    bench.start()
    bench.claim_and_resume()
    bench.lead(100)
    assert np.abs(bench.arm.positions - bench.set_point.positions).max() < 0.01
    assert np.abs(bench.arm.positions - SPEC.home_positions).max() > 0.2


@settings(max_examples=15, deadline=None)
@given(cycles=st.integers(10, 120), amplitude=st.floats(0.05, 0.3))
def test_silence_brings_a_controller_that_holds_its_last_command_to_rest(cycles, amplitude):
    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    bench.lead(cycles, amplitude)
    speed = np.abs(bench.set_point.velocities)
    stop = len(bench.planner.plan(bench.set_point).positions)
    end = bench.planner.plan(bench.set_point).positions[-1]
    bench.speeds.clear()
    patience = round(SPEC.command_timeout / PERIOD) + stop + 3
    for _ in range(patience):
        state = bench.cycle()
    assert state.mode == DriverMode.STOPPED
    assert bench.speeds[-1] == 0.0
    assert max(bench.speeds) <= speed.max() + 0.3  # never faster than it was, feedback on the lag apart
    assert np.abs(bench.arm.positions - end).max() < 0.02
    held = bench.arm.positions
    bench.set_point = SetPoint.at_rest(bench.driver.guard.set_point)
    bench.cycle(bench.set_point.positions)
    assert not bench.accepted and bench.driver.guard.last_refusal == "stopped"
    assert (bench.arm.positions == held).all()


def test_a_fault_latches_where_the_arm_stands_and_needs_recovery_then_resume():
    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    bench.lead(60)
    bench.arm.changes = {"fault": DriverFault.REFLEX, "fault_text": "joint 3: torque"}
    bench.arm.commands.clear()
    bench.arm.velocities[:] = 0.0
    states = [bench.cycle() for _ in range(5)]
    assert not bench.arm.commands
    assert {(s.mode, s.fault, s.fault_text) for s in states} == {
        (DriverMode.STOPPED, DriverFault.REFLEX, "joint 3: torque")
    }
    # What the arm does in a fault is still to be seen: it rests, and gives way to a hand.
    assert not states[-1].joint_velocities.any()
    bench.arm.positions += 0.003
    np.testing.assert_array_equal(bench.cycle().joint_positions, bench.arm.positions)
    done, message = bench.driver.resume()
    assert not done and "driver/recover" in message
    # A fault that goes away by itself is still there until somebody has recovered.
    bench.arm.changes = {}
    assert bench.cycle().fault == DriverFault.REFLEX
    assert bench.driver.recover()[0]
    while bench.driver.recovering:
        time.sleep(0.001)
    assert bench.cycle().fault == DriverFault.NONE
    moved = bench.arm.positions.copy()
    bench.claim_and_resume()
    for _ in range(20):
        bench.cycle()
    assert np.abs(bench.arm.positions - moved).max() < 1e-9
    bench.lead(50, 0.1)
    assert np.abs(bench.arm.positions - moved).max() > 0.02


def test_an_arm_that_does_not_recover_stays_latched():
    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    bench.arm.recovers = False
    bench.arm.changes = {"fault": DriverFault.ESTOP, "fault_text": "pressed"}
    bench.cycle()
    bench.driver.recover()
    while bench.driver.recovering:
        time.sleep(0.001)
    assert bench.cycle().fault == DriverFault.ESTOP
    assert not bench.driver.resume()[0]


def test_an_arm_that_was_moved_by_hand_is_taken_from_where_it_is():
    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    bench.lead(40, 0.1)
    bench.driver.emergency_stop()
    for _ in range(60):
        state = bench.cycle()
    assert (state.mode, state.fault) == (DriverMode.STOPPED, DriverFault.ESTOP)
    bench.arm.positions = bench.arm.positions + 0.3
    elsewhere = bench.arm.positions.copy()
    bench.cycle()
    bench.claim_and_resume()
    for _ in range(20):
        state = bench.cycle()
    assert np.abs(state.commanded_positions - elsewhere).max() < 1e-9
    assert np.abs(bench.arm.positions - elsewhere).max() < 1e-9
    # What was meant for the place before is refused.
    bench.set_point = SetPoint.at_rest(SPEC.home_positions)
    bench.cycle(SPEC.home_positions)
    assert not bench.accepted


def test_measurements_that_stand_still_are_a_lost_link_and_refusals_a_fault():
    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    advance, bench.arm.advance = bench.arm.advance, lambda: None
    for _ in range(20):
        state = bench.cycle()
    assert (state.fault, state.mode) == (DriverFault.LINK_LOST, DriverMode.STOPPED)
    bench.arm.advance = advance

    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    bench.arm.refuses = True
    for _ in range(20):
        state = bench.cycle()
    assert (state.fault, state.mode) == (DriverFault.REJECTED, DriverMode.STOPPED)


def test_the_first_motion_is_slow_or_refused():
    bench = Bench(first_motion=0.5)
    bench.start()
    bench.claim_and_resume()
    bench.lead(10, 0.05)  # slow: 0.08 rad/s at most
    assert bench.driver.guard.commands_refused == 0
    fast = bench.set_point.positions + 0.4 * SPEC.velocity_limits * PERIOD
    bench.cycle(fast)
    assert not bench.accepted and bench.driver.guard.last_refusal == "first_motion_speed"
    for _ in range(60):
        bench.cycle()
    assert bench.speeds[-1] == 0.0
    # Later on it may go as fast as it is permitted to.
    bench = Bench(first_motion=0.5)
    bench.start()
    bench.claim_and_resume()
    bench.lead(60, 0.02)
    bench.lead(25, 0.45, frequency=1.0)
    assert bench.driver.guard.commands_refused == 0
    assert np.abs(bench.set_point.velocities / SPEC.velocity_limits).max() > 0.3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"joint_names": (*SPEC.joint_names[:6], "wrist")}, "expects fr3_joint1"),
        ({"joint_positions": SPEC.position_upper + 0.1}, "outside"),
        ({"joint_positions": np.full(7, np.nan)}, "finite"),
        ({"joint_velocities": np.full(7, 0.5)}, "rests"),
        ({"enforced_velocity": SPEC.velocity_limits / 2}, "narrow the configuration"),
        ({"enforced_position_upper": SPEC.position_upper - 0.2}, "narrow the configuration"),
        ({"stamp": 3.0}, "synchronise"),
        ({"stamp": float("nan")}, "synchronise"),
        ({"fault": DriverFault.REFLEX, "fault_text": "still there"}, "still there"),
    ],
)
def test_an_arm_that_does_not_fit_is_not_activated(change, words):
    bench = Bench()
    bench.arm.changes = change
    with pytest.raises(DriverError, match=words):
        bench.start()
    assert not bench.arm.active


def test_a_sink_without_a_timeout_is_refused_unless_accepted_in_writing():
    bench = Bench()
    bench.checks = ActivationChecks()
    with pytest.raises(DriverError, match="sink_without_timeout"):
        bench.start()
    bench.checks = ActivationChecks(sink_without_timeout=IN_WRITING)
    bench.start()
    assert bench.cycle().command_timeout == float("inf")  # the safety monitor is told, and refuses by itself
    limited = Bench(ForwardArm(timeout=SPEC.command_timeout))
    limited.checks = ActivationChecks()
    limited.start()
    assert limited.cycle().command_timeout == SPEC.command_timeout


def test_stopping_leads_the_arm_to_rest_and_closes_it():
    bench = Bench()
    bench.start()
    bench.claim_and_resume()
    bench.lead(40, 0.2)
    assert bench.driver.stop(2.0)
    assert not bench.arm.active


@settings(max_examples=30, deadline=None)
@given(
    before=st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7),
    step=st.lists(st.floats(-0.02, 0.02), min_size=7, max_size=7),
    lag=st.floats(-0.05, 0.05),
)
def test_conversions_say_the_same_motion(before, step, lag):
    start, target = SPEC.home_positions + before, SPEC.home_positions + before + np.array(step)
    measured = start + lag
    vectors = {}
    for kind in CommandKind:
        conversion = SetPointConversion(SPEC, kind)
        conversion.vector(start, measured, moving=True)
        vectors[kind] = conversion.vector(target, measured, moving=True)
    assert (vectors[CommandKind.JOINT_POSITIONS] == target).all()
    velocities = vectors[CommandKind.JOINT_VELOCITIES]
    wanted = (target - start) / PERIOD + 5.0 * (start - measured)
    assert velocities == pytest.approx(np.clip(wanted, -SPEC.velocity_limits, SPEC.velocity_limits))
    twist = Kinematics(SPEC).jacobian(measured) @ velocities
    assert vectors[CommandKind.TOOL_TWIST] == pytest.approx(twist)
    for kind in (CommandKind.JOINT_VELOCITIES, CommandKind.TOOL_TWIST):
        assert not SetPointConversion(SPEC, kind).vector(target, measured, moving=False).any()
