"""Supervisor and guard in one loop with an arm that follows its set-point."""

from __future__ import annotations

import numpy as np
import pytest

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.command import SafeCommand
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState
from physai_ros.safety.driver_guard import DriverGuard
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.supervisor import SafetySupervisor


class Loop:
    """Runs the control cycle: state, decision, guard; keeps what was commanded."""

    def __init__(self, spec: RobotSpec, kinematics: Kinematics, **overrides: object) -> None:
        self.spec = spec
        self.limits = SafetyLimits.from_spec(spec, **overrides)
        self.kinematics = kinematics
        self.supervisor = SafetySupervisor(spec, self.limits, kinematics)
        self.guard = DriverGuard(spec)
        self.token = self.guard.claim("test")
        self.guard.resume()
        self.sequence = 0
        self.wrench = np.zeros(6)
        self.error = np.zeros(len(spec.joint_names))
        self.commands: list[SafeCommand] = []
        self.supervisor.activate(self.state())

    @property
    def now(self) -> float:
        """Simulated time [s]."""
        return self.sequence * self.spec.control_period

    def state(self, **changes: object) -> DriverState:
        """State that the driver measures now."""
        positions, gripper = self.guard.setpoint(self.now)
        fields = {
            "stamp": self.now,
            "sequence": self.sequence,
            "joint_names": self.spec.joint_names,
            "joint_positions": positions + self.error,
            "joint_velocities": np.zeros(positions.size),
            "joint_torques": np.zeros(positions.size),
            "commanded_positions": positions,
            "wrench": self.wrench,
            "wrench_valid": True,
            "gripper_command": gripper,
            "mode": self.guard.mode,
            "command_timeout": self.spec.command_timeout,
            "enforced_velocity": self.spec.velocity_limits,
        }
        return DriverState(**{**fields, **changes})

    def action(self, reference: np.ndarray, **changes: object) -> RobotAction:
        """Proposal for the present state."""
        fields = {
            "stamp": self.now,
            "sequence": self.sequence,
            "state_sequence": self.sequence,
            "joint_names": self.spec.joint_names,
            "reference_positions": reference,
            "joint_delta": np.zeros(len(self.spec.joint_names)),
        }
        return RobotAction(**{**fields, **changes})

    def intervention(self, reference: np.ndarray, enable: bool = True, lease: float = 0.2) -> Intervention:
        """Operator's action for the present state."""
        return Intervention(self.now, enable, lease, "test", self.action(reference))

    def cycle(
        self,
        reference: np.ndarray | None = None,
        *,
        proposal: RobotAction | None = None,
        intervention: Intervention | None = None,
        **changes: object,
    ) -> SafeCommand:
        """One cycle; the proposal is for this cycle's state unless one is given."""
        self.sequence += 1
        if proposal is None and reference is not None:
            proposal = self.action(reference)
        command = self.supervisor.decide(self.state(**changes), proposal, intervention, self.now)
        command.token = self.token
        self.guard.accept(command, self.now)
        self.commands.append(command)
        return command

    def start(self) -> Loop:
        """Resume, ready to move."""
        done, message = self.supervisor.resume()
        assert done, message
        return self

    def path(self) -> np.ndarray:
        """Commanded positions (cycles, n_joints)."""
        return np.array([command.positions for command in self.commands])


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return RobotSpec.load("fr3_sim")


@pytest.fixture(scope="session")
def kinematics(spec: RobotSpec) -> Kinematics:
    return Kinematics(spec)


@pytest.fixture(scope="session")
def limits(spec: RobotSpec) -> SafetyLimits:
    return SafetyLimits.from_spec(spec)


@pytest.fixture
def loop(spec: RobotSpec, kinematics: Kinematics) -> Loop:
    return Loop(spec, kinematics).start()


@pytest.fixture(scope="session")
def make_loop(spec: RobotSpec, kinematics: Kinematics) -> type:
    return lambda **overrides: Loop(spec, kinematics, **overrides).start()
