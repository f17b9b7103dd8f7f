"""Fuses one `robot_state` for every joint sample, and ties camera pictures to it in `observation`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import CompressedImage, Image

from physai_ros import msg
from physai_ros.fusion.camera_timeline import CameraTimeline
from physai_ros.fusion.filters import LowPass
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.fusion.wrist import WristCalibration, WristSensor
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, Modality, ObjectStates, is_overtaken
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.geometry import wrench_array
from physai_ros.ros.images import compressed_rgb_array, rgb_array
from physai_ros.ros.lifecycle import OK, WARN, ManagedNode, run
from physai_ros.ros.observations import observation_message
from physai_ros.ros.parameters import parameter
from physai_ros.ros.stamps import seconds_of
from physai_ros.tasks.catalog import load_task


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
    cameras: tuple[str, ...] = parameter((), "Cameras to take in, as in camera/<name>/image_raw.")
    compressed: bool = parameter(False, "Take pictures compressed, as in camera/<name>/image_raw/compressed.")
    image_timeout: float = parameter(0.25, "Age at which a picture is stale [s].", minimum=0.001, maximum=10.0)
    image_height: int = parameter(84, "Height of a picture in `observation` [pixel].", minimum=8, maximum=1080)
    image_width: int = parameter(84, "Width of a picture in `observation` [pixel].", minimum=8, maximum=1920)


class SensorFusion(ManagedNode):
    """Event-driven from the joint sample: every `driver_state` makes one `robot_state`."""

    node_name = "sensor_fusion"
    Parameters = Parameters

    def configure(self) -> None:
        """Build the fuser."""
        p = self.parameters
        self._spec = RobotSpec.load(p.robot)
        self._kinematics = Kinematics(self._spec)
        self._task = ""
        self._look_for(p.task)
        self._cameras = CameraTimeline(p.cameras, p.image_height, p.image_width, timeout=p.image_timeout)
        self._states = self.publisher(msg.RobotState, "robot_state", qos.CONTROL_WRITER)
        self._observations = self.publisher(msg.Observation, "observation", qos.SENSOR_WRITER)
        self.subscribe(msg.ObjectStates, "objects", self._on_objects, qos.CONTROL)
        cycle = self.time_cycles(self._spec.control_period, self._on_driver_state)
        self.subscribe(msg.DriverState, "driver_state", cycle, qos.CONTROL)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        self._wrench: WristSensor | None = None
        if p.wrench_topic:
            low_pass = LowPass(p.wrench_cutoff, self._spec.control_rate) if p.wrench_cutoff else None
            calibration = WristCalibration(np.array(p.wrench_bias), p.payload_mass, np.array(p.payload_center))
            self._wrench = WristSensor(calibration, timeout=p.wrench_timeout, low_pass=low_pass)
            self.subscribe(WrenchStamped, p.wrench_topic, self._on_wrench, qos.SENSOR)
        for camera in p.cameras:
            topic = f"camera/{camera}/image_raw"
            if p.compressed:
                topic += "/compressed"
            kind, decode = (CompressedImage, compressed_rgb_array) if p.compressed else (Image, rgb_array)
            self.subscribe(kind, topic, partial(self._on_image, camera, decode), qos.SENSOR)
        self._forget()

    def deactivate(self) -> None:
        """Forget what was remembered of the streams."""
        self._forget()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Every modality that cannot be used, with its reason."""
        if not self.active:
            return super().diagnose()
        broken = {m.name: m.reason for m in self._modalities if not m.valid}
        # A gripper without pressure pads or an arm without a wrist sensor lacks nothing that it ever had.
        bad = [name for name in broken if name in {"joints", "gripper", "objects"}]
        text = f"not usable: {', '.join(bad)}" if bad else f"{self._fused} states"
        return WARN if bad else OK, text, {"states": self._fused, "malformed": self._malformed, **broken}

    def _forget(self) -> None:
        self._fuser.reset()
        self._cameras.reset()
        if self._wrench is not None:
            self._wrench.reset()
        self._objects: ObjectStates | None = None
        self._waiting: DriverState | None = None
        self._newest = -1
        self._modalities: tuple[Modality, ...] = ()
        self._fused = self._malformed = 0

    def _look_for(self, task: str) -> None:
        if task == self._task:
            return
        p = self.parameters
        names = [item.name for item in load_task(task).objects]
        self._fuser = StateFuser(
            self._spec, self._kinematics, names, joint_timeout=p.joint_timeout, object_timeout=p.object_timeout
        )
        self._task = task

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        if message.phase == msg.EpisodeContext.PHASE_RUNNING and message.task:
            try:
                self._look_for(message.task)
            except ValueError as error:
                self.get_logger().error(f"episode {message.episode_id}: {error}")

    def _on_driver_state(self, message: msg.DriverState) -> None:
        if not message.lock_step and is_overtaken(message.sequence, self._newest):
            return
        self._newest = message.sequence
        self.cycle_times.paced = not message.lock_step
        try:
            state = from_message(message)
        except ValueError as error:
            self._refuse("driver_state", error)
            return
        if state.lock_step and self._fuser.required_objects:
            # Both belong to one instant, on two topics: whichever comes last makes the state, every run alike.
            if self._objects is None or self._objects.sequence != state.sequence:
                self._waiting = state
                return
        self._fuse(state)

    def _on_objects(self, message: msg.ObjectStates) -> None:
        try:
            self._objects = from_message(message)
        except ValueError as error:
            self._refuse("objects", error)
            return
        waiting = self._waiting
        if waiting is not None and waiting.sequence == self._objects.sequence:
            self._fuse(waiting)

    def _fuse(self, state: DriverState) -> None:
        self._waiting = None
        # The state is judged as it comes; driver and perception stamp with one clock.
        fused = self._fuser.fuse(state, self._objects, state.stamp, self._wrench)
        if self._cameras.cameras:
            self._cameras.add_sample(fused.stamp, fused.sequence)
            fused.modalities += self._cameras.modalities(fused.stamp)
        self._states.publish(to_message(fused))
        self._modalities = fused.modalities
        self._fused += 1

    def _on_wrench(self, message: WrenchStamped) -> None:
        reason = self._wrench.add(seconds_of(message.header.stamp), wrench_array(message.wrench))
        if reason:
            self._refuse("wrench", ValueError(reason))

    def _on_image(self, camera: str, decode: Callable[[object], np.ndarray], message: Image | CompressedImage) -> None:
        try:
            shown = self._cameras.add_picture(camera, seconds_of(message.header.stamp), decode(message))
        except ValueError as error:
            self._refuse(f"camera/{camera}", error)
            return
        if shown is not None:
            self._observations.publish(observation_message(shown, self._spec.base_frame))

    def _refuse(self, topic: str, error: ValueError) -> None:
        self._malformed += 1
        self.get_logger().warning(f"{topic} refused: {error}", throttle_duration_sec=1.0)


def main() -> int:
    """Exit code of the fusion's process."""
    return run(SensorFusion)


if __name__ == "__main__":
    sys.exit(main())
