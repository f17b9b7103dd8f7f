"""How far the arm's links are from each other, measured by MuJoCo on the URDF's own shapes."""

from __future__ import annotations

from collections.abc import Collection

import mujoco
import numpy as np

from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.model import build_model


class LinkDistances:
    """Least distance of two links with a link between them; a judge that shares nothing with the safety room."""

    def __init__(self, spec: RobotSpec, unwatched: Collection[frozenset[str]], *, horizon: float = 0.05) -> None:
        """Pairs of links in `unwatched` are left out; nothing further than `horizon` [m] is measured."""
        self._model = build_model(spec, ())
        self._data = mujoco.MjData(self._model)
        self._joints = np.array([self._model.joint(name).qposadr[0] for name in spec.joint_names])
        self._fingers = np.array([self._model.joint(name).qposadr[0] for name in spec.gripper.joints])
        self._horizon = horizon
        model = self._model
        moving = {int(model.joint(name).bodyid[0]) for name in spec.joint_names}
        order = np.zeros(model.nbody, dtype=int)
        for body in range(1, model.nbody):
            order[body] = order[model.body_parentid[body]] + (body in moving)
        arm = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] != 0]
        self._pairs = []
        for place, one in enumerate(arm):
            for other in arm[place + 1 :]:
                bodies = model.geom_bodyid[one], model.geom_bodyid[other]
                names = frozenset(model.body(body).name for body in bodies)
                if abs(order[bodies[0]] - order[bodies[1]]) >= 2 and names not in unwatched:
                    self._pairs.append((one, other))

    def least(self, joint_positions: np.ndarray, gripper_width: float) -> float:
        """Least distance [m] at `joint_positions` (n_joints,) [rad] and an opening [m]; below zero links overlap."""
        self._data.qpos[self._joints] = joint_positions
        self._data.qpos[self._fingers] = gripper_width / len(self._fingers)
        mujoco.mj_kinematics(self._model, self._data)
        measure, model, data = mujoco.mj_geomDistance, self._model, self._data
        return min(measure(model, data, one, other, self._horizon, None) for one, other in self._pairs)
