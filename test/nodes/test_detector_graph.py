"""A success detector ends the episode that runs, and what it said is in the recording."""

import numpy as np
import pytest
import torch

from physai_ros import msg, srv
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.detector_file import write_detector
from physai_ros.feedback.glances import Outlook
from physai_ros.feedback.live_detector import LiveDetector
from physai_ros.feedback.success_detector import DetectorNetwork, Fold, SuccessDetector
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.tasks.catalog import load_task

SIZE, TASK = 16, load_task("reach")
NODES = ("driver_node", "sensor_fusion", "policy_inference", "safety_monitor", "feedback_collector", "episode_manager")


def certain(logit: float) -> SuccessDetector:
    """A detector that finds as much evidence in everything; failed episodes had none."""
    outlook = Outlook("reach", ("scene",), SIZE, tuple(range(6)))
    network = DetectorNetwork(outlook, 8)
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, logit)
    return SuccessDetector(outlook, (network,), (Fold(np.zeros(30), np.zeros(30)),))


def test_what_was_exposed_before_the_episode_and_a_silent_camera_do_not_count():
    live = LiveDetector(certain(5.0), TASK)
    state = SimulatedArm(RobotSpec.load("fr3_sim"), TASK).perceived_state()
    picture = np.zeros((24, 32, 3), dtype=np.uint8)
    live.begin((0.5, 0.0, 0.3), 10.0)
    assert not live.takes({"scene": (9.9, picture)})
    assert not live.takes({"wrist": (10.0, picture)})
    assert live.takes({"scene": (10.0, picture)})
    assert not live.look(state)  # one glance is not enough
    assert not live.takes({"scene": (10.05, picture)})
    assert live.takes({"scene": (10.1, picture)})
    assert live.look(state) and live.p_value == pytest.approx(1 / 31)
    live.begin((0.5, 0.0, 0.3), 20.0)
    assert live.p_value == 1.0 and not live.takes({"scene": (10.2, picture)})


def test_what_looks_like_no_success_is_none():
    live = LiveDetector(certain(-5.0), TASK)
    state = SimulatedArm(RobotSpec.load("fr3_sim"), TASK).perceived_state()
    live.begin((0.5, 0.0, 0.3), 0.0)
    for count in range(20):
        assert live.takes({"scene": (0.1 * count, np.zeros((24, 32, 3), dtype=np.uint8))})
        assert not live.look(state)
    assert live.p_value == 1.0


def test_it_ends_the_episode_that_runs(graph, make_registry, tmp_path):
    digest = write_detector(tmp_path / "detector.safetensors", certain(5.0)).digest
    registry, cameras = make_registry(tmp_path / "registry"), "['scene']"
    size = {"camera_height": SIZE, "camera_width": SIZE, "cameras": cameras}
    graph.start("driver_node", task="reach", mode="paced", camera_rate=20.0, **size)
    graph.start("sensor_fusion", task="reach", cameras=cameras, image_height=SIZE, image_width=SIZE)
    graph.start("policy_inference", task="reach", registry=registry)
    graph.start("safety_monitor")
    graph.start("feedback_collector", store=tmp_path / "store", cameras=cameras)
    graph.start("episode_manager", task="reach", registry=registry, detector=tmp_path / "detector.safetensors")
    graph.bring_up(*NODES)
    episodes = graph.hear(msg.EpisodeContext, "episode", qos.LATCHED)
    outcomes = graph.hear(msg.TaskOutcome, "task_outcome", qos.LATCHED)
    feedback = graph.hear(msg.EpisodeFeedback, "episode_feedback", qos.EVENT)
    seen = graph.hear(msg.Observation, "observation", qos.SENSOR)
    graph.wait(lambda: graph.node.count_publishers("episode_feedback") and len(seen) > 2)
    request = srv.StartEpisode.Request(purpose=int(Purpose.TRAIN))
    assert graph.call(srv.StartEpisode, "start_episode", request).accepted
    graph.wait(lambda: feedback, 60.0)
    assert episodes[-1].end_reason == f"detector {digest}"
    said = [each for each in outcomes if each.stage == "detector"]
    assert len(said) == 1 and said[0].done and said[0].success and feedback[0].success
    kept = EpisodeStore(tmp_path / "store").read(feedback[0].episode_id, pictures=True)
    assert kept.outcome.success and kept.outcome.stage == "detector"
    assert kept.outcome.evidence["p_value"] == pytest.approx(1 / 31)
    assert len(kept.pictures["scene"]) >= 2


def test_a_file_that_is_no_detector_is_refused_by_name(graph, make_registry, tmp_path):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    (tmp_path / "detector.safetensors").write_bytes(b"nothing")
    registry = make_registry(tmp_path / "registry")
    graph.start("episode_manager", task="reach", registry=registry, detector=tmp_path / "detector.safetensors")
    configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not graph.call(ChangeState, "episode_manager/change_state", configure).success
    _, errors = graph.stop("episode_manager")
    assert "is no success detector" in errors
