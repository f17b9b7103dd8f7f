"""MuJoCo in the place of Gazebo and its bridge: the bridged topics, their types, the world's services, nothing else."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64

from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.gazebo.arm import finger_axes, hand_of
from physai_ros.ros.gazebo.client import message_type
from physai_ros.ros.gazebo.services import ControlService, PoseService, answer, read_control, read_pose
from physai_ros.ros.parameters import declare, parameter
from physai_ros.ros.process import spin_process
from physai_ros.ros.stamps import set_time
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.gazebo.bridge import CONTROL_SERVICE, POSE_SERVICE, bridged_topics
from physai_ros.simulation.gazebo.world import TIME_STEP
from physai_ros.tasks.catalog import load_task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the stand-in."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task whose objects are in the world.")
    seed: int = parameter(0, "Of the first start state.", minimum=0)


class GazeboStandIn(Node):
    """Runs at the pace of the wall clock until it is paused, and takes the steps that it is asked for.

    Steps are Gazebo's of one millisecond; MuJoCo is advanced whole control cycles, and what is left over waits. Joint
    targets are tracked by the servos of our own simulated arm, not by Gazebo's velocity servos. Pictures and contacts
    are advertised where their types are installed, and never sent.
    """

    def __init__(self) -> None:
        """Build the world and advertise what would be bridged."""
        super().__init__("gazebo_stand_in")
        self.parameters = p = declare(self, Parameters)
        self._spec = spec = RobotSpec.load(p.robot)
        task = load_task(p.task)
        self._arm = SimulatedArm(spec, task, seed=p.seed)
        self._targets = dict(zip(spec.joint_names, spec.home_positions, strict=True))
        self._targets |= dict.fromkeys(spec.gripper.joints, spec.gripper.max_width / len(spec.gripper.joints))
        self._from_tool = np.linalg.inv(hand_of(spec)[1].inverse().toDualActionMatrix())
        self._axes = finger_axes(spec)
        self._paused = False
        self._left_over = 0
        self._cycle_steps = round(spec.control_period / TIME_STEP)
        self._writers: dict[str, tuple[Publisher, str]] = {}
        for topic in bridged_topics(spec, task):
            try:
                kind = message_type(topic.ros_type_name)
            except ImportError:
                continue  # ros_gz_interfaces
            if topic.direction == "ROS_TO_GZ":
                heard = self._hear(topic.source)
                self.create_subscription(kind, topic.ros_topic_name, heard, qos.EVENT)
            else:
                writer = self.create_publisher(kind, topic.ros_topic_name, qos.EVENT)
                self._writers[topic.ros_topic_name] = writer, topic.source
        self.create_service(ControlService, CONTROL_SERVICE, self._control)
        self.create_service(PoseService, POSE_SERVICE, self._place)
        self.create_timer(spec.control_period, self._run, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._publish()

    def stop(self) -> None:
        """Close the simulator."""
        self._arm.close()

    def _hear(self, joint: str) -> object:
        def heard(message: Float64) -> None:
            self._targets[joint] = message.data

        return heard

    def _run(self) -> None:
        if not self._paused:
            self._step(self._cycle_steps)

    def _step(self, steps: int) -> None:
        self._left_over += steps
        spec = self._spec
        while self._left_over >= self._cycle_steps:
            self._left_over -= self._cycle_steps
            opening = sum(self._targets[name] for name in spec.gripper.joints)
            positions = np.array([self._targets[name] for name in spec.joint_names])
            self._arm.step(positions, 2.0 * opening / spec.gripper.max_width - 1.0)
            self._publish()

    def _control(self, request: object, response: object) -> object:
        control = read_control(request)
        self._paused = control.pause or control.multi_step > 0
        self._step(control.multi_step)
        return answer(response, True)

    def _place(self, request: object, response: object) -> object:
        name, pose = read_pose(request)
        try:
            self._arm.place_object(name, pose)
        except ValueError as error:
            self.get_logger().error(str(error))
            return answer(response, False)
        return answer(response, True)

    def _publish(self) -> None:
        state, objects = self._arm.true_driver_state(), self._arm.true_object_states()
        poses = dict(zip(objects.names, zip(objects.positions, objects.quaternions_wxyz, strict=True), strict=True))
        for writer, source in self._writers.values():
            kind = writer.msg_type
            if kind is JointState:
                message = self._joints(state)
            elif kind is PoseStamped:
                message = _pose(*poses[source])
            elif kind is WrenchStamped and not source:
                message = _wrench(self._from_tool @ state.wrench)
            elif kind is WrenchStamped:
                pad = state.contact_forces[self._spec.gripper.joints.index(source)]
                message = _wrench(np.concatenate([pad * self._axes[source], np.zeros(3)]))
            elif kind is ClockMessage:
                message = ClockMessage()
                set_time(message.clock, state.stamp)
            else:
                continue
            if kind is not ClockMessage:
                set_time(message.header.stamp, state.stamp)
            writer.publish(message)

    def _joints(self, state: object) -> JointState:
        fingers = self._spec.gripper.joints
        finger = state.gripper_width / len(fingers)
        message = JointState(name=[*self._spec.joint_names, *fingers])
        message.position = [*state.joint_positions.tolist(), *[finger] * len(fingers)]
        message.velocity = [*state.joint_velocities.tolist(), *[0.0] * len(fingers)]
        message.effort = [*state.joint_torques.tolist(), *[0.0] * len(fingers)]
        return message


def _pose(position: np.ndarray, quaternion_wxyz: np.ndarray) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = "physai"
    p, q = message.pose.position, message.pose.orientation
    (p.x, p.y, p.z), (q.w, q.x, q.y, q.z) = map(float, position), map(float, quaternion_wxyz)
    return message


def _wrench(values: np.ndarray) -> WrenchStamped:
    message = WrenchStamped()
    force, torque = message.wrench.force, message.wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = map(float, values)
    return message


def main() -> int:
    """Exit code of the stand-in's process."""
    return spin_process(GazeboStandIn, sys.argv)


if __name__ == "__main__":
    sys.exit(main())
