"""What an episode is: who, what, why, which version."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from physai_ros.experience.pictures import Pictures
from physai_ros.robot.state import RobotState


class Purpose(IntEnum):
    """Why an episode is run; values as in EpisodeContext.msg. EVALUATE never enters replay."""

    TRAIN = 0
    EVALUATE = 1
    DEMONSTRATE = 2


class Phase(IntEnum):
    """Where an episode stands; values as in EpisodeContext.msg."""

    IDLE = 0
    RUNNING = 1
    ENDED = 2


@dataclass(frozen=True)
class EpisodeContext:
    """One episode's context; fields as in EpisodeContext.msg, `stamp` in seconds on the node clock."""

    episode_id: str = ""
    phase: Phase = Phase.IDLE
    purpose: Purpose = Purpose.TRAIN
    task: str = ""
    instruction: str = ""
    goal: tuple[float, ...] = ()
    scenario_json: str = ""
    seed: int = 0
    policy_version: str = ""
    robot: str = ""
    start_sequence: int = 0
    end_reason: str = ""
    stamp: float = 0.0


@dataclass(frozen=True)
class EpisodeOutcome:
    """How an episode ended; `failure_mode` is one of TaskOutcome.msg, `evidence` holds named SI numbers."""

    success: bool = False
    reward: float = 0.0
    failure_mode: str = "unknown"
    stage: str = ""
    evidence: dict[str, float] = field(default_factory=dict)
    stamp: float = 0.0


@dataclass
class Episode:
    """One episode as it was lived, on the control cycle's grid of instants.

    `series` holds arrays whose first axis is the sample (one a control cycle, from `start_sequence` up to the outcome):

    | column | shape | unit |
    |---|---|---|
    | stamp, sequence | (n,) | s, 1 |
    | joint_positions, joint_velocities, joint_torques, commanded_positions | (n, n_joints) | rad, rad/s, N m, rad |
    | ee_position, ee_orientation, ee_velocity | (n, 3), (n, 4) wxyz, (n, 6) | m, 1, m/s and rad/s |
    | wrench, contact_forces | (n, 6), (n, n_pads) | N and N m, N |
    | gripper_width, gripper_force, gripper_command | (n,) | m, N, -1 ... 1 |
    | object_poses | (n, n_objects, 7) | m, quaternion wxyz |
    | command_source | (n,) uint8 | CommandSource of the command that answered the sample; HOLD where none did |
    | command_positions | (n, n_joints) | rad, permitted absolute target |
    | command_altered | (n,) bool | the safety monitor changed the proposal |
    | action_ee_delta, action_gripper | (n, 6), (n,) | m and rad, -1 ... 1: what whoever drove meant, a policy step |
    | action_value, action_uncertainty | (n,) | of the policy's prediction, NaN where there is none |

    `pictures` holds what each camera saw, by name, in its own rhythm; readers of numbers alone leave it empty.
    """

    context: EpisodeContext
    outcome: EpisodeOutcome
    joint_names: tuple[str, ...]
    object_names: tuple[str, ...]
    series: dict[str, np.ndarray]
    lost_samples: int = 0
    complete: bool = True
    pictures: dict[str, Pictures] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.series["stamp"])

    @property
    def duration(self) -> float:
        """Time between the first and the last sample [s]."""
        stamps = self.series["stamp"]
        return float(stamps[-1] - stamps[0]) if len(stamps) > 1 else 0.0

    def state(self, index: int) -> RobotState:
        """The robot state at one sample."""
        row = {name: column[index] for name, column in self.series.items()}
        return RobotState(
            stamp=float(row["stamp"]),
            sequence=int(row["sequence"]),
            joint_names=self.joint_names,
            joint_positions=row["joint_positions"],
            joint_velocities=row["joint_velocities"],
            joint_torques=row["joint_torques"],
            commanded_positions=row["commanded_positions"],
            ee_position=row["ee_position"],
            ee_orientation=row["ee_orientation"],
            ee_velocity=row["ee_velocity"],
            wrench=row["wrench"],
            contact_forces=row["contact_forces"],
            gripper_width=float(row["gripper_width"]),
            gripper_force=float(row["gripper_force"]),
            gripper_command=float(row["gripper_command"]),
            object_poses=dict(zip(self.object_names, row["object_poses"], strict=True)),
        )
