"""Trials on a robot: a person sets up each scene and sees how it was; nothing moves where nobody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from physai_ros import msg, srv
from physai_ros.evaluation.parallel import Cancelled, TrialError
from physai_ros.evaluation.protocol import EvaluationRequest, evaluate
from physai_ros.evaluation.trials import Trial, TrialSettings
from physai_ros.experience.episode import Purpose
from physai_ros.ros import qos
from physai_ros.ros.graph_session import graph_trials
from physai_ros.ros.graph_trials import GraphTrials, Operator
from physai_ros.ros.images import image_message, rgb_array
from physai_ros.tasks.catalog import load_task

NAMESPACE = "/robot_trials"
TASK = load_task("reach")


class Workplace:
    """An episode manager, a feedback collector and a camera in one, with a person who confirms, or does not."""

    def __init__(self) -> None:
        self.confirms = True
        self.begun: list[srv.StartEpisode.Request] = []
        self.given_up: list[str] = []
        self.overlays: list[np.ndarray] = []
        self._waiting = ""
        self._since = 0.0
        self._view = np.full((48, 64, 3), 90, np.uint8)
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        node = self._node = Node("workplace", namespace=NAMESPACE, context=self._context)
        self._episode = node.create_publisher(msg.EpisodeContext, "episode", qos.LATCHED)
        self._feedback = node.create_publisher(msg.EpisodeFeedback, "episode_feedback", qos.EVENT)
        self._camera = node.create_publisher(msg.Observation, "observation", qos.CONTROL_WRITER)
        node.create_subscription(Image, "start_overlay", lambda m: self.overlays.append(rgb_array(m)), qos.EVENT)
        node.create_service(srv.StartEpisode, "start_episode", self._start)
        node.create_service(srv.EndEpisode, "end_episode", self._end)
        node.create_timer(0.02, self._tick)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=5.0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _start(
        self, request: srv.StartEpisode.Request, response: srv.StartEpisode.Response
    ) -> srv.StartEpisode.Response:
        self.begun.append(request)
        self._waiting, self._since = f"e{len(self.begun)}", time.monotonic()
        # What the camera sees of a scene that is being set up: not what it was.
        self._view = np.full((48, 64, 3), 90 + len(self.begun), np.uint8)
        response.accepted, response.episode_id = True, self._waiting
        return response

    def _end(self, request: srv.EndEpisode.Request, response: srv.EndEpisode.Response) -> srv.EndEpisode.Response:
        self.given_up.append(request.reason)
        self._waiting = ""
        response.accepted = True
        return response

    def _tick(self) -> None:
        image = image_message(self._view, 1.0, "wrist_optical_frame")
        self._camera.publish(msg.Observation(camera_names=["wrist"], images=[image], ages=[0.0]))
        waited = time.monotonic() - self._since
        if self._waiting and self.confirms and waited > 0.15:
            episode, request = self._waiting, self.begun[-1]
            if waited < 0.3:
                self._say(episode, msg.EpisodeContext.PHASE_RUNNING)
                return
            self._waiting = ""
            self._say(episode, msg.EpisodeContext.PHASE_ENDED)
            known = {"task": "reach", "policy_version": request.policy_version, "failure_mode": "none"}
            purpose = int(Purpose.EVALUATE)
            done = msg.EpisodeFeedback(episode_id=episode, purpose=purpose, success=True, complete=True, **known)
            self._feedback.publish(done)

    def _say(self, episode: str, phase: int) -> None:
        self._episode.publish(msg.EpisodeContext(episode_id=episode, phase=phase))


@pytest.fixture(scope="module")
def workplace() -> Iterator[Workplace]:
    made = Workplace()
    yield made
    made.close()


@pytest.fixture(scope="module")
def graph(workplace: Workplace) -> Iterator[GraphTrials]:
    with graph_trials(NAMESPACE) as trials:
        yield trials


def test_pairs_are_run_one_after_the_other_and_the_second_is_set_up_by_the_first(
    workplace: Workplace, graph: GraphTrials, tmp_path: Path
) -> None:
    operator = Operator(30.0, tmp_path / "frames")
    request = EvaluationRequest("000002", "reach", "000001", episodes=2, backend="robot")
    done = evaluate(
        request,
        TrialSettings("reach"),
        run=lambda trials: graph.run(trials, TASK, operator=operator),
        journal=tmp_path / "journal",
    )
    assert (len(done.results), len(done.baseline)) == (2, 2)
    scenes = [start.scenario_json for start in workplace.begun]
    assert scenes[0] == scenes[1] != scenes[2] == scenes[3]
    assert {start.policy_version for start in workplace.begun[:2]} == {"000001", "000002"}
    assert len(list((tmp_path / "frames").glob("start_*.png"))) == 2
    assert workplace.overlays
    assert workplace.overlays[0].shape == (48, 64, 3)


def test_where_nobody_sets_up_the_episode_is_given_up_and_what_was_done_is_kept(
    workplace: Workplace, graph: GraphTrials, tmp_path: Path
) -> None:
    request = EvaluationRequest("000002", "reach", episodes=3, backend="robot")
    results: list[object] = []

    def run(trials: list[Trial]) -> list:
        workplace.confirms = len(results) < 1
        return graph.run(trials, TASK, operator=Operator(0.6), on_result=results.append)

    workplace.given_up.clear()
    with pytest.raises(TrialError, match="nobody set up the scene of episode e.* within 0.6 s"):
        evaluate(request, TrialSettings("reach"), run=run, journal=tmp_path / "journal")
    deadline = time.monotonic() + 10.0
    while not workplace.given_up:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert workplace.given_up == ["nobody set up the scene"]
    workplace.confirms = True
    operator = Operator(30.0)
    done = evaluate(
        request,
        TrialSettings("reach"),
        run=lambda trials: graph.run(trials, TASK, operator=operator, on_result=results.append),
        journal=tmp_path / "journal",
    )
    assert len(done.results) == len(results) == 3

    workplace.confirms = False
    asked = time.monotonic()
    with pytest.raises(Cancelled, match="while the scene of episode"):
        graph.run([Trial(0, 1, "000002")], TASK, operator=operator, cancelled=lambda: time.monotonic() > asked + 0.5)
