"""An arm that ros2_control brings up, as a driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from physai_ros.drivers.driver import CommandKind, DriverCapabilities, DriverError
from physai_ros.robot.command import StopTrajectory
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode, DriverState
from physai_ros.ros import qos
from physai_ros.ros.executor import ControlExecutor
from physai_ros.ros.ros2_control.connection import Connection
from physai_ros.ros.ros2_control.gripper import Gripper
from physai_ros.ros.ros2_control.services import interface, switch_controllers, take_step
from physai_ros.ros.ros2_control.sinks import make_sink
from physai_ros.ros.stamps import seconds_of

_PATIENCE = 5.0  # [s] with the first joint_states
_STILL = 0.01  # [rad/s]
_WATCH = 0.01  # [s]
_COMMANDS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)


class Ros2ControlDriver:
    """One controller of an arm as its sink, joint_states as its measurement.

    It is a node of its own with a thread of its own, so that connecting, halting and recovering may wait. That thread
    also keeps the driver's dead man: a command that is older than its `valid_for` is taken back, whatever the process
    does otherwise. What dies with the process is this dead man too; a controller without a time-out then goes on, which
    `capabilities` says.
    """

    def __init__(self, spec: RobotSpec, owner: Node) -> None:
        """Nothing is opened yet; `owner` gives context, clock and log.

        Raises:
            DriverError: `spec.connection` cannot be used.
        """
        self._spec = spec
        self._owner = owner
        self._connection = connection = Connection.of(spec)
        self._names = tuple(connection.joints.get(name, name) for name in spec.joint_names)
        self._sink = make_sink(connection, self._names, spec.control_period, owner.get_clock())
        self._node: Node | None = None
        self._lock = threading.Lock()
        self._close_over()

    def _close_over(self) -> None:
        self._raw: bytes | None = None
        self._raw_at = -np.inf
        self._count = 0
        self._state: DriverState | None = None
        self._wrench: tuple[np.ndarray, float] | None = None
        self._fault, self._fault_text = DriverFault.NONE, ""
        self._active = False
        self._valid_until = np.inf
        self._stop: StopTrajectory | None = None
        self._commanded = np.full(len(self._names), np.nan)
        self._gripper: Gripper | None = None

    @property
    def capabilities(self) -> DriverCapabilities:
        """One kind of command, by the controller; its time-out as the configuration states it."""
        connection = self._connection
        return DriverCapabilities(
            kinds=(self._sink.kind,),
            rate=connection.rate,
            command_timeout=min(connection.command_timeout, self._sink.rests_by_itself),
            wrench=bool(connection.wrench),
            gripper=connection.gripper is not None,
        )

    def connect(self) -> None:
        """Hear the joints and find the controller.

        Raises:
            DriverError: joint_states do not come or lack a joint, or nobody takes the commands.
        """
        if self._node is not None:
            return
        self._node = node = Node(
            f"{self._owner.get_name()}_robot",
            namespace=f"/{self._connection.namespace.strip('/')}",
            context=self._owner.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        try:
            self._open(node)
        except Exception:
            self.close()
            raise

    def _open(self, node: Node) -> None:
        connection = self._connection
        node.create_subscription(JointState, connection.joint_states, self._on_joints, qos.CONTROL, raw=True)
        if connection.wrench:
            node.create_subscription(WrenchStamped, connection.wrench, self._on_wrench, qos.SENSOR)
        if connection.fault:
            kind = interface(connection.fault.type)
            node.create_subscription(kind, connection.fault.topic, self._on_fault, qos.SENSOR)
        self._writer = node.create_publisher(self._sink.message_type, connection.command_topic, _COMMANDS)
        if connection.gripper:
            self._gripper = Gripper(node, connection.gripper, self._spec.gripper.max_force)
        node.create_timer(_WATCH, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = ControlExecutor(context=node.context)
        self._executor.add_node(node)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="ros2_control", daemon=True)
        self._thread.start()
        topic = node.resolve_topic_name(connection.joint_states)
        self._wait(lambda: self._raw is not None, f"nothing comes on {topic}; start the joint_state_broadcaster")
        self._read_joints()
        if self._gripper is not None:
            self._gripper.connect()

    def activate(self, kind: CommandKind) -> None:
        """Switch to our controller, where that is possible from here; the arm stays at rest.

        Raises:
            DriverError: another kind was asked for, or the controller does not listen.
        """
        if kind is not self._sink.kind:
            raise DriverError(f"sink '{self._connection.sink}' takes {self._sink.kind.value}, not {kind.value}")
        node = self._checked_node()
        if not switch_controllers(node, self._connection):
            node.get_logger().info(
                "controller_manager_msgs is not installed here: controllers are taken as they were brought up"
            )
        topic = node.resolve_topic_name(self._connection.command_topic)
        self._wait(
            lambda: self._writer.get_subscription_count() > 0,
            f"nobody takes commands on {topic}; activate controller '{self._connection.controller}'",
        )
        self._rest()
        self._active = True

    def read(self) -> DriverState:
        """Newest joint_states, wrench and fault; LINK_LOST when joint_states stop coming."""
        self._checked_node()
        if self._raw is not None:
            self._read_joints()
        state = self._state
        silent = time.monotonic() - self._raw_at
        fault, text = self._fault, self._fault_text
        if fault == DriverFault.NONE and silent > self._connection.silence:
            fault, text = DriverFault.LINK_LOST, f"no {self._connection.joint_states} for {silent:.2f} s"
        state.fault, state.fault_text = fault, text
        state.mode = DriverMode.ACTIVE if self._active else DriverMode.IDLE
        return state

    def follow_up(self, stop: StopTrajectory) -> None:
        """The verified stop that a trajectory goes on with; other sinks have no use for it."""
        self._stop = stop

    def command(self, kind: CommandKind, vector: np.ndarray, gripper_command: float, valid_for: float) -> bool:
        """Publish one command, clamped to the arm's limits; it is taken back after `valid_for` [s]."""
        vector = np.asarray(vector, dtype=float)
        size = 6 if kind is CommandKind.TOOL_TWIST else len(self._names)
        if not self._active or kind is not self._sink.kind or self._fault != DriverFault.NONE:
            return False
        if (
            vector.shape != (size,)
            or not np.isfinite(vector).all()
            or not (valid_for > 0 and abs(gripper_command) <= 1)
        ):
            return False
        with self._lock:
            self._commanded = self._clamped(kind, vector)
            self._writer.publish(self._sink.message(self._commanded, self._stop))
            self._valid_until = time.monotonic() + valid_for
        if self._gripper is not None:
            self._gripper.send(gripper_command)
        return True

    def halt(self, timeout: float) -> bool:
        """Command rest until the measured velocities are zero."""
        if self._node is None:
            return True
        until = time.monotonic() + timeout
        while True:
            self._rest()
            state = self.read()
            if np.abs(state.joint_velocities).max() < _STILL and state.fault != DriverFault.LINK_LOST:
                self._rest()
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.01)

    def recover(self) -> bool:
        """Take the steps of the configuration one after the other; False at the first that is refused."""
        node = self._checked_node()
        self._rest()
        for step in self._connection.recover:
            if not take_step(node, step):
                self._fault_text = f"{step.service} refused"
                return False
        until = time.monotonic() + _PATIENCE
        while self._connection.fault is not None and self._fault != DriverFault.NONE:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return self.read().fault == DriverFault.NONE

    def close(self) -> None:
        """Command rest, and let go."""
        node = self._node
        if node is None:
            return
        if self._active:
            self._rest()
        self._node = None
        if hasattr(self, "_over"):
            self._over.set()
            self._executor.wake()
            self._thread.join(timeout=2.0)
            self._executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        self._close_over()

    # What the thread does.

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            while not self._over.is_set():
                self._executor.spin_once()

    def _on_joints(self, raw: bytes) -> None:
        self._raw, self._raw_at = raw, time.monotonic()

    def _on_wrench(self, message: WrenchStamped) -> None:
        force, torque = message.wrench.force, message.wrench.torque
        self._wrench = np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z]), time.monotonic()

    def _on_fault(self, message: Any) -> None:  # noqa: ANN401 - the vendor's type
        value = getattr(message, self._connection.fault.field)
        if isinstance(value, bytes):
            value = value[0]
        fault = self._connection.fault.values.get(str(value), DriverFault.NONE)
        if fault != DriverFault.NONE:
            self._fault_text = f"{self._connection.fault.topic} says {self._connection.fault.field} {value}"
        self._fault = fault

    def _watch(self) -> None:
        """The dead man: rest where the command has run out."""
        with self._lock:
            late = time.monotonic() > self._valid_until
        if late:
            self._rest()

    def _rest(self) -> None:
        with self._lock:
            self._valid_until = np.inf
            self._stop = None
            state = self._state
            if state is not None and self._node is not None:
                positions = state.joint_positions
                if self._sink.kind is CommandKind.JOINT_POSITIONS and np.isfinite(self._commanded).all():
                    positions = self._commanded  # where it is led to already: it must not be pulled back
                rest = self._sink.rest(positions)
                if rest is not None:
                    self._writer.publish(rest)

    # Measuring.

    def _read_joints(self) -> None:
        raw, at = self._raw, self._raw_at
        message = deserialize_message(raw, JointState)
        self._raw = None
        missing = [name for name in self._names if name not in message.name]
        if missing:
            if self._state is not None:
                return  # another broadcaster's message on the same topic; silence is told of by its age
            known = ", ".join(message.name) or "none"
            raise DriverError(f"joint_states lack {missing[0]}; there are: {known}; correct connection.joints")
        order = [message.name.index(name) for name in self._names]
        count, zeros = len(self._names), np.zeros(len(self._names))
        arrays = [
            np.asarray(values, dtype=float)[order] if len(values) == len(message.name) else zeros
            for values in (message.position, message.velocity, message.effort)
        ]
        self._count += 1
        wrench = self._wrench
        fresh = wrench is not None and at - wrench[1] < self._connection.silence
        commanded = self._commanded if self._sink.kind is CommandKind.JOINT_POSITIONS else np.full(count, np.nan)
        self._state = DriverState(
            stamp=seconds_of(message.header.stamp),
            sequence=self._count,
            joint_names=self._spec.joint_names,
            joint_positions=arrays[0],
            joint_velocities=arrays[1],
            joint_torques=np.nan_to_num(arrays[2]),
            commanded_positions=np.where(np.isfinite(commanded), commanded, arrays[0]),
            wrench=wrench[0] if fresh else np.zeros(6),
            wrench_valid=fresh,
            gripper_width=self._width(message),
            command_timeout=self.capabilities.command_timeout,
        )

    def _width(self, message: JointState) -> float:
        gripper = self._connection.gripper
        if gripper is None or gripper.joint not in message.name:
            return 0.0
        position = message.position[message.name.index(gripper.joint)]
        return abs(position - gripper.closed) * gripper.width_of_joint

    def _clamped(self, kind: CommandKind, vector: np.ndarray) -> np.ndarray:
        spec = self._spec
        if kind is CommandKind.JOINT_POSITIONS:
            return np.clip(vector, spec.position_lower, spec.position_upper)
        if kind is CommandKind.JOINT_VELOCITIES:
            return np.clip(vector, -spec.velocity_limits, spec.velocity_limits)
        return vector.copy()

    def _checked_node(self) -> Node:
        if self._node is None:
            raise DriverError(f"'{self._spec.name}' is not connected; call connect first")
        return self._node

    def _wait(self, condition: Callable[[], bool], problem: str) -> None:
        until = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > until:
                raise DriverError(f"{problem} (waited {_PATIENCE:g} s)")
            time.sleep(0.005)
