"""What training makes of episodes is where the tool was, in the colours of its weights; and it can be drawn."""

import numpy as np
import pytest
from PIL import Image

from physai_ros import msg
from physai_ros.cli.scene import draw_markers
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.learning_markers import EPISODES, LearningMarkers
from physai_ros.ros.safety_markers import SafetyMarkers
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.report import SafetyReport
from physai_ros.tasks.catalog import load_task
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.weighting import step_weights

SPEC = RobotSpec.load("fr3_sim")


@pytest.fixture(scope="module")
def lived():
    task = load_task("reach")
    rollout = Rollout(SPEC, task)
    scenario = task.sample_scenario(np.random.default_rng(1))
    episode = rollout.run(scenario, 1, Purpose.DEMONSTRATE)
    builder = TransitionBuilder(rollout.arm.kinematics, task)
    yield episode, builder.build(episode), rollout.arm.kinematics
    rollout.close()


def shown(markers: LearningMarkers) -> dict[str, list]:
    by_name: dict[str, list] = {}
    for marker in markers.array(msg.TrainingStatus(state="training", episodes=3, health="learning"), 2.5).markers:
        assert marker.header.frame_id == "base_link"
        assert marker.header.stamp.sec == 2
        by_name.setdefault(marker.ns.removeprefix("learning/"), []).append(marker)
    return by_name


def test_steps_are_where_the_tool_was_and_coloured_by_weight(lived):
    episode, transitions, _ = lived
    markers = LearningMarkers("base_link")
    assert set(shown(markers)) == {"training"}
    markers.add(episode, transitions)
    (points,) = shown(markers)["steps"]
    assert len(points.points) == len(points.colors) == len(transitions)
    tool = episode.series["ee_position"]
    for point in points.points:
        assert np.linalg.norm(tool - [point.x, point.y, point.z], axis=1).min() < 1e-12
    first, last = points.points[0], points.points[-1]
    assert [first.x, first.y, first.z] == pytest.approx(tool[0].tolist())
    assert np.linalg.norm(tool[-1] - [last.x, last.y, last.z]) < 0.05
    grey = sum(abs(c.r - c.b) < 1e-6 for c in points.colors)
    assert grey == (step_weights(transitions) == 0).sum()
    assert "training: 3 episodes" in shown(markers)["training"][0].text


def test_failures_are_named_where_they_ended(lived):
    episode, transitions, _ = lived
    markers = LearningMarkers("base_link")
    assert "failures" not in shown(markers)
    failed = type(episode)(**{**vars(episode), "outcome": type(episode.outcome)(False, 0.0, "unstable_grasp")})
    transitions.success[:] = 0
    for _ in range(EPISODES + 5):
        markers.add(failed, transitions)
    made = shown(markers)
    assert len(made["failures"]) == EPISODES
    assert made["failure_modes"][0].text == "unstable grasp"
    end = made["failures"][0].pose.position
    assert [end.x, end.y, end.z] == pytest.approx(episode.series["ee_position"][-1].tolist())
    colours = {(round(c.r, 1), round(c.g, 1)) for c in made["steps"][0].colors}
    assert (1.0, 0.5) in colours  # what led to the failure is selected
    transitions.success[:] = 1


def test_a_scene_can_be_drawn(lived, tmp_path):
    episode, transitions, kinematics = lived
    markers = LearningMarkers("base_link")
    markers.add(episode, transitions)
    safety = SafetyMarkers("base_link", SafetyLimits.from_spec(SPEC), kinematics)
    both = [*safety.array(SafetyReport(), None, None, 0.0).markers, *markers.array(msg.TrainingStatus(), 0.0).markers]
    draw_markers(both, tmp_path / "both.png")
    draw_markers([], tmp_path / "none.png")
    pictures = [np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("both.png", "none.png")]
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).sum() > 5000
