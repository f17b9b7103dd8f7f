"""Fuses one `robot_state` for every joint sample, and ties camera pictures to it in `observation`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Float32MultiArray

from physai_ros import msg
from physai_ros.fusion.camera_timeline import DEPTH, CameraTimeline
from physai_ros.fusion.filters import LowPass
from physai_ros.fusion.joint_sources import JointSources
from physai_ros.fusion.senses import Senses
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.fusion.tactile import TactilePads
from physai_ros.fusion.wrist import WristCalibration, WristSensor
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import Modality, RobotState
from physai_ros.ros import qos
from physai_ros.ros.arrays import numbers
from physai_ros.ros.camera_stream import CameraStream
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.geometry import wrench_array
from physai_ros.ros.images import compressed_rgb_array, depth_array, rgb_array
from physai_ros.ros.lifecycle import OK, WARN, ManagedNode, run
from physai_ros.ros.observations import observation_message
from physai_ros.ros.parameters import parameter
from physai_ros.ros.stamps import seconds_of
from physai_ros.tasks.catalog import load_task

_BELIEVED = 5.0  # times the gripper's largest force: what one of its pads may feel


@dataclass(frozen=True)
class Parameters:
    """Parameters of the fusion."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task whose objects must be seen; `episode` may name another.")
    joint_timeout: float = parameter(0.05, "Age at which joint data are stale [s].", minimum=0.001, maximum=1.0)
    object_timeout: float = parameter(0.25, "Age at which object poses are stale [s].", minimum=0.001, maximum=10.0)
    wrench_topic: str = parameter(
        "", "Topic of a wrist sensor's WrenchStamped, tool frame; empty: the driver's wrench."
    )
    wrench_bias: tuple[float, ...] = parameter((0.0,) * 6, "What that sensor shows without load [N, N m].")
    payload_mass: float = parameter(0.0, "Mass beyond that sensor, gripper included [kg].", minimum=0.0, maximum=100.0)
    payload_center: tuple[float, ...] = parameter((0.0,) * 3, "Center of that mass in the tool frame [m].")
    wrench_cutoff: float = parameter(
        0.0, "Low-pass of that sensor's wrench [Hz]; its delay counts as age; 0: none.", minimum=0.0, maximum=500.0
    )
    wrench_timeout: float = parameter(0.05, "Age at which a wrench is stale [s].", minimum=0.001, maximum=1.0)
    joint_topics: tuple[str, ...] = parameter(
        (), "Topics of further JointStates, merged by name behind the driver's; of two, the first counts."
    )
    joint_topics_timeout: float = parameter(0.25, "Age at which those are stale [s].", minimum=0.001, maximum=10.0)
    tactile_topic: str = parameter(
        "", "Topic of the pads' taxels, a Float32MultiArray, pad by pad; empty: the driver's contact forces."
    )
    tactile_pads: int = parameter(2, "Pads in that array.", minimum=1, maximum=64)
    tactile_newtons: float = parameter(1.0, "Normal force of one unit of a taxel [N].", minimum=1e-9, maximum=1e6)
    tactile_timeout: float = parameter(0.1, "Age at which taxels are stale [s].", minimum=0.001, maximum=10.0)
    cameras: tuple[str, ...] = parameter((), "Cameras to take in, as in camera/<name>/image_raw.")
    compressed: bool = parameter(False, "Take pictures compressed, as in camera/<name>/image_raw/compressed.")
    depth_cameras: tuple[str, ...] = parameter((), "Cameras of depth, as in camera/<name>/depth/image_raw.")
    image_timeout: float = parameter(0.25, "Age at which a picture is stale [s].", minimum=0.001, maximum=10.0)
    image_height: int = parameter(84, "Height of a picture in `observation` [pixel].", minimum=8, maximum=1080)
    image_width: int = parameter(84, "Width of a picture in `observation` [pixel].", minimum=8, maximum=1920)


