"""Owns the episodes: resets the world, says what runs and why, and ends it."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rclpy.serialization import deserialize_message
from rclpy.task import Future

from physai_ros import msg, srv
from physai_ros.curriculum.selector import METHODS
from physai_ros.evaluation.episode_planner import EpisodePlanner
from physai_ros.experience.annotations import DETECTOR_STAGE, LABEL_STAGE
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, outcome_message, to_message
from physai_ros.ros.lifecycle import OK, WARN, ManagedNode, run
from physai_ros.ros.observations import pictures_of
from physai_ros.ros.parameters import parameter
from physai_ros.ros.stamps import stamp_of_serialized
from physai_ros.tasks.task import Outcome

if TYPE_CHECKING:
    from physai_ros.feedback.live_detector import LiveDetector

_PURPOSES = {purpose.name.lower(): purpose for purpose in Purpose}
_LABELS = ("", "success", "failure")
GRACE = 1.0
"""Time beyond the task's limit after which an episode without a verdict is ended [s]."""
_STOPPING = 1.0  # [s] that a stop may take at most: the world is not reset under an arm that still moves
_DISCOVERY = 2.0  # [s] within which a driver that has just come up is known here


@dataclass(frozen=True)
class Parameters:
    """Parameters of the episode manager."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task that is run where a request names none.")
    registry: str = parameter("registry", "Folder of the policy versions; its CURRENT is what an episode runs.")
    seed: int = parameter(0, "Which stream of start states.", minimum=0, maximum=2**20 - 1)
    episodes: int = parameter(0, "Episodes to run by itself; 0: only those that are asked for.", minimum=0)
    first_episode: int = parameter(0, "Index of the first start state in its stream.", minimum=0)
    curriculum: str = parameter("uniform", "How training start states are chosen.", choices=METHODS)
    purpose: str = parameter("train", "Why the own episodes are run.", choices=tuple(_PURPOSES))
    feedback_timeout: float = parameter(10.0, "Wait for the feedback of the episode before [s].", minimum=0.0)
    stall_timeout: float = parameter(15.0, "An episode whose time stands for so long is ended [s].", minimum=1.0)
    ask_again: float = parameter(
        0.0,
        "Pause before a refused reset is asked for again [s], where a person sets up; 0: the episode is given up.",
        minimum=0.0,
    )
    reset_timeout: float = parameter(
        10.0, "Wait for the reset and for a safety monitor that may start [s].", minimum=0.1
    )
    detector: str = parameter(
        "", "File of a success detector that ends an episode of its task when it sees success; empty: none."
    )


class EpisodeManager(ManagedNode):
    """One episode at a time: reset, wait until the arm may move, run, end, wait for its feedback."""

    node_name = "episode_manager"
    Parameters = Parameters

    def configure(self) -> None:
        """Learn the arm and the task, and open the topics."""
        p = self.parameters
        self._robot = RobotSpec.load(p.robot).name
        self._planner = EpisodePlanner(
            p.task,
            self._robot,
            Path(p.registry),
            seed=p.seed,
            first_episode=p.first_episode,
            curriculum=p.curriculum,
        )
        self._done = 0
        self._detector = _detector_of(p.detector, self._planner) if p.detector else None
        if self._detector is not None:
            self.subscribe(msg.Observation, "observation", self._on_observation, qos.SENSOR)
        self._episodes = self.publisher(msg.EpisodeContext, "episode", qos.LATCHED)
        self._reset = self.client(srv.ResetWorld, "reset_world")
        self.subscribe(msg.TaskOutcome, "task_outcome", self._on_outcome, qos.LATCHED)
        self.subscribe(msg.EpisodeFeedback, "episode_feedback", self._on_feedback, qos.EVENT)
        self.subscribe(msg.SafetyStatus, "safety_status", self._on_safety, qos.EVENT)
        # Only its stamp is needed, a hundred times a second.
        self.subscribe(msg.RobotState, "robot_state", self._on_state, qos.CONTROL, raw=True, patient=True)
        self._outcomes = self.publisher(msg.TaskOutcome, "task_outcome", qos.LATCHED)
        self.serve(srv.StartEpisode, "start_episode", self._serve_start)
        self.serve(srv.EndEpisode, "end_episode", self._serve_end)
        self.every(0.05, self._tick)
        self._forget()

    def activate(self) -> None:
        """Say that nothing runs yet."""
        self._say(EpisodeContext(robot=self._robot))

    def deactivate(self) -> None:
        """End what runs."""
        if self._episode.phase == Phase.RUNNING:
            self._end("operator")
        self._forget()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """What runs and what is waited for."""
        if not self.active:
            return super().diagnose()
        values = {"episode": self._episode.episode_id, "done": self._done, "waiting_for": self._waiting_for}
        if self._detector is not None:
            values |= {"detector": self._detector.detector.digest, "p_value": f"{self._detector.p_value:.3f}"}
        return WARN if self._stopped else OK, self._waiting_for or self._episode.phase.name.lower(), values

    def _forget(self) -> None:
        self._episode = EpisodeContext()
        self._prepared: EpisodeContext | None = None  # will run as soon as the world is reset and the arm may move
        self._is_reset = False
        self._stop_began = -math.inf
        self._waiting_for = ""
        self._since = time.monotonic()
        self._stopped: bool | None = None
        self._stamp = self._started = 0.0
        self._state = b""  # the newest, serialized
        self._moved = time.monotonic()

    # Beginning.

    def _begin(self, context: EpisodeContext) -> None:
        self._prepared, self._is_reset = context, False
        self._ask_reset(context)

    def _ask_reset(self, context: EpisodeContext) -> None:
        request = srv.ResetWorld.Request(
            episode_id=context.episode_id, task=context.task, scenario_json=context.scenario_json, seed=context.seed
        )
        self._wait_for("reset")
        self._reset.call_async(request).add_done_callback(lambda done: self._on_reset(context.episode_id, done))

    def _on_reset(self, episode_id: str, done: Future) -> None:
        context = self._prepared
        if context is None or context.episode_id != episode_id:
            return
        response = done.result()
        if response is not None and not response.success and self.parameters.ask_again:
            self._wait_for("operator")
            return
        if response is None or not response.success:
            self._abandon(f"the world was not reset: {response.message if response else 'no answer'}")
            return
        self._prepared = dataclasses.replace(context, start_sequence=response.start_sequence)
        self._is_reset = True
        self._wait_for("safety")
        self._start_when_allowed()

    def _start_when_allowed(self) -> None:
        if self._prepared is None or not self._is_reset or self._stopped is not False:
            return
        self._wait_for("")
        self._started, self._moved = self._stamp, time.monotonic()
        if self._detector is not None:
            self._detector.begin(self._prepared.goal, self._stamp)
        self._say(dataclasses.replace(self._prepared, phase=Phase.RUNNING))
        self._prepared = None

    def _abandon(self, problem: str) -> None:
        self.get_logger().error(f"episode {self._prepared.episode_id} not started: {problem}")
        context, self._prepared = self._prepared, None
        self._say(dataclasses.replace(context, phase=Phase.ENDED, end_reason="not_started"))
        self._wait_for("retry")

    # Ending.

    def _end(self, reason: str) -> None:
        self._done += 1
        self._stop_began = time.monotonic() if reason == "safety" else -math.inf
        self._say(dataclasses.replace(self._episode, phase=Phase.ENDED, end_reason=reason))
        self._wait_for("feedback")

    def _label(self, success: bool) -> None:
        """A person's verdict takes the place of the task's test."""
        outcome = Outcome(True, success, float(success), "none" if success else "unknown", LABEL_STAGE)
        episode = self._episode.episode_id
        self._outcomes.publish(outcome_message(outcome, stamp=self._stamp, episode_id=episode, state_sequence=0))

    def _on_observation(self, message: msg.Observation) -> None:
        """Let the detector look at the episode that runs."""
        context, detector = self._episode, self._detector
        if context.phase != Phase.RUNNING or context.task != detector.detector.outlook.task or not self._state:
            return
        try:
            due = detector.takes(pictures_of(message))
        except ValueError as error:
            self.get_logger().warning(f"observation refused: {error}", throttle_duration_sec=1.0)
            return
        if not due:
            return
        state = from_message(deserialize_message(self._state, msg.RobotState))
        if detector.look(state):
            outcome = Outcome(True, True, 1.0, "none", DETECTOR_STAGE, {"p_value": detector.p_value})
            about = {"episode_id": context.episode_id, "state_sequence": state.sequence}
            self._outcomes.publish(outcome_message(outcome, stamp=state.stamp, **about))
            self._end(f"detector {detector.detector.digest}")

    def _on_outcome(self, message: msg.TaskOutcome) -> None:
        context = self._episode
        if message.done and context.phase == Phase.RUNNING and message.episode_id == context.episode_id:
            self._end("outcome")

    def _on_state(self, serialized: bytes) -> None:
        self._state = serialized
        stamp = stamp_of_serialized(serialized)
        if stamp != self._stamp:
            self._stamp, self._moved = stamp, time.monotonic()
        context = self._episode
        if context.phase == Phase.RUNNING:
            # The clock of another driver, or of one that started again, tells nothing about this episode.
            self._started = min(self._started, self._stamp) if self._started else self._stamp
            if self._stamp - self._started > self._planner.task(context.task).time_limit + GRACE:
                self._end("timeout")

    def _on_safety(self, message: msg.SafetyStatus) -> None:
        self._stopped = message.state in (msg.SafetyStatus.STOPPED, msg.SafetyStatus.INACTIVE)
        if self._stopped and self._episode.phase == Phase.RUNNING:
            self._end("safety")
        self._start_when_allowed()

    def _on_feedback(self, message: msg.EpisodeFeedback) -> None:
        if self._waiting_for == "feedback" and message.episode_id == self._episode.episode_id:
            self._planner.report(self._episode, message.success, message.interventions)
            self._wait_for("")

    # Time and services.

    def _tick(self) -> None:
        p, waited = self.parameters, time.monotonic() - self._since
        if self._waiting_for == "feedback" and waited > p.feedback_timeout:
            self.get_logger().warning(f"no feedback on {self._episode.episode_id} within {p.feedback_timeout:g} s")
            self._wait_for("")
        elif self._waiting_for == "retry" and waited > 1.0:
            self._wait_for("")
        elif self._waiting_for == "operator" and waited > p.ask_again:
            self._ask_reset(self._prepared)
        elif self._waiting_for == "reset" and waited > p.reset_timeout:
            self._abandon(f"reset_world did not answer within {p.reset_timeout:g} s; is the driver active?")
        # Lock-step waits for answers: the one guard in wall time against a process that is gone.
        if self._episode.phase == Phase.RUNNING and time.monotonic() - self._moved > p.stall_timeout:
            self.get_logger().error(f"time has stood for {p.stall_timeout:g} s; does every node live?")
            self._end("timeout")
        if self._free and self._done < p.episodes and self._reset.service_is_ready() and self._stopped is not None:
            try:
                self._begin(self._planner.plan(_PURPOSES[p.purpose]))
            except ValueError as error:
                self.get_logger().error(f"no episode: {error}", throttle_duration_sec=5.0)

    @property
    def _free(self) -> bool:
        rests = time.monotonic() - self._stop_began > _STOPPING
        return rests and not self._waiting_for and self._prepared is None and self._episode.phase != Phase.RUNNING

    def _wait_for(self, what: str) -> None:
        self._waiting_for, self._since = what, time.monotonic()

    def _say(self, context: EpisodeContext) -> None:
        self._episode = dataclasses.replace(context, stamp=self._stamp)
        self._episodes.publish(to_message(self._episode))

    def _serve_start(
        self, request: srv.StartEpisode.Request, response: srv.StartEpisode.Response
    ) -> srv.StartEpisode.Response:
        if self._prepared is not None or self._episode.phase == Phase.RUNNING:
            running = (self._prepared or self._episode).episode_id
            response.message = f"episode {running} runs; end it first"
        elif not self._reset.wait_for_service(_DISCOVERY):
            response.message = "nobody serves reset_world; activate the driver first"
        else:
            try:
                context = self._planner.plan(
                    Purpose(request.purpose),
                    task=request.task,
                    scenario_json=request.scenario_json,
                    seed=request.seed,
                    policy_version=request.policy_version,
                )
                self._begin(context)
                response.accepted, response.episode_id = True, context.episode_id
            except ValueError as error:
                response.message = str(error)
        return response

    def _serve_end(self, request: srv.EndEpisode.Request, response: srv.EndEpisode.Response) -> srv.EndEpisode.Response:
        response.episode_id = self._episode.episode_id
        if request.label not in _LABELS:
            response.message = f"label is '{request.label}'; expected success, failure or nothing"
        elif self._prepared is not None and self.parameters.ask_again and not request.label:
            response.accepted, response.episode_id = True, self._prepared.episode_id
            self._abandon("an operator gave it up")
        elif self._episode.phase != Phase.RUNNING:
            response.message = "no episode runs"
        else:
            if request.label:
                self._label(request.label == "success")
            self._end("label" if request.label else "operator")
            response.accepted = True
        return response


def _detector_of(file: str, planner: EpisodePlanner) -> LiveDetector:
    """The detector in a file.

    Raises:
        ValueError: there is none, or its task is not known here.
    """
    import torch  # takes seconds and hundreds of megabytes, which only a detector needs

    from physai_ros.feedback.detector_file import read_detector
    from physai_ros.feedback.live_detector import LiveDetector

    torch.set_num_threads(1)
    detector = read_detector(Path(file))
    return LiveDetector(detector, planner.task(detector.outlook.task))


def main() -> int:
    """Exit code of the manager's process."""
    return run(EpisodeManager)


if __name__ == "__main__":
    sys.exit(main())
