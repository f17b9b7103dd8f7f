"""Trials of an evaluation on the live graph: episodes asked of episode_manager, one after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from physai_ros import msg, srv
from physai_ros.evaluation.parallel import Cancelled, TrialError
from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.evaluation.trials import Trial, TrialResult
from physai_ros.experience.episode import Phase, Purpose
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.feedback.collector import EpisodeFeedbackRecord
from physai_ros.ros import qos
from physai_ros.ros.feedback_record import feedback_record
from physai_ros.ros.start_overlay import StartOverlay
from physai_ros.tasks.task import Task


@dataclass(frozen=True)
class Operator:
    """A person sets up every scene (the `workcell` asks for it) and is given so long for it [s].

    `frames` is a folder for pictures of start scenes; None: none are kept.
    """

    patience: float = 300.0
    frames: Path | None = None


class GraphTrials:
    """Runs trials through `start_episode` and takes the result from `episode_feedback`.

    That message is a hint: one that was missed is looked up in the graph's store, where `store` names its folder. `run`
    blocks and is called from a thread of its own, while an executor spins `node` in another.
    """

    def __init__(self, node: Node, *, store: str = "", patience: float = 60.0) -> None:
        self._store = store
        self._patience = patience
        self._changed = threading.Condition()
        self._feedback: dict[str, EpisodeFeedbackRecord] = {}
        self._ended: dict[str, str] = {}
        self._running = ""
        group = ReentrantCallbackGroup()
        self._overlay = StartOverlay(node, group, lambda text: node.get_logger().info(text))
        self._say = lambda text: node.get_logger().info(text)
        self._start = node.create_client(srv.StartEpisode, "start_episode", callback_group=group)
        self._end = node.create_client(srv.EndEpisode, "end_episode", callback_group=group)
        self._subscriptions = [
            node.create_subscription(
                msg.EpisodeFeedback, "episode_feedback", self._on_feedback, qos.EVENT, callback_group=group
            ),
            node.create_subscription(
                msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED, callback_group=group
            ),
        ]

    def run(
        self,
        trials: Iterable[Trial],
        task: Task,
        *,
        on_result: Callable[[TrialResult], None] = lambda _result: None,
        cancelled: Callable[[], bool] = lambda: False,
        operator: Operator | None = None,
    ) -> list[TrialResult]:
        """Results in the order of the trials' indices.

        With an `operator` each scene is set up by a person, who is not told which policy will drive.

        Raises:
            TrialError: nobody serves `start_episode`, an episode is refused, its feedback does not come, or nobody set
                up its scene in time; then the episode was given up before anything moved.
            Cancelled: `cancelled()` became true; the episode that ran was ended.
        """
        if not self._start.wait_for_service(timeout_sec=5.0):
            raise TrialError("nobody serves start_episode: is the graph up, in this namespace and domain?")
        results = []
        for trial in trials:
            if operator is not None:
                self._say(f"episode {trial.index + 1} of the evaluation: set up its scene, see workcell_request")
                self._overlay.set_up(trial.scenario_json or str(trial.scenario_seed), operator.frames)
            try:
                episode_id = self._begin(trial, task, cancelled)
                if operator is not None:
                    self._wait_for_scene(episode_id, operator, cancelled)
                results.append(_result(trial, self._wait(episode_id, task, cancelled)))
            finally:
                self._overlay.done()
            on_result(results[-1])
        return sorted(results, key=lambda result: result.index)

    def _begin(self, trial: Trial, task: Task, cancelled: Callable[[], bool]) -> str:
        """Id of the episode of a trial; waits while another one runs."""
        scenario = trial.scenario_json or scenario_of(task, trial.scenario_seed).to_json()
        request = srv.StartEpisode.Request(
            task=task.name,
            scenario_json=scenario,
            seed=trial.scenario_seed,
            purpose=int(Purpose.EVALUATE),
            policy_version=trial.policy,
        )
        deadline = time.monotonic() + self._patience
        while True:
            if cancelled():
                raise Cancelled("cancelled between two episodes")
            response = self._call(self._start, request, "start_episode")
            if response.accepted:
                return response.episode_id
            if time.monotonic() > deadline:
                raise TrialError(f"start_episode refuses for {self._patience:.0f} s: {response.message}")
            time.sleep(0.2)

    def _wait_for_scene(self, episode_id: str, operator: Operator, cancelled: Callable[[], bool]) -> None:
        """Return once the episode runs, or has come to an end already."""
        deadline = time.monotonic() + operator.patience
        with self._changed:
            while self._running != episode_id and episode_id not in self._ended:
                if cancelled():
                    self._give_up("the evaluation was cancelled")
                    raise Cancelled(f"cancelled while the scene of episode {episode_id} was set up")
                if time.monotonic() > deadline:
                    self._give_up("nobody set up the scene")
                    raise TrialError(
                        f"nobody set up the scene of episode {episode_id} within {operator.patience:g} s; it was given "
                        "up before anything moved. What had finished is kept: ask for the same evaluation to go on"
                    )
                self._changed.wait(timeout=0.2)
        self._overlay.begun()

    def _give_up(self, reason: str) -> None:
        self._end.call_async(srv.EndEpisode.Request(reason=reason))

    def _wait(self, episode_id: str, task: Task, cancelled: Callable[[], bool]) -> EpisodeFeedbackRecord:
        deadline = time.monotonic() + self._patience + 5.0 * task.time_limit
        with self._changed:
            while episode_id not in self._feedback:
                if self._ended.get(episode_id) == "not_started":
                    raise TrialError(f"episode {episode_id} could not be started; the episode manager's log says why")
                if cancelled():
                    self._give_up("the evaluation was cancelled")
                    raise Cancelled(f"cancelled in episode {episode_id}")
                if time.monotonic() > deadline:
                    raise TrialError(f"no feedback on episode {episode_id}: is feedback_collector alive?")
                self._changed.wait(timeout=0.2)
                if self._store and episode_id in self._ended and episode_id not in self._feedback:
                    self._look_up(episode_id)
            return self._feedback.pop(episode_id)

    def _look_up(self, episode_id: str) -> None:
        try:
            summary = EpisodeStore(self._store, create=False).summary(episode_id)
        except StoreError:
            return  # not durable yet
        self._feedback[episode_id] = EpisodeFeedbackRecord.from_summary(summary)

    def _call(self, client: object, request: object, name: str) -> srv.StartEpisode.Response:
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _future: done.set())
        if not done.wait(timeout=10.0):
            raise TrialError(f"{name} did not answer within 10 s: is episode_manager alive?")
        return future.result()

    def _on_feedback(self, message: msg.EpisodeFeedback) -> None:
        with self._changed:
            if message.purpose == int(Purpose.EVALUATE):
                self._feedback[message.episode_id] = feedback_record(message)
            self._changed.notify_all()

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        with self._changed:
            if message.phase == int(Phase.RUNNING):
                self._running = message.episode_id
            if message.phase == int(Phase.ENDED):
                self._ended = {message.episode_id: message.end_reason}
            self._changed.notify_all()


def _result(trial: Trial, feedback: EpisodeFeedbackRecord) -> TrialResult:
    return TrialResult(
        index=trial.index,
        policy=trial.policy,
        scenario_seed=trial.scenario_seed,
        success=feedback.success,
        failure_mode=feedback.failure_mode,
        stage="",
        duration=feedback.duration,
        peak_force=feedback.peak_force,
        interventions=feedback.interventions,
        intervention_seconds=feedback.intervention_seconds,
        safety_stops=feedback.safety_stops,
        cycles=feedback.samples,
        score=float(feedback.success),
    )
