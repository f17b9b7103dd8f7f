"""Forward and differential kinematics of an arm by pinocchio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pinocchio as pin

from physai_ros.robot.spec import RobotSpec, RobotSpecError


class ToolPose(NamedTuple):
    """Pose of the tool frame in the base frame: `position` (3,) [m] and `rotation` (3, 3), tool to base."""

    position: np.ndarray
    rotation: np.ndarray


class Kinematics:
    """Kinematics of the arm's joints; the fingers are held still.

    Not safe to share between threads: pinocchio's data are reused between calls.
    """

    def __init__(self, spec: RobotSpec) -> None:
        full = pin.buildModelFromUrdf(str(spec.urdf_path))
        held = [full.getJointId(name) for name in full.names[1:] if name not in spec.joint_names]
        self.spec = spec
        self._model = pin.buildReducedModel(full, held, pin.neutral(full))
        order = tuple(self._model.names[1:])
        if order != spec.joint_names:
            raise RobotSpecError(f"{spec.urdf_path}: joints in the tree are {order}, expected {spec.joint_names}")
        if not self._model.existFrame(spec.tool_frame):
            raise RobotSpecError(f"{spec.urdf_path}: there is no link '{spec.tool_frame}'; correct tool_frame")
        self._frame = self._model.getFrameId(spec.tool_frame)
        self._data = self._model.createData()
        # Windows on what pinocchio computes: fetching them anew costs more than the kinematics.
        tool = self._data.oMf[self._frame]
        self._position, self._rotation = tool.translation, tool.rotation
        self._links = [self._data.oMi[i].translation for i in range(1, self._model.njoints)] + [self._position]

    @property
    def model(self) -> pin.Model:
        """Pinocchio's model of the arm, fingers held closed."""
        return self._model

    def tool_pose(self, joint_positions: np.ndarray) -> ToolPose:
        """Pose of the tool at `joint_positions` (n_joints,) [rad]."""
        self._place(joint_positions)
        return ToolPose(self._position.copy(), self._rotation.copy())

    def jacobian(self, joint_positions: np.ndarray) -> np.ndarray:
        """Jacobian (6, n_joints) of the tool, linear then angular, expressed in the base frame."""
        return pin.computeFrameJacobian(
            self._model, self._data, joint_positions, self._frame, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )

    def tool_pose_and_jacobian(self, joint_positions: np.ndarray) -> tuple[ToolPose, np.ndarray]:
        """What `tool_pose` and `jacobian` give, for the price of one."""
        jacobian = self.jacobian(joint_positions)
        # The tool is placed on the way to its Jacobian.
        return ToolPose(self._position.copy(), self._rotation.copy()), jacobian

    def link_positions(self, joint_positions: np.ndarray) -> np.ndarray:
        """Origins (n_joints + 1, 3) [m] of every joint and of the tool, in the base frame."""
        self._place(joint_positions)
        return np.array(self._links)

    def gravity_torques(self, joint_positions: np.ndarray) -> np.ndarray:
        """Torques (n_joints,) [N m] that hold the arm against gravity."""
        return pin.computeGeneralizedGravity(self._model, self._data, joint_positions).copy()

    def step_towards(
        self, joint_positions: np.ndarray, target_to_base: ToolPose, *, damping: float = 0.02, gain: float = 1.0
    ) -> np.ndarray:
        """Joint positions (n_joints,) [rad] one damped least-squares step nearer to a tool pose.

        The null space leans towards the home posture, so that the elbow does not drift. Result lies inside the position
        limits. Source: Buss, "Introduction to inverse kinematics with Jacobian transpose, pseudoinverse and damped
        least squares methods", 2009.
        """
        pose, jacobian = self.tool_pose_and_jacobian(joint_positions)
        error = np.concatenate(
            [target_to_base.position - pose.position, pin.log3(target_to_base.rotation @ pose.rotation.T)]
        )
        gram = jacobian @ jacobian.T
        gram.flat[::7] += damping**2
        posture = 0.02 * (self.spec.home_positions - joint_positions)
        # One solve for both terms: J^T G^-1 (gain e - J p) + p.
        step = posture + jacobian.T @ np.linalg.solve(gram, gain * error - jacobian @ posture)
        return np.minimum(np.maximum(joint_positions + step, self.spec.position_lower), self.spec.position_upper)

    def _place(self, joint_positions: np.ndarray) -> None:
        """Place every joint and the tool, but none of the URDF's other frames."""
        pin.forwardKinematics(self._model, self._data, joint_positions)
        pin.updateFramePlacement(self._model, self._data, self._frame)
