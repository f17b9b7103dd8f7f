"""What a proposed action asks of the joints, or why it cannot be read."""

from __future__ import annotations

import math

import numpy as np

from physai_ros.robot.action import RobotAction


def joint_reference(action: RobotAction, joint_names: tuple[str, ...]) -> tuple[np.ndarray | None, str]:
    """Reference (n_joints,) [rad] in the order of `joint_names`, not judged for size; else None and a reason.

    Reasons: `proposal_malformed` (no numbers, or not one a joint), `proposal_joints` (of other joints),
    `proposal_not_finite` (the gripper's command).
    """
    try:
        given = np.asarray(action.reference_positions)
        reference = given.astype(float) if given.dtype.kind in "fiu" else None
        gripper = float(action.gripper_command)
    except (TypeError, ValueError):
        return None, "proposal_malformed"
    names = action.joint_names
    if reference is None or reference.shape != (len(names),):
        return None, "proposal_malformed"
    if names != joint_names:
        if len(names) != len(joint_names) or set(names) != set(joint_names):
            return None, "proposal_joints"
        reference = reference[[names.index(name) for name in joint_names]]
    return (reference, "") if math.isfinite(gripper) else (None, "proposal_not_finite")
