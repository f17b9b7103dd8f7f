"""The real process over DDS: it records what is published, and announces what is durable."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message

from physai_ros import msg
from physai_ros.experience.episode_messages import messages_of
from physai_ros.experience.messages import TOPIC_TYPES
from physai_ros.experience.store import EpisodeStore
from physai_ros.experience.timing_log import read_timing
from physai_ros.ros import qos

TYPES = {topic: getattr(msg, name.rsplit("/", 1)[-1]) for topic, name in TOPIC_TYPES.items()}
PROFILES = {"episode": qos.LATCHED, "task_outcome": qos.LATCHED}
WAIT = 20.0


class Graph:
    """Publishers of all that the collector hears, and its announcements."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.namespace = f"collector_{uuid.uuid4().hex[:8]}"
        self.announced: list[msg.EpisodeFeedback] = []
        self.process: subprocess.Popen | None = None
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("tester", namespace=self.namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.publishers = {
            topic: self.node.create_publisher(kind, topic, PROFILES.get(topic, qos.CONTROL_WRITER))
            for topic, kind in TYPES.items()
        }
        self.node.create_subscription(msg.EpisodeFeedback, "episode_feedback", self.announced.append, qos.EVENT)
        self._change = self.node.create_client(ChangeState, "feedback_collector/change_state")

    def start(self) -> None:
        """Start the process, configure and activate it, and wait until it hears us."""
        # A killed process is remembered by DDS for a while: what counts is what comes in addition.
        service = f"/{self.namespace}/feedback_collector/change_state"
        servers = self.node.count_services(service)
        readers = {topic: p.get_subscription_count() for topic, p in self.publishers.items()}
        writers = self.node.count_publishers(f"/{self.namespace}/episode_feedback")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "physai_ros.nodes.feedback_collector", "--ros-args"]
            + ["-r", f"__ns:=/{self.namespace}", "-p", f"store:={self.store}"]
            + ["-p", f"timing_log:={self.store.parent / 'timing.jsonl'}"]
        )
        self.until(lambda: self.node.count_services(service) > servers, "the node's services")
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            self.until(self._change.service_is_ready, "its answer")
            request = ChangeState.Request()
            request.transition.id = transition
            answer = self._change.call_async(request)
            self.until(answer.done, "a transition")
            assert answer.result().success
            if transition == Transition.TRANSITION_CONFIGURE:
                self.until(lambda: self._is_heard(readers, writers), "the node's subscriptions")

    def kill(self) -> None:
        """End the process at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _is_heard(self, readers: dict[str, int], writers: int) -> bool:
        heard = all(p.get_subscription_count() > readers[topic] for topic, p in self.publishers.items())
        return heard and self.node.count_publishers(f"/{self.namespace}/episode_feedback") > writers

    def play(self, stream: list[tuple[str, int, bytes]]) -> None:
        """Publish serialised messages, ten cycles in a burst."""
        for number, (topic, _, data) in enumerate(stream):
            self.publishers[topic].publish(deserialize_message(data, TYPES[topic]))
            if number % 30 == 29:
                self._executor.spin_once(timeout_sec=0.02)

    def until(self, condition, what: str) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come"
            if self.process is not None:
                assert self.process.poll() in (None, -signal.SIGKILL), "the node died"
            self._executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        """Stop the process and leave DDS."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(WAIT) == 0
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture
def graph(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    monkeypatch.setenv("ROS_DOMAIN_ID", os.environ.get("ROS_DOMAIN_ID", "44"))
    made = Graph(tmp_path / "store")
    yield made
    made.close()


def test_episodes_are_announced_once_they_are_readable(graph, make_episode):
    graph.start()
    for number, success in enumerate((True, False)):
        episode = make_episode(f"{number:06d}", success, "timeout", seconds=2.0)
        graph.play(list(messages_of(episode)))
        graph.until(lambda n=number: len(graph.announced) == n + 1, "an announcement")
        feedback = graph.announced[-1]
        assert (feedback.episode_id, feedback.success) == (episode.context.episode_id, success)
        assert feedback.failure_mode == ("none" if success else "timeout")
        assert (feedback.samples, feedback.lost_samples, feedback.complete) == (200, 0, True)
        assert (graph.store / feedback.path).is_file()
        read = EpisodeStore(graph.store).read(feedback.episode_id)
        for name, column in episode.series.items():
            assert read.series[name].tobytes() == column.tobytes(), name
    assert EpisodeStore(graph.store).problems() == {}


def test_what_the_nodes_of_its_namespace_tell_of_their_timing_is_kept(graph):
    told = graph.node.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENT)
    graph.start()
    graph.until(told.get_subscription_count, "the node's subscription")
    values = {
        "cycles": "100",
        "missed_deadlines": "2",
        "deadline_ms": "10.0",
        "cycle_p50_ms": "1.5",
        "cpu_share": "0.1",
    }
    pairs = [KeyValue(key=name, value=value) for name, value in values.items()]
    elsewhere = DiagnosticStatus(name="/elsewhere/driver_node", hardware_id="driver_node", values=pairs)
    here = DiagnosticStatus(name=f"/{graph.namespace}/safety_monitor", hardware_id="safety_monitor", values=pairs)
    log = graph.store.parent / "timing.jsonl"

    def is_kept() -> bool:
        told.publish(DiagnosticArray(status=[elsewhere, here]))
        return bool(read_timing(log))

    graph.until(is_kept, "the log")
    (sample,) = read_timing(log)
    assert (sample.node, sample.cycles, sample.missed_deadlines) == ("safety_monitor", 100, 2)
    assert (sample.deadline_ms, sample.cycle_p50_ms) == (10.0, 1.5)


def test_a_kill_loses_nothing_announced_and_the_rest_comes_back(graph, make_episode):
    graph.start()
    graph.play(list(messages_of(make_episode("a", True, seconds=1.0))))
    graph.until(lambda: graph.announced, "an announcement")
    graph.play(list(messages_of(make_episode("b", True, seconds=3.0)))[:-2])
    partial = graph.store / "episodes" / "b.mcap.partial"
    size = partial.stat().st_size if partial.exists() else 0
    graph.until(lambda: partial.exists() and partial.stat().st_size > size, "the recording's flush")
    graph.kill()
    graph.start()
    graph.until(lambda: len(graph.announced) == 2, "the recovered episode's announcement")
    feedback = graph.announced[-1]
    assert (feedback.episode_id, feedback.complete) == ("b", False)
    assert EpisodeStore(graph.store).ids() == ["a", "b"]
    assert len(EpisodeStore(graph.store).read("b")) == feedback.samples > 0
    graph.play(list(messages_of(make_episode("c", True, seconds=1.0))))
    graph.until(lambda: len(graph.announced) == 3, "an announcement")
    assert graph.announced[-1].complete
