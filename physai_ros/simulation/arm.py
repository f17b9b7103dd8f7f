"""The simulated arm: measures like a driver, moves like an arm, one control cycle at a time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import mujoco
import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import quaternion_wxyz
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState, ObjectStates, RobotState
from physai_ros.simulation.applied_physics import AppliedPhysics
from physai_ros.simulation.camera import Camera
from physai_ros.simulation.model import GOAL_MARK, build_model
from physai_ros.simulation.noise import MeasurementNoise
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario, Task

GRIPPER_SPEED = 0.2  # [m/s] of the opening between the pads


class Contact(NamedTuple):
    """Two things that touch, by link or object name (`table` for the table), and their normal `force` [N]."""

    first: str
    second: str
    force: float


class SimulatedArm:
    """One arm on a table in MuJoCo. Its base frame is the world; the table's top lies at z = 0.

    Time and sequence go on over resets. Measurements depend on the seed of the last reset and on the cycles since then
    alone, and asking twice gives the same measurement.
    """

    def __init__(self, spec: RobotSpec, task: Task, physics: PhysicsParameters | None = None, seed: int = 0) -> None:
        self.spec = spec
        self.task = task
        self.kinematics = Kinematics(spec)
        self.model = build_model(spec, task.objects)
        self._data = mujoco.MjData(self.model)
        self._index()
        self._applied = AppliedPhysics(self.model, spec, self._object_names)
        self._noise = self._make_noise()
        self._cameras: dict[tuple[int, int], Camera] = {}
        self.sequence = -1
        self.set_physics(physics or PhysicsParameters())
        self.reset(task.sample_scenario(np.random.default_rng(seed)), seed)

    @property
    def time(self) -> float:
        """Simulated time of the current instant [s]; it never runs backwards."""
        return self.sequence * self.spec.control_period

    @property
    def physics(self) -> PhysicsParameters:
        """The physics in force."""
        return self._physics

    @property
    def finger_axis(self) -> np.ndarray:
        """Direction (3,) in which the fingers open and close, in the tool's frame."""
        data = self._data
        in_base = data.xmat[self._fingers[0]].reshape(3, 3) @ self._finger_axes[0]
        return data.xmat[self._tool].reshape(3, 3).T @ in_base

    def set_physics(self, physics: PhysicsParameters) -> None:
        """Change the physics now; `reset` does it between episodes."""
        self._physics = physics
        self._applied.apply(physics)

    def reset(self, scenario: Scenario, seed: int, physics: PhysicsParameters | None = None) -> None:
        """Put the world into a scenario's start state: arm at rest at its home posture, gripper open.

        Raises:
            ValueError: the scenario lacks one of the task's objects, or its home posture has a wrong size.
        """
        if physics is not None and physics != self._physics:
            self.set_physics(physics)
        home = self.spec.home_positions if scenario.home_positions is None else np.asarray(scenario.home_positions)
        if home.shape != self.spec.home_positions.shape:
            raise ValueError(
                f"the scenario's home_positions has {home.size} numbers; expected {self.spec.home_positions.size}"
            )
        missing = sorted({item.name for item in self.task.objects} - set(scenario.object_poses))
        if missing:
            raise ValueError(
                f"the scenario has no pose for '{missing[0]}'; task {self.task.name} needs: "
                f"{', '.join(item.name for item in self.task.objects)}"
            )
        mujoco.mj_resetData(self.model, self._data)
        self._place(home, self.spec.gripper.max_width, scenario.object_poses)
        # A goal of three or more numbers starts with a position; any other is not drawn.
        goal = self._physics.true_goal(scenario.goal) if len(scenario.goal) >= 3 else (0.0, 0.0, -1.0)
        self.model.site_pos[self._goal_mark] = goal[:3]
        self._commanded = np.array(home, dtype=float)
        self._driven = self._commanded
        self._gripper_command = 1.0
        self._gripper_target = self._gripper_width = self.spec.gripper.max_width
        self._pending: deque[tuple[int, np.ndarray, float]] = deque()
        self._data.ctrl[self._motors] = home
        self._data.ctrl[self._gripper_motor] = 0.5 * self._gripper_width
        mujoco.mj_forward(self.model, self._data)
        mujoco.mj_rnePostConstraint(self.model, self._data)
        self._noise.reset(seed)
        self._seed = seed
        self._cycle = 0
        self._measured: tuple[DriverState, ObjectStates] | None = None
        self._truth: tuple[DriverState, ObjectStates] | None = None
        self._true_state: RobotState | None = None
        self.sequence += 1

    def step(self, positions: np.ndarray, gripper_command: float) -> None:
        """Advance one control cycle towards joint set-points (n_joints,) [rad] and a gripper command in -1 ... 1.

        Raises:
            ValueError: a command has the wrong size or is not finite.
        """
        positions = np.array(positions, dtype=float)
        if positions.shape != self._commanded.shape or not np.isfinite(positions.sum() + gripper_command):
            raise ValueError(
                f"command {positions.tolist()}, gripper {gripper_command}; expected {self._commanded.size} finite "
                "joint positions and a finite gripper command"
            )
        self._commanded = positions
        self._gripper_command = float(min(max(gripper_command, -1.0), 1.0))
        start = self._cycle * self._applied.substeps
        delay = round(self._delay() / self.model.opt.timestep)
        self._pending.append((start + delay, positions, self._gripper_command))
        now, end = start, start + self._applied.substeps
        while now < end:
            while self._pending and self._pending[0][0] <= now:
                _, target, grip = self._pending.popleft()
                # With play the joint follows only once the motor has come through it.
                play = 0.5 * self._physics.backlash
                self._driven = np.clip(self._driven, target - play, target + play)
                self._gripper_target = 0.5 * (grip + 1.0) * self.spec.gripper.max_width
            # As a drive does, a servo limits the speed at which it returns from afar, wherever it was pushed.
            at = self._data.qpos[self._positions]
            self._data.ctrl[self._motors] = np.clip(self._driven, at - self._servo_reach, at + self._servo_reach)
            until = min(end, self._pending[0][0]) if self._pending else end
            self._ramp_gripper((until - now) * self.model.opt.timestep)
            mujoco.mj_step(self.model, self._data, until - now)
            now = until
        mujoco.mj_rnePostConstraint(self.model, self._data)
        self._cycle += 1
        self.sequence += 1
        self._measured = None

    def driver_state(self) -> DriverState:
        """What the driver measures at this instant, noise included."""
        return self._measure()[0]

    def object_states(self) -> ObjectStates:
        """The objects as perception reports them: calibration offsets and noise included."""
        return self._measure()[1]

    def true_object_states(self) -> ObjectStates:
        """The objects as they are."""
        poses = [self._object_pose(name) for name in self._object_names]
        array = np.array(poses).reshape(len(poses), 7)
        return ObjectStates(self.time, self.sequence, self._object_names, array[:, :3].copy(), array[:, 3:].copy())

    def true_driver_state(self) -> DriverState:
        """The arm as it is: `driver_state` without noise."""
        data = self._data
        wrench, pads = self._external_forces()
        width = float(data.qpos[self._finger_positions].sum())
        return DriverState(
            stamp=self.time,
            sequence=self.sequence,
            joint_names=self.spec.joint_names,
            joint_positions=data.qpos[self._positions].copy(),
            joint_velocities=data.qvel[self._dofs].copy(),
            joint_torques=data.qfrc_actuator[self._dofs] + data.qfrc_gravcomp[self._dofs],
            commanded_positions=self._commanded.copy(),
            wrench=wrench,
            wrench_valid=True,
            contact_forces=pads,
            gripper_width=width,
            gripper_force=float(pads.sum() / len(pads)),
            gripper_command=self._gripper_command,
            mode=DriverMode.ACTIVE,
            enforced_position_lower=self.spec.position_lower,
            enforced_position_upper=self.spec.position_upper,
            enforced_velocity=self.spec.velocity_limits,
            enforced_effort=self.spec.effort_limits,
            command_timeout=self.spec.command_timeout,
        )

    def task_state(self) -> RobotState:
        """The true state of arm and objects, for the task's test, the expert and the operator."""
        if self._true_state is None or self._true_state.sequence != self.sequence:
            self._true_state = robot_state(self.kinematics, *self._true_states())
        return self._true_state

    def perceived_state(self) -> RobotState:
        """Arm and objects as measured at this instant, aligned without any filter."""
        return robot_state(self.kinematics, *self._measure())

    def contacts(self) -> list[Contact]:
        """Everything that touches at the end of the last cycle, table and objects included."""
        model, data, force, found = self.model, self._data, np.zeros(6), []
        for index in range(data.ncon):
            contact = data.contact[index]
            mujoco.mj_contactForce(model, data, index, force)
            found.append(Contact(self._geom_owner(contact.geom1), self._geom_owner(contact.geom2), float(force[0])))
        return found

    def render(self, camera: str = "scene", height: int = 240, width: int = 320) -> np.ndarray:
        """Picture (height, width, 3) uint8 RGB from the camera `scene` or `wrist`.

        Raises:
            RenderingError: there is no OpenGL here, or no such camera.
        """
        size = (height, width)
        if size not in self._cameras:
            self._cameras[size] = Camera(self.model, height, width)
        picture = self._cameras[size].render(self._data, camera)
        if not self._physics.camera_noise:
            return picture
        noise = 255.0 * self._physics.camera_noise * self._pixel_noise((height, width, 3))
        return np.clip(picture + noise, 0.0, 255.0).astype(np.uint8)

    def depth(self, camera: str = "scene", height: int = 240, width: int = 320) -> np.ndarray:
        """Distances (height, width) [m] along a camera's axis, noise included.

        Raises:
            RenderingError: as `render`.
        """
        size = (height, width)
        if size not in self._cameras:
            self._cameras[size] = Camera(self.model, height, width)
        return self._cameras[size].depth(self._data, camera) + self._physics.depth_noise * self._pixel_noise(size)

    def place_object(self, name: str, pose: np.ndarray) -> None:
        """Put one object at `pose` (7,): position [m] and quaternion wxyz, at rest.

        Raises:
            ValueError: the task has no such object.
        """
        if name not in self._object_places:
            raise ValueError(f"no object '{name}'; there are: {', '.join(self._object_places) or 'none'}")
        address, mocap = self._object_places[name]
        if mocap < 0:
            self._data.qpos[address : address + 7] = pose
            dof = self.model.joint(name).dofadr[0]
            self._data.qvel[dof : dof + 6] = 0.0
        else:
            self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = pose[:3], pose[3:]
        self._measured = self._truth = self._true_state = None

    def push(self, force: tuple[float, float, float]) -> None:
        """Push the hand with a force (3,) [N] in the base frame until told otherwise; a reset ends it."""
        self._data.xfrc_applied[self.model.body_parentid[self._tool], :3] = force

    def snapshot(self) -> np.ndarray:
        """Positions of everything, for `restore`."""
        return self._data.qpos.copy()

    def restore(self, snapshot: np.ndarray) -> None:
        """Show what `snapshot` saw, at rest; for pictures, not to go on from."""
        self._data.qpos[:] = snapshot
        self._data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self._data)

    def show(self, state: RobotState) -> None:
        """Put arm and objects where a recorded state has them; for pictures, not to go on from."""
        self._place(state.joint_positions, float(state.gripper_width), state.object_poses)
        self._data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self._data)

    def close(self) -> None:
        """Release the cameras."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras.clear()

    def _index(self) -> None:
        model, spec = self.model, self.spec
        joints = [model.joint(name) for name in spec.joint_names]
        fingers = [model.joint(name) for name in spec.gripper.joints]
        self._positions = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._motors = np.array([model.actuator(name).id for name in spec.joint_names])
        # A damped servo that is this far from its set-point moves at the joint's speed, and a tenth above it.
        stiffness, damping = model.actuator_gainprm[self._motors, 0], -model.actuator_biasprm[self._motors, 2]
        self._servo_reach = 1.1 * spec.velocity_limits * damping / stiffness
        self._gripper_motor = model.actuator("gripper").id
        self._finger_positions = np.array([joint.qposadr[0] for joint in fingers])
        self._fingers = np.array([joint.bodyid[0] for joint in fingers])
        self._finger_axes = np.array([joint.axis for joint in fingers])
        self._goal_mark = model.site(GOAL_MARK).id
        self._tool = model.body(spec.tool_frame).id
        hand = model.body_parentid[self._tool]
        self._hand_bodies = np.array([i for i in range(model.nbody) if _descends(model, i, hand)])
        self._object_names = tuple(item.name for item in self.task.objects)
        self._object_places = {
            item.name: (
                -1 if item.fixed else int(model.joint(item.name).qposadr[0]),
                int(model.body(item.name).mocapid[0]),
            )
            for item in self.task.objects
        }

    def _place(self, joints: np.ndarray, width: float, poses: dict[str, tuple[float, ...] | np.ndarray]) -> None:
        data = self._data
        data.qpos[self._positions] = joints
        data.qpos[self._finger_positions] = width / len(self._fingers)
        for item in self.task.objects:
            pose = np.asarray(poses[item.name], dtype=float)
            address, mocap = self._object_places[item.name]
            if mocap < 0:
                data.qpos[address : address + 7] = pose
            else:
                data.mocap_pos[mocap], data.mocap_quat[mocap] = pose[:3], pose[3:]

    def _ramp_gripper(self, duration: float) -> None:
        width = float(self._data.qpos[self._finger_positions].sum())
        self._gripper_width = max(self._gripper_width, width - self._applied.deepest)
        reach = GRIPPER_SPEED * duration
        self._gripper_width += min(max(self._gripper_target - self._gripper_width, -reach), reach)
        self._data.ctrl[self._gripper_motor] = self._gripper_width / len(self._fingers)

    def _external_forces(self) -> tuple[np.ndarray, np.ndarray]:
        """What the world does to the hand: wrench (6,) in the tool frame, normal force (n_pads,) on each pad."""
        data = self._data
        external = data.cfrc_ext[self._hand_bodies].sum(axis=0)
        force = external[3:]
        origin = data.subtree_com[self.model.body_rootid[self._tool]]
        lever = origin - data.xpos[self._tool]
        torque = external[:3] + np.array(
            [
                lever[1] * force[2] - lever[2] * force[1],
                lever[2] * force[0] - lever[0] * force[2],
                lever[0] * force[1] - lever[1] * force[0],
            ]
        )
        to_tool = data.xmat[self._tool].reshape(3, 3).T
        wrench = np.concatenate([to_tool @ force, to_tool @ torque])
        # A pad is pressed from inside when its contact pushes the finger open, along its joint's axis.
        finger_to_base = data.xmat[self._fingers].reshape(-1, 3, 3)
        pressed = np.einsum("fi,fij,fj->f", data.cfrc_ext[self._fingers, 3:], finger_to_base, self._finger_axes)
        return wrench, np.maximum(pressed, 0.0)

    def _measure(self) -> tuple[DriverState, ObjectStates]:
        if self._measured is None:
            driver, objects = self._true_states()
            self._measured = self._noise.measured(driver, objects, self._physics, self._cycle)
        return self._measured

    def _true_states(self) -> tuple[DriverState, ObjectStates]:
        """Arm and objects as they are, read off once an instant."""
        if self._truth is None or self._truth[0].sequence != self.sequence:
            self._truth = self.true_driver_state(), self.true_object_states()
        return self._truth

    def _make_noise(self) -> MeasurementNoise:
        return MeasurementNoise(len(self.spec.joint_names), len(self._fingers), len(self._object_names))

    def _delay(self) -> float:
        """Time from the command of this cycle to the motors [s]."""
        return self._physics.actuator_delay

    def _pixel_noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal numbers of this shape, of this seed and cycle."""
        return np.random.default_rng([self._seed, self._cycle, 0xCA]).standard_normal(shape, dtype=np.float32)

    def _object_pose(self, name: str) -> np.ndarray:
        address, mocap = self._object_places[name]
        if mocap < 0:
            return self._data.qpos[address : address + 7]
        return np.concatenate([self._data.mocap_pos[mocap], self._data.mocap_quat[mocap]])

    def _geom_owner(self, geom: int) -> str:
        name = self.model.geom(geom).name
        return name or self.model.body(self.model.geom_bodyid[geom]).name


