"""The arm in Gazebo, as the driver of the simulated arm takes it: measures, steps, resets."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pinocchio as pin
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec, RobotSpecError
from physai_ros.robot.state import DriverFault, DriverMode, DriverState, ObjectStates, RobotState
from physai_ros.ros.gazebo.client import (
    GazeboClient,
    GazeboSilentError,
    joint_values,
    pose_values,
    stamp_of,
    wrench_values,
)
from physai_ros.ros.gazebo.services import Control
from physai_ros.simulation.arm import robot_state
from physai_ros.simulation.gazebo.world import TIME_STEP
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario, Task

_HOME_SPEED = 0.5  # share of the velocity limits on the way to a start posture
_CYCLES = 5  # control cycles that one request takes on that way
_SETTLING = 2.0  # [s] of simulated time
_STANDS = (0.01, 0.05)  # [rad], [rad/s]
_PLACED = 0.005  # [m]
_SILENCE = 0.5  # [s] of wall time


class GazeboArm:
    """One arm and a task's objects in Gazebo, one control cycle at a time.

    In lock-step Gazebo stands still between cycles and takes the steps of one when `step` is called; paced, it runs by
    itself and `step` only sends the targets. A reset goes by steps in both: the arm is led to its start posture, then
    the objects are placed. Gazebo's time goes on over resets.
    """

    def __init__(
        self, spec: RobotSpec, task: Task, owner: Node, *, lock_step: bool, time_step: float = TIME_STEP
    ) -> None:
        """`time_step` [s] is the world's; raises GazeboSilentError where Gazebo does not answer."""
        self.spec = spec
        self.task = task
        self.kinematics = Kinematics(spec)
        self.sequence = 0
        self._lock_step = lock_step
        self._time_step = time_step
        self._cycle_steps = max(1, round(spec.control_period / time_step))
        self._client = GazeboClient(spec, task, owner)
        self._to_tool = hand_of(spec)[1].inverse().toDualActionMatrix()
        self._finger_axes = finger_axes(spec)
        self._commanded = spec.home_positions.copy()
        self._gripper_command = 1.0
        self._measured: tuple[DriverState, ObjectStates] | None = None
        self._client.control(Control(pause=True))
        self._align()

    @property
    def time(self) -> float:
        """Gazebo's time at the newest joint states [s]."""
        return self._client.stamp("gazebo/joint_states")

    def reset(self, scenario: Scenario, seed: int, physics: PhysicsParameters | None = None) -> None:
        """Lead the arm to the scenario's start posture, gripper open, and put the objects where they belong.

        `seed` is that of noise, which Gazebo's sensors draw by themselves.

        Raises:
            ValueError: the scenario lacks an object, asks for other physics than the world was made with, the arm or an
                object does not come to where it belongs, or Gazebo does not answer.
        """
        try:
            self._reset(scenario, physics)
        except GazeboSilentError as error:
            raise ValueError(str(error)) from error

    def _reset(self, scenario: Scenario, physics: PhysicsParameters | None) -> None:
        if physics is not None and physics != PhysicsParameters():
            raise ValueError(
                "a running Gazebo world keeps its physics; make one with `physai world --physics NAME=VALUE`"
            )
        missing = sorted({item.name for item in self.task.objects} - set(scenario.object_poses))
        if missing:
            raise ValueError(f"the scenario has no pose for '{missing[0]}', which task {self.task.name} needs")
        home = self.spec.home_positions if scenario.home_positions is None else np.asarray(scenario.home_positions)
        if not self._lock_step:
            self._align()
        self._go_to(home)
        for item in self.task.objects:
            self._client.place(item.name, np.asarray(scenario.object_poses[item.name], dtype=float))
        self._take_steps(_CYCLES * self._cycle_steps)
        self.sequence += 1
        self._measured = None
        states = self.object_states()
        for name, position in zip(states.names, states.positions, strict=True):
            away = float(np.linalg.norm(position[:2] - np.asarray(scenario.object_poses[name])[:2]))
            if away > _PLACED:
                raise ValueError(f"'{name}' lies {away:.3f} m from where it was put; is something in its way?")
        if not self._lock_step:
            self._client.control(Control(pause=False))

    def step(self, positions: np.ndarray, gripper_command: float) -> None:
        """Send joint targets (n_joints,) [rad] and a gripper command in -1 ... 1; in lock-step, go on one cycle."""
        self._commanded = np.array(positions, dtype=float)
        self._gripper_command = float(min(max(gripper_command, -1.0), 1.0))
        self._send()
        if self._lock_step:
            self._take_steps(self._cycle_steps)
        self.sequence += 1
        self._measured = None

    def driver_state(self) -> DriverState:
        """What joint states and force sensors measure; LINK_LOST where they stopped coming."""
        return self._measure()[0]

    def object_states(self) -> ObjectStates:
        """The objects as Gazebo has them."""
        return self._measure()[1]

    def task_state(self) -> RobotState:
        """Arm and objects, for the task's test, the expert and the operator."""
        return robot_state(self.kinematics, *self._measure())

    def render(self, camera: str, height: int, width: int) -> np.ndarray:
        """Refuse: pictures come from Gazebo's own camera, over the bridge."""
        raise ValueError("Gazebo publishes its pictures itself; set camera_rate to 0")

    def close(self) -> None:
        """Stop listening; Gazebo goes on as it is."""
        self._client.close()

    def _send(self) -> None:
        opening = 0.5 * (self._gripper_command + 1.0) * self.spec.gripper.max_width / len(self.spec.gripper.joints)
        targets = dict(zip(self.spec.joint_names, self._commanded, strict=True))
        targets |= dict.fromkeys(self.spec.gripper.joints, opening)
        self._client.command(targets)

    def _take_steps(self, steps: int) -> None:
        due = self.time + steps * self._time_step
        self._client.control(Control(pause=True, multi_step=steps))
        self._client.wait_until(due, self.spec.control_period)

    def _align(self) -> None:
        """Pause, and bring Gazebo's time to a whole number of control cycles, at which its sensors measure."""
        one_cycle = Control(pause=True, multi_step=self._cycle_steps)
        self._client.control(one_cycle)
        self._client.wait(lambda: np.isfinite(self.time), "publish joint states")
        # What still comes of the time before the pause must not be taken for the newest.
        settled = False
        while not settled:
            before = self.time
            self._client.control(one_cycle)
            self._client.wait(lambda: self.time > before, "take a step")  # noqa: B023 - waited for here
            settled = self.time <= before + 1.5 * self.spec.control_period
        steps = round(self.time / self._time_step)
        self._take_steps(self._cycle_steps + -steps % self._cycle_steps)

    def _go_to(self, home: np.ndarray) -> None:
        way = home - self._joints()[0]
        most = _HOME_SPEED * self.spec.velocity_limits * self.spec.control_period
        cycles = int(np.ceil((np.abs(way) / most).max()))
        self._gripper_command = 1.0
        patience = cycles + round(_SETTLING / self.spec.control_period)
        for cycle in range(_CYCLES, patience + _CYCLES, _CYCLES):
            self._commanded = home - way * max(0.0, 1.0 - cycle / max(cycles, 1))
            self._send()
            self._take_steps(_CYCLES * self._cycle_steps)
            positions, velocities, _ = self._joints()
            if cycle >= cycles and self._stands(positions - home, velocities):
                return
        worst = int(np.abs(self._joints()[0] - home).argmax())
        raise ValueError(f"{self.spec.joint_names[worst]} did not reach its start posture; is something in its way?")

    def _stands(self, away: np.ndarray, velocities: np.ndarray) -> bool:
        open_wide = self._width() > 0.95 * self.spec.gripper.max_width
        return open_wide and np.abs(away).max() < _STANDS[0] and np.abs(velocities).max() < _STANDS[1]

    def _joints(self) -> np.ndarray:
        return joint_values(self._client.newest("gazebo/joint_states", JointState), self.spec.joint_names)

    def _width(self) -> float:
        message = self._client.newest("gazebo/joint_states", JointState)
        return float(joint_values(message, self.spec.gripper.joints)[0].sum())

    def _measure(self) -> tuple[DriverState, ObjectStates]:
        if self._measured is None:
            self._measured = self._driver_state(), self._object_states()
        return self._measured

    def _driver_state(self) -> DriverState:
        spec, client = self.spec, self._client
        message = client.newest("gazebo/joint_states", JointState)
        positions, velocities, torques = joint_values(message, spec.joint_names)
        pads = np.array([self._pressed(name) for name in spec.gripper.joints])
        silent = not self._lock_step and client.silence > _SILENCE
        return DriverState(
            stamp=stamp_of(message),
            sequence=self.sequence,
            joint_names=spec.joint_names,
            joint_positions=positions,
            joint_velocities=velocities,
            joint_torques=torques,
            commanded_positions=self._commanded.copy(),
            wrench=self._to_tool @ wrench_values(client.newest("gazebo/wrist", WrenchStamped)),
            wrench_valid=True,
            contact_forces=pads,
            gripper_width=float(joint_values(message, spec.gripper.joints)[0].sum()),
            gripper_force=float(pads.mean()),
            gripper_command=self._gripper_command,
            mode=DriverMode.ACTIVE,
            fault=DriverFault.LINK_LOST if silent else DriverFault.NONE,
            fault_text=f"no joint states from Gazebo for {client.silence:.2f} s" if silent else "",
            enforced_position_lower=spec.position_lower,
            enforced_position_upper=spec.position_upper,
            enforced_velocity=spec.velocity_limits,
            enforced_effort=spec.effort_limits,
            command_timeout=spec.command_timeout,
        )

    def _pressed(self, finger: str) -> float:
        """Force that opens a finger [N]: a pad is pressed from inside."""
        wrench = wrench_values(self._client.newest(f"gazebo/{finger}/wrench", WrenchStamped))
        return max(float(wrench[:3] @ self._finger_axes[finger]), 0.0)

    def _object_states(self) -> ObjectStates:
        names = tuple(item.name for item in self.task.objects)
        poses = [pose_values(self._client.newest(f"gazebo/{name}/pose", PoseStamped)) for name in names]
        array = np.array(poses).reshape(len(names), 7)
        return ObjectStates(self.time, self.sequence, names, array[:, :3], array[:, 3:])


def hand_of(spec: RobotSpec) -> tuple[str, pin.SE3]:
    """Link that the tool frame is fixed to, where the wrist's sensor measures, and the tool's pose in it."""
    for joint in ElementTree.parse(spec.urdf_path).getroot().findall("joint"):
        if joint.find("child").get("link") == spec.tool_frame:
            origin = joint.find("origin")
            given = {} if origin is None else origin.attrib
            xyz, rpy = (np.array(given.get(key, "0 0 0").split(), dtype=float) for key in ("xyz", "rpy"))
            return joint.find("parent").get("link"), pin.SE3(pin.rpy.rpyToMatrix(*rpy), xyz)
    raise RobotSpecError(f"{spec.urdf_path}: no joint leads to '{spec.tool_frame}'; correct tool_frame")


def finger_axes(spec: RobotSpec) -> dict[str, np.ndarray]:
    """Axis (3,) of each finger's joint in the finger's frame, along which it opens."""
    joints = {joint.get("name"): joint for joint in ElementTree.parse(spec.urdf_path).getroot().findall("joint")}
    return {name: np.array(joints[name].find("axis").get("xyz").split(), dtype=float) for name in spec.gripper.joints}
