"""A scripted operator in place of a person: intervenes, demonstrates, and presses resume after a stop."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from std_srvs.srv import Trigger

from physai_ros import msg
from physai_ros.evaluation.driving import LEASE, ScriptedDriver
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.robot.action import Intervention
from physai_ros.robot.hold import hold_action
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.lifecycle import OK, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.tasks.catalog import load_task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the scripted operator."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task that the operator can do; `episode` may name another.")
    intervene: bool = parameter(True, "Take over in training episodes that go wrong, and drive demonstrations.")
    resume: bool = parameter(True, "Press resume after a stop, while no episode runs.")
    resume_after: float = parameter(0.5, "Time before resume is pressed [s].", minimum=0.0, maximum=60.0)


class Operator(ManagedNode):
    """Sees the scene as a person does: by `ground_truth`, which only a simulator has."""

    node_name = "operator"
    Parameters = Parameters

    def configure(self) -> None:
        """Build the person."""
        self._kinematics = Kinematics(RobotSpec.load(self.parameters.robot))
        self._task = ""
        self._person: ScriptedDriver | None = None
        self._use_task(self.parameters.task)
        self._episode = EpisodeContext()
        self._taken_over = 0
        self._reset()
        self._interventions = self.publisher(msg.Intervention, "intervention", qos.INTERVENTION)
        self._resume = self.client(Trigger, "resume")
        if self.parameters.intervene:
            self.subscribe(msg.RobotState, "ground_truth", self._on_state, qos.CONTROL)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        self.subscribe(msg.SafetyStatus, "safety_status", self._on_safety, qos.EVENT)
        self.every(max(self.parameters.resume_after, 0.05), self._press_resume)

    def deactivate(self) -> None:
        """Let go of the switch."""
        if self._answer is not None and self._answer.enable and self._state is not None:
            self._interventions.publish(to_message(self._released(self._state)))
        self._reset()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Whether the operator drives, and why."""
        if not self.active:
            return super().diagnose()
        driving = self._answer is not None and self._answer.enable
        values = {"interventions": self._taken_over, "reason": self._person.reason if driving else ""}
        return OK, "drives" if driving else "watches", values

    def _reset(self) -> None:
        self._watching = ""
        self._state: RobotState | None = None
        self._answer: msg.Intervention | None = None
        self._stopped = False

    def _use_task(self, name: str) -> None:
        if name not in {self._task, ""}:
            self._person = ScriptedDriver(self._kinematics, load_task(name))
            self._task = name

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        self._episode = context = from_message(message)
        self._watching = ""
        self._answer = None
        # Nobody helps a policy that is being judged.
        if context.phase != Phase.RUNNING or context.purpose == Purpose.EVALUATE or not self.parameters.intervene:
            return
        try:
            self._use_task(context.task)
        except ValueError as error:
            self.get_logger().error(f"episode {context.episode_id}: {error}")
            return
        generator = np.random.default_rng([context.seed, 0x0B])
        demonstrate = context.purpose == Purpose.DEMONSTRATE
        start = context.start_sequence
        self._person.start_episode(context.goal, context.episode_id, start, generator, demonstrate=demonstrate)
        self._watching = context.episode_id
        if self._state is not None:
            self._watch(self._state)

    def _on_state(self, message: msg.RobotState) -> None:
        if self._answer is not None and self._answer.action.state_sequence == message.sequence:
            self._interventions.publish(self._answer)  # the driver asks again
            return
        self._state = from_message(message)
        self._watch(self._state)

    def _watch(self, state: RobotState) -> None:
        if not self._watching or state.sequence < self._episode.start_sequence:
            return
        driving = self._answer is not None and self._answer.enable
        intervention = self._person.drive(state) or self._released(state)
        self._taken_over += intervention.enable and not driving
        self._answer = to_message(intervention)
        self._interventions.publish(self._answer)

    def _released(self, state: RobotState) -> Intervention:
        """Hands off the switch: in lock-step the safety monitor waits for a word on every state."""
        action = hold_action(state, state.sequence, self._kinematics.spec.control_period, self._episode.episode_id)
        return Intervention(state.stamp, False, LEASE, "scripted_operator", action)

    def _on_safety(self, message: msg.SafetyStatus) -> None:
        self._stopped = message.state == msg.SafetyStatus.STOPPED

    def _press_resume(self) -> None:
        running = self._episode.phase == Phase.RUNNING
        if self._stopped and not running and self.parameters.resume and self._resume.service_is_ready():
            self._resume.call_async(Trigger.Request())


def main() -> int:
    """Exit code of the operator's process."""
    return run(Operator)


if __name__ == "__main__":
    sys.exit(main())
