"""The step to nowhere."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.action import RobotAction
from physai_ros.robot.state import RobotState


def hold_action(state: RobotState, sequence: int, control_period: float, episode_id: str = "") -> RobotAction:
    """The step that stays at the set-point in force in `state`, gripper as commanded; `control_period` in [s]."""
    return RobotAction(
        stamp=state.stamp,
        sequence=sequence,
        state_sequence=state.sequence,
        joint_names=state.joint_names,
        reference_positions=state.commanded_positions.copy(),
        joint_delta=np.zeros_like(state.commanded_positions),
        gripper_command=state.gripper_command,
        episode_id=episode_id,
        observation_stamp=state.stamp,
        target_time=state.stamp + control_period,
    )