class SensorFusion(ManagedNode):
    """Event-driven from the joint sample: every `driver_state` makes one `robot_state`."""

    node_name = "sensor_fusion"
    Parameters = Parameters

    def configure(self) -> None:
        """Build the senses, and listen for what each of them is told."""
        p = self.parameters
        self._spec = RobotSpec.load(p.robot)
        self._kinematics = Kinematics(self._spec)
        self._task = ""
        pictures = partial(CameraTimeline, height=p.image_height, width=p.image_width, timeout=p.image_timeout)
        self._senses = Senses(
            self._fuser_for(p.task),
            wrist=self._wrist() if p.wrench_topic else None,
            joints=JointSources(p.joint_topics, timeout=p.joint_topics_timeout) if p.joint_topics else None,
            tactile=self._tactile() if p.tactile_topic else None,
            colour=pictures(p.cameras),
            depth=pictures(p.depth_cameras, kind=DEPTH),
        )
        self._states = self.publisher(msg.RobotState, "robot_state", qos.CONTROL_WRITER)
        self._observations = self.publisher(msg.Observation, "observation", qos.SENSOR_WRITER)
        self.subscribe(msg.ObjectStates, "objects", self._on_objects, qos.CONTROL)
        cycle = self.time_cycles(self._spec.control_period, self._on_driver_state)
        self.subscribe(msg.DriverState, "driver_state", cycle, qos.CONTROL)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        if p.wrench_topic:
            self.subscribe(WrenchStamped, p.wrench_topic, self._on_wrench, qos.SENSOR)
        for topic in p.joint_topics:
            self.subscribe(JointState, topic, partial(self._on_joints, topic), qos.SENSOR)
        if p.tactile_topic:
            self.subscribe(Float32MultiArray, p.tactile_topic, self._on_taxels, qos.SENSOR)
        colour, suffix = (Image, rgb_array), "image_raw"
        if p.compressed:
            colour, suffix = (CompressedImage, compressed_rgb_array), "image_raw/compressed"
        for camera in p.cameras:
            self._watch(f"camera/{camera}", suffix, *colour, self._senses.colour, camera, self._observations)
        if p.depth_cameras:
            depths = self.publisher(msg.Observation, "depth_observation", qos.SENSOR_WRITER)
        for camera in p.depth_cameras:
            self._watch(f"camera/{camera}/depth", "image_raw", Image, depth_array, self._senses.depth, camera, depths)
        self._forget()

    def deactivate(self) -> None:
        """Forget what was remembered of the streams."""
        self._forget()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Every modality that cannot be used, with its reason, and every camera_info that cannot."""
        if not self.active:
            return super().diagnose()
        broken = {m.name: m.reason for m in self._modalities if not m.valid}
        # A gripper without pressure pads or an arm without a wrist sensor lacks nothing that it ever had.
        own = {"wrench": self._senses.wrist, "contacts": self._senses.tactile}
        needed = {"joints", "gripper", "objects"} | {name for name, sensor in own.items() if sensor is not None}
        bad = [name for name in broken if name in needed or name.startswith("joints/")]
        text = f"not usable: {', '.join(bad)}" if bad else f"{self._fused} states"
        colour = self._senses.colour
        infos = {f"camera/{name}/camera_info": colour.calibration_reason(name) for name in colour.cameras}
        broken |= {name: reason for name, reason in infos.items() if reason}
        return WARN if bad else OK, text, {"states": self._fused, "malformed": self._malformed, **broken}

    def _watch(
        self,
        topic: str,
        suffix: str,
        kind: type,
        decode: Callable[[object], np.ndarray],
        timeline: CameraTimeline,
        camera: str,
        out: Publisher,
    ) -> None:
        """Listen to a camera's pictures and calibration."""
        stream = CameraStream(timeline, camera, decode)

        def on_picture(message: Image | CompressedImage) -> None:
            try:
                shown = stream.take_picture(message, lock_step=not self.cycle_times.paced)
            except ValueError as error:
                self._refuse(topic, error)
                return
            if shown is not None:
                out.publish(observation_message(shown, self._spec.base_frame))

        def on_info(serialized: bytes) -> None:
            try:
                stream.take_info(serialized)
            except ValueError as error:
                self._refuse(f"{topic}/camera_info", error)

        self.subscribe(kind, f"{topic}/{suffix}", on_picture, qos.SENSOR)
        self.subscribe(CameraInfo, f"{topic}/camera_info", on_info, qos.SENSOR, raw=True)

    def _wrist(self) -> WristSensor:
        p = self.parameters
        low_pass = LowPass(p.wrench_cutoff, self._spec.control_rate) if p.wrench_cutoff else None
        calibration = WristCalibration(np.array(p.wrench_bias), p.payload_mass, np.array(p.payload_center))
        return WristSensor(calibration, timeout=p.wrench_timeout, low_pass=low_pass)

    def _tactile(self) -> TactilePads:
        p, largest = self.parameters, _BELIEVED * self._spec.gripper.max_force
        return TactilePads(p.tactile_pads, timeout=p.tactile_timeout, newtons=p.tactile_newtons, largest=largest)

    def _fuser_for(self, task: str) -> StateFuser:
        p = self.parameters
        names = [item.name for item in load_task(task).objects]
        self._task = task
        return StateFuser(
            self._spec, self._kinematics, names, joint_timeout=p.joint_timeout, object_timeout=p.object_timeout
        )

    def _forget(self) -> None:
        self._senses.reset()
        self._modalities: tuple[Modality, ...] = ()
        self._fused = self._malformed = 0

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        if message.phase == msg.EpisodeContext.PHASE_RUNNING and message.task not in ("", self._task):
            try:
                self._senses.fuser = self._fuser_for(message.task)
            except ValueError as error:
                self.get_logger().error(f"episode {message.episode_id}: {error}")

    def _on_driver_state(self, message: msg.DriverState) -> None:
        self.cycle_times.paced = not message.lock_step
        try:
            self._publish(self._senses.take_driver_state(from_message(message)))
        except ValueError as error:
            self._refuse("driver_state", error)

    def _on_objects(self, message: msg.ObjectStates) -> None:
        try:
            self._publish(self._senses.take_objects(from_message(message)))
        except ValueError as error:
            self._refuse("objects", error)

    def _publish(self, fused: RobotState | None) -> None:
        if fused is None:
            return
        self._states.publish(to_message(fused))
        self.cycle_times.add_age(max((m.age for m in fused.modalities if m.valid), default=0.0))
        self._modalities = fused.modalities
        self._fused += 1

    def _on_wrench(self, message: WrenchStamped) -> None:
        self._refuse("wrench", self._senses.wrist.add(seconds_of(message.header.stamp), wrench_array(message.wrench)))

    def _on_joints(self, topic: str, message: JointState) -> None:
        values = [numbers(each) for each in (message.position, message.velocity, message.effort)]
        self._refuse(topic, self._senses.joints.add(topic, seconds_of(message.header.stamp), message.name, *values))

    def _on_taxels(self, message: Float32MultiArray) -> None:
        # The message carries no stamp: it counts from when it came.
        sizes = [dimension.size for dimension in message.layout.dim]
        taxels = numbers(message.data)[message.layout.data_offset :]
        self._refuse("tactile", self._senses.tactile.add(self.now(), taxels, sizes))

    def _refuse(self, topic: str, reason: ValueError | str) -> None:
        if reason:
            self._malformed += 1
            self.get_logger().warning(f"{topic} refused: {reason}", throttle_duration_sec=1.0)


def main() -> int:
    """Exit code of the fusion's process."""
    return run(SensorFusion)


if __name__ == "__main__":
    sys.exit(main())
