"""Node `teleoperator`: a person's gamepad or 3D mouse (`joy`) becomes `intervention`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from sensor_msgs.msg import Joy

from physai_ros import msg
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.teleoperation import JoyMapping, Teleoperator
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.lifecycle import OK, ManagedNode, run
from physai_ros.ros.parameters import parameter

_DEFAULTS = JoyMapping()


@dataclass(frozen=True)
class Parameters:
    """Parameters of the teleoperator; the defaults fit a common gamepad, its left shoulder button being the switch."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    operator_name: str = parameter("operator", "Who drives, as recorded with every intervention.")
    axes: tuple[int, ...] = parameter(
        _DEFAULTS.axes, "Axes of x, y, z, roll, pitch, yaw, counted from 1; negative: turned round; 0: none."
    )
    enable_button: int = parameter(_DEFAULTS.enable_button, "Button to hold, counted from 0.", minimum=0, maximum=63)
    close_button: int = parameter(_DEFAULTS.close_button, "Closes the gripper.", minimum=0, maximum=63)
    open_button: int = parameter(_DEFAULTS.open_button, "Opens the gripper.", minimum=0, maximum=63)
    speed: float = parameter(_DEFAULTS.speed, "At full deflection [m/s].", minimum=0.001, maximum=1.0)
    turn_speed: float = parameter(_DEFAULTS.turn_speed, "At full deflection [rad/s].", minimum=0.001, maximum=3.0)


class TeleoperatorNode(ManagedNode):
    """Answers every state while the switch is held; safety arbitrates, and gives the policy back what is let go."""

    node_name = "teleoperator"
    Parameters = Parameters

    def configure(self) -> None:
        """Build what turns sticks into steps."""
        p = self.parameters
        mapping = JoyMapping(tuple(p.axes), p.enable_button, p.close_button, p.open_button, p.speed, p.turn_speed)
        self._teleoperator = Teleoperator(Kinematics(RobotSpec.load(p.robot)), mapping, p.operator_name)
        self._episode = ""
        self._driving = False
        self._interventions = self.publisher(msg.Intervention, "intervention", qos.INTERVENTION)
        self.subscribe(Joy, "joy", self._on_joy, qos.SENSOR)
        self.subscribe(msg.RobotState, "robot_state", self._on_state, qos.CONTROL)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Whether a person drives."""
        if not self.active:
            return super().diagnose()
        return OK, "drives" if self._driving else "waits for the switch", {"episode": self._episode}

    def _on_joy(self, message: Joy) -> None:
        self._teleoperator.hear(message.axes, message.buttons, time.monotonic())

    def _on_state(self, message: msg.RobotState) -> None:
        intervention = self._teleoperator.drive(from_message(message), time.monotonic(), self._episode)
        self._driving = intervention is not None and intervention.enable
        if intervention is not None:
            self._interventions.publish(to_message(intervention))

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        running = message.phase == msg.EpisodeContext.PHASE_RUNNING
        self._episode = message.episode_id if running else ""


def main() -> int:
    """Exit code of the node's process."""
    return run(TeleoperatorNode)


if __name__ == "__main__":
    sys.exit(main())
