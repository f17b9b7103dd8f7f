"""Driver of a real arm: measures, obeys `safe_command`, brings the arm to rest when that falls silent."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from physai_ros import msg
from physai_ros.deployment.claims import Claim, claim_device
from physai_ros.drivers.activation import ActivationChecks
from physai_ros.drivers.driver import DriverError
from physai_ros.drivers.guarded_driver import GuardedDriver
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverMode, DriverState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.driver_services import serve_driver
from physai_ros.ros.joint_states import joint_state_message
from physai_ros.ros.lifecycle import ERROR, OK, WARN, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.ros.robot_driver import make_driver


@dataclass(frozen=True)
class Parameters:
    """Parameters of the driver of a real arm."""

    robot: str = parameter("", "Robot configuration, by name or path; there is no default for what moves.")
    sink_without_timeout: str = parameter(
        "", "Why an arm is driven that does not stop by itself when this process dies; empty: it is not."
    )
    first_motion: float = parameter(
        3.0, "Motion after every start and resume that must be slow [s]; 0: none.", minimum=0.0, maximum=600.0
    )
    clock_tolerance: float = parameter(
        0.1, "Largest offset between the arm's stamps and this clock at activation [s].", minimum=0.001, maximum=10.0
    )
    state_timeout: float = parameter(
        0.1, "Age of the newest measurement at which the arm is lost [s].", minimum=0.01, maximum=5.0
    )
    stop_timeout: float = parameter(3.0, "Patience with an arm that is to rest [s].", minimum=0.1, maximum=60.0)


class HardwareNode(ManagedNode):
    """A thin shell round `GuardedDriver`: the topics and services of `driver_node`, without a world to reset.

    `driver/recover` begins the arm's own recovery from a fault; `driver/resume` comes after it, by a person's word.
    """

    node_name = "hardware_node"
    Parameters = Parameters

    def configure(self) -> None:
        """Read the arm's configuration and make its driver; nothing is connected yet."""
        p = self.parameters
        if not p.robot:
            raise DriverError("parameter robot is empty; name the arm's configuration, as in -p robot:=ur5e")
        self._spec = spec = RobotSpec.load(p.robot)
        self._arm = GuardedDriver(
            make_driver(spec, self), spec, first_motion=p.first_motion, state_timeout=p.state_timeout
        )
        self._checks = ActivationChecks(p.clock_tolerance, p.sink_without_timeout)
        self._device: Claim | None = None
        self._states = self.publisher(msg.DriverState, "driver_state", qos.CONTROL_WRITER)
        # For whoever shows the arm: RViz, robot_state_publisher.
        self._joints = self.publisher(JointState, "joint_states", qos.SENSOR_WRITER)
        self._description = self.publisher(String, "robot_description", qos.LATCHED)
        self.subscribe(msg.SafeCommand, "safe_command", self._on_command, qos.COMMAND)
        serve_driver(self, self._arm)
        self.serve(Trigger, "driver/recover", self._recover)
        self.every(spec.control_period, self.time_cycles(spec.control_period, self._tick))
        self._fault = DriverFault.NONE

    def activate(self) -> None:
        """Connect, look at the arm, and hold it where it is."""
        spec = self._spec
        place = ", ".join(f"{key} {value}" for key, value in sorted(spec.connection.items()) if isinstance(value, str))
        self._device = claim_device(f"{spec.driver}: {place}", self.get_fully_qualified_name())
        try:
            self._publish(self._arm.start(self._checks, time.monotonic(), self.now()))
        except Exception:
            self._release()
            raise
        self._description.publish(String(data=spec.urdf_path.read_text(encoding="utf-8")))
        self.get_logger().info(f"holding '{spec.name}' where it is, by {self._arm.kind.value}")

    def deactivate(self) -> None:
        """Bring the arm to rest and let go of it."""
        if not self._arm.stop(self.parameters.stop_timeout):
            self.get_logger().error(f"'{self._spec.name}' did not rest within {self.parameters.stop_timeout:g} s")
        self._release()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Mode, claim, refusals and fault."""
        if not self.active:
            return super().diagnose()
        guard, state = self._arm.guard, self._state
        values = {
            "robot": self._spec.name,
            "command_kind": self._arm.kind.value,
            "claimant": guard.claimant or "none",
            "commands_refused": guard.commands_refused,
            "last_refusal": guard.last_refusal,
            "recovering": self._arm.recovering,
        }
        if state.fault != DriverFault.NONE:
            return ERROR, f"{state.fault.name.lower()}: {state.fault_text}", values
        return OK if guard.mode == DriverMode.ACTIVE else WARN, guard.mode.name.lower(), values

    def _tick(self) -> None:
        self._publish(self._arm.cycle(time.monotonic()))

    def _on_command(self, message: msg.SafeCommand) -> None:
        self._arm.accept(from_message(message), time.monotonic())

    def _publish(self, state: DriverState) -> None:
        self._state = state
        self._states.publish(to_message(state))
        if self._joints.get_subscription_count():
            self._joints.publish(joint_state_message(state, self._spec.gripper.joints))
        if state.fault != self._fault:
            self._fault = state.fault
            if state.fault != DriverFault.NONE:
                self.get_logger().error(f"'{self._spec.name}': {state.fault.name}: {state.fault_text}")

    def _release(self) -> None:
        if self._device is not None:
            self._device.release()
            self._device = None

    def _recover(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._arm.recover()
        return response


def main() -> int:
    """Exit code of the driver's process."""
    return run(HardwareNode)


if __name__ == "__main__":
    sys.exit(main())