def robot_state(kinematics: Kinematics, driver: DriverState, objects: ObjectStates) -> RobotState:
    """Arm and objects of one instant as one state, aligned without any filter."""
    pose, jacobian = kinematics.tool_pose_and_jacobian(driver.joint_positions)
    return RobotState(
        stamp=driver.stamp,
        sequence=driver.sequence,
        joint_names=driver.joint_names,
        joint_positions=driver.joint_positions,
        joint_velocities=driver.joint_velocities,
        joint_torques=driver.joint_torques,
        commanded_positions=driver.commanded_positions,
        ee_position=pose.position,
        ee_orientation=quaternion_wxyz(pose.rotation),
        ee_velocity=jacobian @ driver.joint_velocities,
        wrench=driver.wrench,
        contact_forces=driver.contact_forces,
        gripper_width=driver.gripper_width,
        gripper_force=driver.gripper_force,
        gripper_command=driver.gripper_command,
        object_poses={
            name: np.concatenate([position, quaternion])
            for name, position, quaternion in zip(
                objects.names, objects.positions, objects.quaternions_wxyz, strict=True
            )
        },
    )


def _descends(model: mujoco.MjModel, body: int, ancestor: int) -> bool:
    while body not in (0, ancestor):
        body = model.body_parentid[body]
    return body == ancestor
