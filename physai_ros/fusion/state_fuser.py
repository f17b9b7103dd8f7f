"""One aligned state from what the driver and perception report, with the validity and age of every modality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physai_ros.fusion.joint_sources import NO_JOINTS, JointSources, MergedJoints
from physai_ros.fusion.plausibility import JointPlausibility, opening_reason, position_reason
from physai_ros.fusion.tactile import TactilePads
from physai_ros.fusion.wrist import WristSensor
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import quaternion_wxyz
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, Modality, ObjectStates, RobotState

CLOCK_TOLERANCE = 0.05
"""How far a stamp may lie ahead of the instant of fusion [s] before its clock is not believed."""


class StateFuser:
    """Fuses one state for every joint sample.

    A modality that cannot be used keeps its last good values, NaN where there were none, and says why. Joints are
    looked up by name, so that their order in a message does not matter. Of two that name a joint the driver counts,
    then the sources in their order; a joint of the arm that the driver lacks is taken to be commanded to where it is.
    Instants are seconds on one clock; a driver whose sequence falls has restarted, and what was remembered of it is
    forgotten.
    """

    def __init__(
        self,
        spec: RobotSpec,
        kinematics: Kinematics,
        required_objects: Sequence[str] = (),
        *,
        joint_timeout: float = 0.05,
        object_timeout: float = 0.25,
    ) -> None:
        self.required_objects = tuple(required_objects)
        self._spec = spec
        self._kinematics = kinematics
        self._joint_timeout = joint_timeout
        self._object_timeout = object_timeout
        self._plausibility = JointPlausibility(spec)
        self._order_of: dict[tuple[str, ...], tuple[np.ndarray, dict[str, int]]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget every value and stamp that was seen."""
        count = len(self._spec.joint_names)
        self._sequence = -1
        self._stamp = -np.inf
        self._plausibility.reset()
        # Positions, velocities, torques and set-point, one row each.
        self._joints = np.full((4, count), np.nan)
        self._driver_further: dict[str, np.ndarray] = {}
        self._wrench = np.full(6, np.nan)
        self._contacts = np.zeros(0)
        self._gripper = np.full(3, np.nan)
        self._objects = {name: np.full(7, np.nan) for name in self.required_objects}

    def fuse(
        self,
        driver_state: DriverState,
        objects: ObjectStates | None,
        now: float,
        wrist: WristSensor | None = None,
        *,
        sources: JointSources | None = None,
        tactile: TactilePads | None = None,
    ) -> RobotState:
        """State at the instant of the joint sample, judged at `now` [s].

        `wrist` is a force sensor of its own and `tactile` such pads; None: what the driver says of either. `sources`
        report joints beside the driver's.
        """
        if driver_state.sequence < self._sequence:
            self.reset()
        age = now - driver_state.stamp
        merged = NO_JOINTS if sources is None else sources.reading(driver_state.stamp)
        joints = self._fuse_joints(driver_state, age, merged)
        self._sequence = driver_state.sequence
        # A jump back is refused once and then lived with; a stamp that is not of our time is no measure for the next.
        if not _age_reason(age, self._joint_timeout):
            self._stamp = driver_state.stamp
        positions, velocities, torques, commanded = self._joints.copy()
        rotation = np.full((3, 3), np.nan)
        if np.isfinite(positions).all():
            pose, jacobian = self._kinematics.tool_pose_and_jacobian(positions)
            position, rotation, orientation = pose.position, pose.rotation, quaternion_wxyz(pose.rotation)
            velocity = jacobian @ velocities
        else:
            position, orientation, velocity = np.full(3, np.nan), np.full(4, np.nan), np.full(6, np.nan)
        modalities = (
            joints,
            self._fuse_wrench(driver_state, age) if wrist is None else self._take_wrench(driver_state, wrist, rotation),
            self._fuse_contacts(driver_state, age) if tactile is None else self._take_contacts(driver_state, tactile),
            self._fuse_gripper(driver_state, age, merged),
            self._fuse_objects(objects, now),
            *merged.modalities,
        )
        return RobotState(
            stamp=driver_state.stamp,
            sequence=driver_state.sequence,
            joint_names=self._spec.joint_names,
            joint_positions=positions,
            joint_velocities=velocities,
            joint_torques=torques,
            commanded_positions=commanded,
            ee_position=position,
            ee_orientation=orientation,
            ee_velocity=velocity,
            wrench=self._wrench.copy(),
            contact_forces=self._contacts.copy(),
            gripper_width=float(self._gripper[0]),
            gripper_force=float(self._gripper[1]),
            gripper_command=float(self._gripper[2]),
            object_poses={name: pose.copy() for name, pose in self._objects.items()},
            modalities=modalities,
            further_joints=self._further(merged),
        )

    def _fuse_joints(self, state: DriverState, age: float, merged: MergedJoints) -> Modality:
        reason = _age_reason(age, self._joint_timeout)
        if not reason and state.sequence > self._sequence and state.stamp < self._stamp:
            reason = f"stamp went back by {self._stamp - state.stamp:.3f} s; the driver's clock jumped"
        measured = (state.joint_positions, state.joint_velocities, state.joint_torques, state.commanded_positions)
        lengths = [len(values) for values in measured]
        if lengths != [len(state.joint_names)] * 4:
            return Modality("joints", False, age, f"{len(state.joint_names)} joint names with {lengths} values")
        order, further = self._order(state.joint_names)
        given = np.array(measured)
        missing = [name for name, index in zip(self._spec.joint_names, order, strict=True) if index < 0]
        if missing:
            columns, oldest, why = merged.columns(missing)
            if why:
                return Modality("joints", False, age, why)
            age = max(age, oldest)
            reason = reason or _age_reason(age, self._joint_timeout)
            order = np.where(order < 0, len(state.joint_names) + np.cumsum(order < 0) - 1, order)
            given = np.concatenate([given, columns], axis=1)
        values = given[:, order]
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            what = ("position", "velocity", "torque", "set-point")[row]
            return Modality("joints", False, age, f"{what} of {self._spec.joint_names[column]} is not finite")
        reason = reason or self._plausibility.reason(state.stamp, values[0], values[3])
        if not reason:
            self._joints = values
            self._driver_further = {name: given[:3, index] for name, index in further.items()}
        return Modality("joints", not reason, age, reason)

    def _order(self, names: tuple[str, ...]) -> tuple[np.ndarray, dict[str, int]]:
        """Index of each of the arm's joints in `names`, -1 where it is missing, and of all others by name.

        It is found once: a message's order rarely changes.
        """
        found = self._order_of.get(names)
        if found is None:
            place = {name: index for index, name in enumerate(names)}
            order = np.array([place.pop(name, -1) for name in self._spec.joint_names])
            found = order, place
            self._order_of = {names: found}
        return found

    def _further(self, merged: MergedJoints) -> dict[str, np.ndarray]:
        """Joints that are none of the arm's; the driver's own first."""
        further = {name: values.copy() for name, values in self._driver_further.items()}
        for name, reading in merged.joints.items():
            if name not in further and name not in self._spec.joint_names:
                further[name] = reading.values
        return further

    def _fuse_wrench(self, state: DriverState, age: float) -> Modality:
        reason = _age_reason(age, self._joint_timeout)
        if not state.wrench_valid:
            reason = "the driver has no valid wrench"
        elif state.wrench.shape != (6,) or not np.isfinite(state.wrench).all():
            reason = "wrench is not six finite numbers"
        if not reason:
            self._wrench = np.array(state.wrench, dtype=float)
        return Modality("wrench", not reason, age, reason)

    def _take_wrench(self, state: DriverState, wrist: WristSensor, rotation: np.ndarray) -> Modality:
        reading = wrist.reading(state.stamp, rotation)
        if not reading.reason:
            self._wrench = reading.values
        return Modality("wrench", not reading.reason, reading.age, reading.reason)

    def _fuse_contacts(self, state: DriverState, age: float) -> Modality:
        reason = _age_reason(age, self._joint_timeout)
        if len(state.contact_forces) == 0:
            reason = "not sensed"
        elif not np.isfinite(state.contact_forces).all():
            reason = "contact force is not finite"
        if not reason:
            self._contacts = np.array(state.contact_forces, dtype=float)
        return Modality("contacts", not reason, age, reason)

    def _take_contacts(self, state: DriverState, tactile: TactilePads) -> Modality:
        reading = tactile.reading(state.stamp)
        if not reading.reason or not self._contacts.size:
            self._contacts = reading.values
        return Modality("contacts", not reading.reason, reading.age, reading.reason)

    def _fuse_gripper(self, state: DriverState, age: float, merged: MergedJoints) -> Modality:
        reason = _age_reason(age, self._joint_timeout)
        width, fingers = state.gripper_width, self._spec.gripper.joints
        if fingers and all(name in merged.joints and name not in state.joint_names for name in fingers):
            # Who reports the fingers measures the opening; a driver without a hand says nothing or 0.
            readings = [merged.joints[name] for name in fingers]
            width, age = sum(float(each.values[0]) for each in readings), max(age, *(each.age for each in readings))
            reason = reason or next((each.reason for each in readings if each.reason), "")
            reason = reason or opening_reason(width, self._spec.gripper.max_width)
        values = np.array((width, state.gripper_force, state.gripper_command))
        if not np.isfinite(values).all():
            reason = "width, force or command is not finite"
        if not reason:
            self._gripper = values
        return Modality("gripper", not reason, age, reason)

    def _fuse_objects(self, objects: ObjectStates | None, now: float) -> Modality:
        if objects is None:
            wanted = ", ".join(self.required_objects)
            return Modality(
                "objects", not wanted, np.inf if wanted else 0.0, f"none reported of: {wanted}" if wanted else ""
            )
        age = now - objects.stamp
        reason = _age_reason(age, self._object_timeout)
        poses = np.concatenate([objects.positions, objects.quaternions_wxyz], axis=1)
        if len(poses) != len(objects.names):
            return Modality("objects", False, age, f"{len(objects.names)} names with {len(poses)} poses")
        seen = dict(zip(objects.names, poses, strict=True))
        missing = [name for name in self.required_objects if name not in seen]
        if missing:
            reason = f"not seen: {', '.join(missing)}"
        for name, pose in seen.items():
            # NaN makes the second comparison false, so that it is caught as well.
            if not np.isfinite(pose).all() or not abs(pose[3:] @ pose[3:] - 1.0) < 1e-3:
                reason = f"pose of {name} is not a finite position with a unit quaternion"
            elif suspicious := position_reason(name, pose[:3]):
                reason = suspicious
            elif not reason or not reason.startswith("stamp"):
                self._objects[name] = pose
        return Modality("objects", not reason, age, reason)


def _age_reason(age: float, timeout: float) -> str:
    """Why data of this age [s] cannot be used, empty when they can."""
    if not age <= timeout:  # NaN is not usable either
        return f"stamp is {age:.3f} s old; at most {timeout:g} s are allowed"
    if age < -CLOCK_TOLERANCE:
        return f"stamp lies {-age:.3f} s ahead; check the clocks"
    return ""
