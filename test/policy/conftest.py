"""States of an arm at rest, and what a task might say of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import quaternion_wxyz
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState


@pytest.fixture(scope="session")
def features() -> Callable[[RobotState, np.ndarray], np.ndarray]:
    """What a task might say of a state."""

    def of(state: RobotState, goal: np.ndarray) -> np.ndarray:
        return np.concatenate([state.object_poses["cube"][:3] - state.ee_position, goal - state.ee_position])

    return of


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return RobotSpec.load("fr3_sim")


@pytest.fixture(scope="session")
def kinematics(spec: RobotSpec) -> Kinematics:
    return Kinematics(spec)


@pytest.fixture(scope="session")
def make_state(spec: RobotSpec, kinematics: Kinematics) -> Callable[..., RobotState]:
    """States of an arm that is where its set-point is; any field can be given."""

    def make(sequence: int = 0, positions: np.ndarray | None = None, **fields: object) -> RobotState:
        q = spec.home_positions.copy() if positions is None else positions
        pose = kinematics.tool_pose(q)
        values = {
            "stamp": 0.01 * sequence,
            "sequence": sequence,
            "joint_names": spec.joint_names,
            "joint_positions": q,
            "joint_velocities": np.zeros(7),
            "joint_torques": np.zeros(7),
            "commanded_positions": q,
            "ee_position": pose.position,
            "ee_orientation": quaternion_wxyz(pose.rotation),
            "ee_velocity": np.zeros(6),
            "wrench": np.zeros(6),
            "contact_forces": np.zeros(2),
            "gripper_width": 0.08,
            "gripper_force": 0.0,
            "gripper_command": 1.0,
            "object_poses": {"cube": np.array([0.5, 0.1, 0.02, 1.0, 0.0, 0.0, 0.0])},
        }
        return RobotState(**(values | fields))

    return make
