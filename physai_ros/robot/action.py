"""Actions: one step of motion for one control cycle, and the prediction it is played from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ALARM_LEVEL = 1.0
"""Uncertainty of a policy's action above which its calibrated alarm is raised; a mere spread stays below it."""


@dataclass
class RobotAction:
    """One step of motion, absolute; fields, units and frames as in RobotAction.msg.

    `reference_positions` and `joint_delta` are (n_joints,) [rad]; `ee_delta` is (6,): translation [m] and rotation
    vector [rad] of the tool over the policy step being played, in the base frame; `gripper_command` is in -1 (closed)
    to 1 (open). Instants are seconds on the node clock.
    """

    stamp: float
    sequence: int
    state_sequence: int
    joint_names: tuple[str, ...]
    reference_positions: np.ndarray
    joint_delta: np.ndarray
    ee_delta: np.ndarray = field(default_factory=lambda: np.zeros(6))
    gripper_command: float = 1.0
    episode_id: str = ""
    observation_stamp: float = 0.0
    target_time: float = 0.0
    chunk_id: int = 0
    step: int = 0
    policy_version: str = ""
    value: float = float("nan")
    uncertainty: float = float("nan")


@dataclass
class ActionChunk:
    """A whole prediction: `ee_deltas` (steps, 6) [m, rad], `gripper_commands` (steps,); see ActionChunk.msg."""

    stamp: float
    chunk_id: int
    state_sequence: int
    step_duration: float
    ee_deltas: np.ndarray
    gripper_commands: np.ndarray
    episode_id: str = ""
    observation_stamp: float = 0.0
    policy_version: str = ""
    value: float = float("nan")
    uncertainty: float = float("nan")


@dataclass
class Intervention:
    """A teleoperator's action; it takes precedence over the policy while `enable` is held and `lease` [s] runs."""

    stamp: float
    enable: bool
    lease: float
    operator_name: str
    action: RobotAction
