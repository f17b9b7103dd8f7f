"""What the safety monitor permits, with the stop that was verified for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class CommandSource(IntEnum):
    """Who is behind a command; values as in SafeCommand.msg."""

    HOLD = 0
    POLICY = 1
    OPERATOR = 2
    STOP = 3


@dataclass(frozen=True)
class StopTrajectory:
    """A jerk-limited path to rest: `positions` (samples, n_joints) [rad] every `time_step` [s], the last at rest."""

    time_step: float
    positions: np.ndarray


@dataclass
class SafeCommand:
    """One permitted command; fields, units and frames as in SafeCommand.msg."""

    stamp: float
    sequence: int
    state_sequence: int
    proposed_sequence: int
    joint_names: tuple[str, ...]
    positions: np.ndarray
    velocities: np.ndarray
    gripper_command: float
    valid_for: float
    source: CommandSource
    stop: StopTrajectory
    token: str = ""
    episode_id: str = ""
    altered: bool = False
    reasons: tuple[str, ...] = ()
