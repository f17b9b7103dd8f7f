"""What the safety monitor is compared with: everything passes as it was proposed."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.command import CommandSource, SafeCommand, StopTrajectory
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState
from physai_ros.safety.state_machine import SafetyState


class Unfiltered:
    """Stands in for `SafetySupervisor` in simulation; the operator comes before the policy, and that is all."""

    state = SafetyState.NOMINAL

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._decisions = 0

    def activate(self, driver_state: DriverState) -> None:
        """Nothing is checked."""

    def resume(self) -> tuple[bool, str]:
        """There is nothing to resume from."""
        return True, ""

    def decide(
        self, driver_state: DriverState, proposal: RobotAction | None, intervention: Intervention | None, now: float
    ) -> SafeCommand:
        """The proposal as a command; without one the set-point stays."""
        self._decisions += 1  # over episodes: the driver's guard refuses a sequence that starts again
        operated = intervention is not None and intervention.enable
        action = intervention.action if operated else proposal
        positions = driver_state.commanded_positions if action is None else action.reference_positions
        source = CommandSource.OPERATOR if operated else CommandSource.POLICY
        return SafeCommand(
            stamp=driver_state.stamp,
            sequence=self._decisions,
            state_sequence=driver_state.sequence,
            proposed_sequence=0 if action is None else action.sequence,
            joint_names=self._spec.joint_names,
            positions=np.array(positions, dtype=float),
            velocities=np.zeros(len(positions)),
            gripper_command=driver_state.gripper_command if action is None else float(action.gripper_command),
            valid_for=self._spec.command_timeout,
            source=CommandSource.HOLD if action is None else source,
            stop=StopTrajectory(self._spec.control_period, np.array([positions], dtype=float)),
            episode_id="" if action is None else action.episode_id,
            altered=False,
            reasons=(),
        )
