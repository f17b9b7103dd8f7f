"""What a policy makes of start states that nobody has run: a prediction each, no rollout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physai_ros.curriculum.selector import StartJudgement
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.runtime import ActingPolicy
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import quaternion_wxyz
from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Scenario, Task


class StartJudge:
    """Asks a policy about the first state of scenarios: arm at rest at home, gripper open, objects where they start."""

    def __init__(self, kinematics: Kinematics, task: Task) -> None:
        self._kinematics = kinematics
        self._task = task
        self._encoder = ObservationEncoder(kinematics, task.features, task.action_axes, task.action_scale)

    def judge(self, policy: ActingPolicy, parameters: Sequence[dict[str, float]]) -> StartJudgement:
        """Value and uncertainty of `policy` at the start of the scenarios of these parameters."""
        predictions = []
        for numbers in parameters:
            scenario = self._task.scenario(numbers)
            self._encoder.reset()
            observation = self._encoder.encode(self._start(scenario), np.array(scenario.goal))
            predictions.append(policy.predict(observation))
        values, uncertainties = zip(*((one.value, one.uncertainty) for one in predictions), strict=True)
        return StartJudgement(np.array(values), np.array(uncertainties))

    def _start(self, scenario: Scenario) -> RobotState:
        spec = self._kinematics.spec
        home = spec.home_positions if scenario.home_positions is None else np.array(scenario.home_positions)
        pose = self._kinematics.tool_pose(home)
        at_rest = np.zeros_like(home)
        return RobotState(
            stamp=0.0,
            sequence=0,
            joint_names=spec.joint_names,
            joint_positions=home,
            joint_velocities=at_rest,
            joint_torques=at_rest,
            commanded_positions=home,
            ee_position=pose.position,
            ee_orientation=quaternion_wxyz(pose.rotation),
            ee_velocity=np.zeros(6),
            wrench=np.zeros(6),
            contact_forces=np.zeros(2),
            gripper_width=spec.gripper.max_width,
            gripper_force=0.0,
            gripper_command=1.0,
            object_poses={name: np.array(pose) for name, pose in scenario.object_poses.items()},
        )
