"""Where a person sets up a real arm's episodes and judges them, in the place of what a simulator does by itself."""

from __future__ import annotations

import json
import sys
from copy import copy
from dataclasses import dataclass

import numpy as np
from std_msgs.msg import String
from std_srvs.srv import Trigger

from physai_ros import msg, srv
from physai_ros.experience.episode import EpisodeContext, Phase
from physai_ros.robot.action import Intervention
from physai_ros.robot.hold import hold_action
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, outcome_message, to_message
from physai_ros.ros.lifecycle import OK, WARN, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Outcome, Scenario, TaskTest

_LEASE = 0.2  # [s]
_APPROACH = 0.03  # share of the way home that is left, a control cycle
_ARRIVED = 0.005  # [rad]


@dataclass(frozen=True)
class Parameters:
    """Parameters of the workcell."""

    robot: str = parameter("", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task that is set up where a request names none.")
    judge: bool = parameter(
        True, "Judge by the task's own test on the perceived state; a person's label on end_episode overrules it."
    )
    home_tolerance: float = parameter(
        0.05, "Largest distance of a joint from its start posture [rad].", minimum=0.001, maximum=1.0
    )
    home_speed: float = parameter(
        0.1, "Share of the velocity limits at which go_home moves the arm.", minimum=0.01, maximum=0.5
    )


class Workcell(ManagedNode):
    """Answers `reset_world` when a person has said `confirm_reset`; `workcell_request` says what is to be done.

    `go_home` brings the arm to its start posture as an operator would: by interventions, which the safety monitor
    judges as any other. Nothing moves without that call.
    """

    node_name = "workcell"
    Parameters = Parameters

    def configure(self) -> None:
        """Learn the arm and open topics and services."""
        self._spec = RobotSpec.load(self.parameters.robot)
        self._requests = self.publisher(String, "workcell_request", qos.LATCHED)
        self._outcomes = self.publisher(msg.TaskOutcome, "task_outcome", qos.LATCHED)
        self._interventions = self.publisher(msg.Intervention, "intervention", qos.INTERVENTION)
        self.subscribe(msg.DriverState, "driver_state", self._on_driver, qos.CONTROL)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        self.subscribe(msg.SafetyStatus, "safety_status", self._on_safety, qos.EVENT)
        if self.parameters.judge:
            self.subscribe(msg.RobotState, "robot_state", self._on_state, qos.CONTROL)
        self.serve(srv.ResetWorld, "reset_world", self._reset_world)
        self.serve(Trigger, "confirm_reset", self._confirm)
        self.serve(Trigger, "go_home", self._go_home)
        self._forget()

    def deactivate(self) -> None:
        """Let go of the arm."""
        self._release()
        self._forget()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """What is waited for."""
        if not self.active:
            return super().diagnose()
        waiting = self._wanted is not None and self._confirmed != self._wanted[0]
        return (WARN if waiting else OK), self._said or "nothing to do", {"homing": self._homing}

    def _forget(self) -> None:
        self._state: DriverState | None = None
        self._wanted: tuple[str, np.ndarray] | None = None  # episode that is set up, and its start posture
        self._confirmed = self._said = ""
        self._homing = False
        self._episode = EpisodeContext()
        self._test: TaskTest | None = None
        self._outcome: Outcome | None = None

    # Setting up.

    def _reset_world(
        self, request: srv.ResetWorld.Request, response: srv.ResetWorld.Response
    ) -> srv.ResetWorld.Response:
        try:
            task = load_task(request.task or self.parameters.task)
            text = request.scenario_json
            scenario = Scenario.from_json(text) if text else task.sample_scenario(np.random.default_rng(request.seed))
        except ValueError as error:
            response.message = str(error)
            return response
        if request.physics_names:
            response.message = f"physics of a real arm cannot be set; {request.physics_names[0]} was asked for"
        elif self._confirmed == request.episode_id and self._wanted is not None and self._state is not None:
            response.success, response.start_sequence = True, self._state.sequence
            response.scenario_json = scenario.to_json()
            self._confirmed, self._wanted = "", None
            self._say(f"{task.instruction}: running")
        else:
            home = self._spec.home_positions if scenario.home_positions is None else np.array(scenario.home_positions)
            self._wanted = request.episode_id, home
            places = {name: [round(value, 4) for value in pose] for name, pose in scenario.object_poses.items()}
            self._say(
                f"set up '{task.instruction}': objects in the base frame (x y z [m], quaternion wxyz) "
                f"{json.dumps(places)}; bring the arm to its start posture (go_home); then call confirm_reset"
            )
            response.message = self._said
        return response

    def _confirm(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        problem = self._not_ready()
        if problem:
            response.message = problem
            return response
        self._confirmed = self._wanted[0]
        response.success, response.message = True, f"episode {self._confirmed} may start"
        return response

    def _not_ready(self) -> str:
        if self._wanted is None:
            return "no episode is to be set up; start one with start_episode"
        if self._state is None:
            return "no driver_state has come; activate the driver"
        if self._homing:
            return "the arm is on its way home; confirm when it stands"
        away = np.abs(self._state.joint_positions - self._wanted[1])
        worst = int(away.argmax())
        if away[worst] > self.parameters.home_tolerance:
            return (
                f"{self._spec.joint_names[worst]} is {away[worst]:.3f} rad from its start posture, expected within "
                f"{self.parameters.home_tolerance:g}; call go_home or move it there"
            )
        return ""

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._requests.publish(String(data=text))
            self.get_logger().info(text)

    # Going home.

    def _go_home(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._episode.phase == Phase.RUNNING:
            response.message = f"episode {self._episode.episode_id} runs; end it first"
        elif self._state is None or self._state.mode != DriverMode.ACTIVE:
            response.message = "the driver is not active; call resume first"
        else:
            self._homing = True
            response.success, response.message = True, "on the way; any stop ends it"
        return response

    def _on_safety(self, message: msg.SafetyStatus) -> None:
        if message.state == msg.SafetyStatus.STOPPED:
            self._release()  # who resumes has not asked for the way home again

    def _on_driver(self, message: msg.DriverState) -> None:
        self._state = state = from_message(message)
        if not self._homing:
            return
        home = self._spec.home_positions if self._wanted is None else self._wanted[1]
        way = home - state.commanded_positions
        if state.mode != DriverMode.ACTIVE or np.abs(way).max() < _ARRIVED:
            self._release()
            return
        most = self.parameters.home_speed * self._spec.velocity_limits * self._spec.control_period
        self._intervene(state, state.commanded_positions + np.clip(_APPROACH * way, -most, most), enable=True)

    def _intervene(self, state: DriverState, reference: np.ndarray, *, enable: bool) -> None:
        action = hold_action(state, state.sequence, self._spec.control_period)
        action.reference_positions = reference
        self._interventions.publish(to_message(Intervention(state.stamp, enable, _LEASE * enable, "go_home", action)))

    def _release(self) -> None:
        if self._homing and self._state is not None:
            self._intervene(self._state, self._state.commanded_positions, enable=False)
        self._homing = False

    # Judging.

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        self._episode = context = from_message(message)
        self._test = self._outcome = None
        if context.phase == Phase.RUNNING:
            self._release()
            self._test = load_task(context.task).test()
            self._goal = np.array(context.goal, dtype=float)

    def _on_state(self, message: msg.RobotState) -> None:
        context, before = self._episode, self._outcome
        if self._test is None or message.sequence < context.start_sequence or (before is not None and before.done):
            return
        state = from_message(message)
        names = [item.name for item in load_task(context.task).objects]
        if not all(state.modality(name).valid for name in ("joints", *(["objects"] if names else []))):
            return  # what is not seen cannot be judged
        elapsed = (state.sequence - context.start_sequence) * self._spec.control_period
        outcome = copy(self._test.update(state, elapsed, self._goal))
        outcome.evidence = dict(outcome.evidence)
        self._outcome = outcome
        if before is None or (before.done, before.stage) != (outcome.done, outcome.stage):
            episode, sequence = context.episode_id, state.sequence
            self._outcomes.publish(
                outcome_message(outcome, stamp=state.stamp, episode_id=episode, state_sequence=sequence)
            )


def main() -> int:
    """Exit code of the workcell's process."""
    return run(Workcell)


if __name__ == "__main__":
    sys.exit(main())
