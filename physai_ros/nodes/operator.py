"""A scripted operator in place of a person: intervenes, demonstrates, and presses resume after a stop."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from rclpy.serialization import deserialize_message
from std_srvs.srv import Trigger

from physai_ros import msg
from physai_ros.evaluation.driving import ScriptedDriver
from physai_ros.experience.cdr_columns import peek_u64
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.robot.action import Intervention
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP
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
            self.subscribe(msg.RobotState, "ground_truth", self._on_state, qos.CONTROL, raw=True)
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
        self._answered = range(0)
        self._newest = -1
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

    def _on_state(self, serialized: bytes) -> None:
        sequence = peek_u64(serialized, 0)  # most states need no word, and so no more of them is read
        asked_again, self._newest = sequence == self._newest, sequence
        if self._answer is not None and sequence in self._answered:
            if asked_again:
                self._interventions.publish(self._answer)
            return
        self._state = from_message(deserialize_message(serialized, msg.RobotState))
        self._watch(self._state)

    def _watch(self, state: RobotState) -> None:
        if not self._watching or state.sequence < self._episode.start_sequence:
            return
        driving = self._answer is not None and self._answer.enable
        intervention = self._person.drive(state) or self._released(state)
        rest = 1 if intervention.enable else self._rest_of_step(state)
        self._answered = range(state.sequence, state.sequence + rest)
        self._taken_over += intervention.enable and not driving
        self._answer = to_message(intervention)
        self._interventions.publish(self._answer)

    def _released(self, state: RobotState) -> Intervention:
        """Hands off the switch until the next decision: so long nobody waits for another word."""
        period = self._kinematics.spec.control_period
        action = hold_action(state, state.sequence, period, self._episode.episode_id)
        return Intervention(state.stamp, False, self._rest_of_step(state) * period, "scripted_operator", action)

    def _rest_of_step(self, state: RobotState) -> int:
        """States from this one until the person decides again."""
        return CYCLES_PER_STEP - (state.sequence - self._episode.start_sequence) % CYCLES_PER_STEP

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
