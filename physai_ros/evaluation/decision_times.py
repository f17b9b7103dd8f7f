"""How long one decision of the safety monitor takes, beside what it is built on."""

from __future__ import annotations

import gc
import time

import daqp
import numpy as np

from physai_ros.evaluation.adversary import AdversarialPolicy, Antagonist
from physai_ros.robot.action import RobotAction
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.servo_lag import ServoLag
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.supervisor import SafetySupervisor

_WARM_UP = 200
_PAUSE, _PAUSE_EVERY = 0.02, 500  # [s] after so many: the kernel stops a real-time process that takes all of its time


class PolicySteps:
    """Random displacements of the size a policy decides on, played as a policy plays them."""

    def __init__(self, kinematics: Kinematics, generator: np.random.Generator) -> None:
        self._reference = CartesianReference(kinematics, CYCLES_PER_STEP)
        self._reference.reset(kinematics.spec.home_positions)
        self._generator = generator
        self._home = kinematics.tool_pose(kinematics.spec.home_positions).position
        self._cycle = 0

    def propose(self, positions: np.ndarray) -> tuple[np.ndarray, float]:
        """The next absolute step; displacements lean back towards home, as a task keeps a policy in its room."""
        if self._cycle % CYCLES_PER_STEP == 0:
            away = self._reference.commanded_pose.position - self._home
            delta = np.zeros(6)
            delta[:3] = np.clip(self._generator.normal(0.0, 0.015, 3) - 0.1 * away, -0.025, 0.025)
            delta[5] = self._generator.uniform(-0.12, 0.12)
            self._reference.begin_step(delta)
        self._cycle += 1
        return self._reference.advance(positions), 1.0


def decision_times(case: str, count: int, seed: int) -> np.ndarray:
    """Wall times (count,) [s] of decisions in a case: `policy` steps, or an `adversary` at its limits."""
    spec = RobotSpec.load("fr3_sim")
    kinematics, limits = Kinematics(spec), SafetyLimits.from_spec(spec)
    generator = np.random.default_rng([seed, 0xDE])
    supervisor = SafetySupervisor(spec, limits, kinematics)
    policy: Antagonist = (
        PolicySteps(kinematics, generator) if case == "policy" else AdversarialPolicy(limits, kinematics, generator)
    )
    positions, times = spec.home_positions, np.empty(count)
    lag, measured = ServoLag(limits.servo_lag, spec.control_period), spec.home_positions
    gc.collect()
    gc.freeze()  # as every node does when it is activated
    try:
        for sequence in range(count + _WARM_UP):
            state = _state(spec, sequence, measured, positions)
            if sequence == 0:
                supervisor.activate(state)
                supervisor.resume()
            reference, gripper = policy.propose(positions)
            proposal = RobotAction(
                stamp=state.stamp,
                sequence=sequence + 1,
                state_sequence=sequence,
                joint_names=spec.joint_names,
                reference_positions=reference,
                joint_delta=np.zeros(len(reference)),
                gripper_command=gripper,
            )
            began = time.perf_counter()
            command = supervisor.decide(state, proposal, None, state.stamp)
            ended = time.perf_counter()
            if sequence >= _WARM_UP:
                times[sequence - _WARM_UP] = ended - began
            positions = command.positions
            measured = lag.path(positions[np.newaxis], measured)[0]
            if supervisor.state == SafetyState.STOPPED:
                supervisor.resume()
            if sequence % _PAUSE_EVERY == 0:
                time.sleep(_PAUSE)
    finally:
        gc.unfreeze()
    return times


def clip_times(count: int, seed: int) -> np.ndarray:
    """Wall times (count,) [s] of clipping a target to position, velocity and acceleration limits, and nothing else."""
    spec = RobotSpec.load("fr3_sim")
    limits, period = SafetyLimits.from_spec(spec), spec.control_period
    generator = np.random.default_rng(seed)
    positions, velocities, times = spec.home_positions, np.zeros(len(spec.joint_names)), np.empty(count)
    targets = positions + generator.normal(0.0, 0.05, (count, len(positions)))
    for index, target in enumerate(targets):
        began = time.perf_counter()
        wanted = (np.clip(target, limits.position_lower, limits.position_upper) - positions) / period
        step = limits.acceleration * period
        wanted = np.clip(np.clip(wanted, velocities - step, velocities + step), -limits.velocity, limits.velocity)
        after = positions + wanted * period
        times[index] = time.perf_counter() - began
        positions, velocities = after, wanted
    return times


def solve_times(count: int, seed: int, *, rows: int = 16) -> np.ndarray:
    """Wall times (count,) [s] of daqp on a program of this size: seven joints in a box, and `rows` half-spaces."""
    generator = np.random.default_rng(seed)
    hessian, times = np.eye(7), np.empty(count)
    upper = np.concatenate([np.ones(7), np.full(rows, 0.2)])
    lower = np.concatenate([-np.ones(7), np.full(rows, -1e30)])
    for index in range(count):
        gradient, slopes = generator.normal(0.0, 1.0, 7), generator.normal(0.0, 1.0, (rows, 7))
        began = time.perf_counter()
        daqp.solve(hessian, gradient, slopes, upper, lower)
        times[index] = time.perf_counter() - began
    return times


def plain_times(length: float, count: int) -> np.ndarray:
    """Wall times (count,) [s] of always the same arithmetic, of about `length` [s]: how the machine alone scatters."""
    matrix, start = np.full((7, 7), 1.0 / 7.0), np.ones(7)

    def time_of(rounds: int) -> float:
        vector = start
        began = time.perf_counter()
        for _ in range(rounds):
            vector = np.minimum(matrix @ vector, 1.0)
        return time.perf_counter() - began

    once = float(np.median([time_of(100) for _ in range(100)])) / 100
    rounds, times = max(round(length / once), 1), np.empty(count)
    for index in range(count):
        times[index] = time_of(rounds)
        if index % _PAUSE_EVERY == 0:
            time.sleep(_PAUSE)
    return times


def _state(spec: RobotSpec, sequence: int, measured: np.ndarray, commanded: np.ndarray) -> DriverState:
    zeros = np.zeros(len(measured))
    return DriverState(
        stamp=sequence * spec.control_period,
        sequence=sequence,
        joint_names=spec.joint_names,
        joint_positions=measured,
        joint_velocities=zeros,
        joint_torques=zeros,
        commanded_positions=commanded,
        wrench_valid=True,
        mode=DriverMode.ACTIVE,
        command_timeout=spec.command_timeout,
    )
