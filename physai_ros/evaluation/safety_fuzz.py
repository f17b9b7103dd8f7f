"""Random and hostile proposals, interventions and states through the safety monitor, each answer judged."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from physai_ros.evaluation.adversary import AdversarialPolicy, RandomPolicy
from physai_ros.evaluation.motion_check import MotionCheck
from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode, DriverState
from physai_ros.safety.driver_guard import DriverGuard
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.supervisor import SafetySupervisor

_STRANGE = (np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 2.3e-310, 1e6, -0.0)


@dataclass
class FuzzResult:
    """Counts over `proposals`: what was permitted, altered or refused, why, and what was wrong with an answer."""

    proposals: int = 0
    permitted: int = 0
    altered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)


class SafetyFuzz:
    """A safety monitor and a driver's guard, between a world and a policy that both may say anything."""

    def __init__(self, *, seed: int = 0, robot: str = "fr3_sim") -> None:
        self._spec = RobotSpec.load(robot)
        self._generator = np.random.default_rng([seed, 0xF0])
        self._limits = SafetyLimits.from_spec(self._spec)
        kinematics = Kinematics(self._spec)
        self._supervisor = SafetySupervisor(self._spec, self._limits, kinematics)
        self._policies = (
            RandomPolicy(self._limits, self._generator),
            AdversarialPolicy(self._limits, kinematics, self._generator),
        )
        self._check = MotionCheck(self._limits, kinematics, self._spec.control_period)
        self._guard = DriverGuard(self._spec)
        self._token = self._guard.claim("fuzz")
        self._guard.resume()
        self._sequence = 0
        self._last: SafeCommand | None = None
        self._world_moved = False
        self.result = FuzzResult()
        self._supervisor.activate(self._state())
        self._supervisor.resume()
        self._check.start(self._spec.home_positions)

    def run(self, proposals: int) -> FuzzResult:
        """Go on for so many proposals; results add up."""
        for _ in range(proposals):
            self._step()
        self.result.violations.update(self._check.violations)
        self._check.violations.clear()
        return self.result

    @property
    def _now(self) -> float:
        return self._sequence * self._spec.control_period

    def _state(self) -> DriverState:
        positions, gripper = self._guard.setpoint(self._now)
        count = len(positions)
        return DriverState(
            stamp=self._now,
            sequence=self._sequence,
            joint_names=self._spec.joint_names,
            joint_positions=positions,
            joint_velocities=np.zeros(count),
            joint_torques=np.zeros(count),
            commanded_positions=positions,
            wrench_valid=True,
            gripper_command=gripper,
            mode=self._guard.mode,
            command_timeout=self._spec.command_timeout,
        )

    def _step(self) -> None:
        generator, result = self._generator, self.result
        skipped = int(generator.integers(1, 4)) if generator.random() < 0.01 else 0
        self._sequence += 1 + skipped
        if skipped and self._last is not None:
            self._go_along(self._last.stop.positions, skipped)
        if generator.random() < 0.002:
            self._reset_world()
        state = self._strange_state(self._state())
        proposal, intervention = self._proposal(state), self._intervention()
        command = self._supervisor.decide(state, proposal, intervention, self._now)
        command.token = self._token
        self._guard.accept(command, self._now)
        result.proposals += 1
        numbers = [*state.joint_positions, *state.commanded_positions, *state.joint_velocities]
        # Where finite numbers add up to infinity, as of 1e308, the monitor reads nothing either.
        usable = math.isfinite(sum(map(float, numbers))) and len(state.joint_velocities) == len(state.joint_names)
        usable &= state.joint_names == self._spec.joint_names
        stands = "driver_not_active" in command.reasons and np.array_equal(command.positions, state.commanded_positions)
        if (self._world_moved and usable) or stands:
            self._check.start(state.commanded_positions)
            self._world_moved = False
        self._judge(command)
        self._last = command
        if self._supervisor.state == SafetyState.STOPPED and generator.random() < 0.2:
            self._guard.resume()
            self._supervisor.resume()

    def _go_along(self, stop: np.ndarray, samples: int) -> None:
        """The driver went along the stop that it had while states got lost."""
        for sample in range(samples):
            self._check.see(stop[min(sample, len(stop) - 1)])

    def _reset_world(self) -> None:
        limits, generator = self._limits, self._generator
        beyond = generator.choice([-0.2, 0.0, 0.0, 0.02])
        posture = generator.uniform(limits.position_lower - beyond, limits.position_upper + beyond)
        self._guard.initialise(np.clip(posture, self._spec.position_lower, self._spec.position_upper))
        self._world_moved = True  # which the monitor learns from the next state that it can read

    def _strange_state(self, state: DriverState) -> DriverState:
        """The state as the world tells it."""
        generator, kind = self._generator, self._generator.random()
        joints = len(self._spec.joint_names)
        if kind < 0.9:
            force = generator.choice([0.0, 0.0, 5.0, 45.0, 55.0, 500.0])
            return replace(state, wrench=np.array([force, 0.0, 0.0, 0.0, 0.0, 0.0]))
        value = float(generator.choice(_STRANGE))
        changes = (
            {"joint_positions": np.full(joints, value)},
            {"joint_positions": state.joint_positions + generator.normal(0, 0.3, joints)},
            {"commanded_positions": np.where(generator.random(joints) < 0.3, np.nan, state.commanded_positions)},
            {"joint_velocities": np.zeros(int(generator.integers(0, 9)))},
            {"wrench": np.full(6, value)},
            {"joint_names": ("a",) * joints},
            {"gripper_command": value},
            {"stamp": state.stamp - float(generator.choice([1e-3, 10.0]))},
            {"fault": DriverFault.REFLEX},
            {"mode": DriverMode.STOPPED},
            {"mode": DriverMode.IDLE},
        )
        return replace(state, **changes[int(generator.integers(len(changes)))])

    def _proposal(self, state: DriverState) -> RobotAction | None:
        generator, spec = self._generator, self._spec
        if generator.random() < 0.02:
            return None
        reference, gripper = self._policies[int(generator.integers(2))].propose(self._supervisor.set_point.positions)
        names, number = spec.joint_names, self._sequence
        kind = generator.random()
        joints = len(names)
        if kind < 0.05:
            reference = np.full(joints, float(generator.choice(_STRANGE)))
        elif kind < 0.10:
            reference = np.where(generator.random(joints) < 0.3, float(generator.choice(_STRANGE)), reference)
        elif kind < 0.13:
            reference = generator.normal(0.0, 1.0, int(generator.integers(0, 12)))
        elif kind < 0.16:
            odd = (None, "far", [[0.0] * joints], np.zeros((joints, 1)), np.zeros(joints, dtype=complex), {})
            reference = odd[int(generator.integers(len(odd)))]
        elif kind < 0.19:
            names = (*names[:-1], "elbow") if generator.random() < 0.5 else names[::-1]
        elif kind < 0.22:
            gripper = float(generator.choice(_STRANGE))
        elif kind < 0.25:
            number = int(generator.choice([-1, 0, number - 50, number + 1000]))
        elif kind < 0.40:
            reference = self._supervisor.set_point.positions  # a rest, from which all begins anew
        return RobotAction(
            stamp=state.stamp,
            sequence=self._sequence,
            state_sequence=number,
            joint_names=names,
            reference_positions=reference,
            joint_delta=np.zeros(joints),
            gripper_command=gripper,
        )

    def _intervention(self) -> Intervention | None:
        generator = self._generator
        if generator.random() > 0.05:
            return None
        lease = float(generator.choice([0.2, 0.0, -1.0, np.nan, np.inf]))
        action = self._proposal(self._state())
        return None if action is None else Intervention(self._now, bool(generator.random() < 0.8), lease, "", action)

    def _judge(self, command: SafeCommand) -> None:
        result, violations = self.result, self.result.violations
        result.altered += command.altered
        result.reasons.update(command.reasons)
        moves = command.source in (CommandSource.POLICY, CommandSource.OPERATOR)
        result.permitted += moves
        if not command.reasons and (not moves or command.altered):
            violations["no_reason"] += 1
        numbers = (command.gripper_command, command.valid_for, command.stop.time_step)
        shape = (len(self._spec.joint_names),)
        positions = command.positions
        if positions.shape != shape or not (np.isfinite(positions).all() and np.isfinite(command.stop.positions).all()):
            violations["malformed"] += 1
            return
        if not (np.isfinite(numbers).all() and abs(command.gripper_command) <= 1.0 and command.valid_for > 0):
            violations["malformed"] += 1
        # Until the monitor can read where the world was moved to, the driver refuses what leads away from there.
        if self._guard.last_refusal not in ("", "stopped") and not self._world_moved:
            violations[f"refused_by_the_driver_{self._guard.last_refusal}"] += 1
        self._guard.last_refusal = ""
        self._check.see(positions)
        self._check.see_stop(command.stop.positions)
