"""What a rollout remembers of an episode, column for column as a recording of the graph is read."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.robot.state import RobotState

_STATE_COLUMNS = (
    "stamp",
    "sequence",
    "joint_positions",
    "joint_velocities",
    "joint_torques",
    "commanded_positions",
    "ee_position",
    "ee_orientation",
    "ee_velocity",
    "wrench",
    "contact_forces",
    "gripper_width",
    "gripper_force",
    "gripper_command",
)


class EpisodeLog:
    """Collects one row a control cycle and gives the columns of `Episode.series`."""

    def __init__(self) -> None:
        self._states: list[RobotState] = []
        self._commands: list[SafeCommand] = []
        self._intents: list[tuple[np.ndarray, float, float, float]] = []

    def append(
        self,
        state: RobotState,
        proposal: RobotAction | None,
        intervention: Intervention | None,
        command: SafeCommand,
    ) -> None:
        """One control cycle: the state, what was proposed for it, and the command that answered it."""
        theirs = command.source == CommandSource.OPERATOR and intervention is not None
        action = intervention.action if theirs else proposal
        ee_delta, gripper = (
            (_AT_REST, state.gripper_command) if action is None else (action.ee_delta, action.gripper_command)
        )
        # The policy goes on predicting while an operator is in control, so its value is of use there, too.
        value, uncertainty = (np.nan, np.nan) if proposal is None else (proposal.value, proposal.uncertainty)
        self._states.append(state)
        self._commands.append(command)
        self._intents.append((ee_delta, gripper, value, uncertainty))

    def series(self) -> dict[str, np.ndarray]:
        """All columns; the first axis is the control cycle."""
        states, commands = self._states, self._commands
        columns = {name: np.array([getattr(state, name) for state in states]) for name in _STATE_COLUMNS}
        columns["object_poses"] = np.array([list(s.object_poses.values()) for s in states]).reshape(len(states), -1, 7)
        columns["command_source"] = np.array([command.source for command in commands], dtype=np.uint8)
        columns["command_positions"] = np.array([command.positions for command in commands])
        columns["command_altered"] = np.array([command.altered for command in commands], dtype=bool)
        ee_deltas, grippers, values, uncertainties = zip(*self._intents, strict=True)
        columns["action_ee_delta"] = np.array(ee_deltas)
        columns["action_gripper"] = np.array(grippers)
        columns["action_value"] = np.array(values, dtype=float)
        columns["action_uncertainty"] = np.array(uncertainties, dtype=float)
        return columns


_AT_REST = np.zeros(6)
