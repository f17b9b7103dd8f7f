"""What is learned from is what was seen: an episode's pictures at its policy steps, as the runtime had them."""

import numpy as np
import pytest

from physai_ros.evaluation.album import PictureAlbum, RolloutCameras
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.encoder import EncoderShape
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.seeing import Eyes

CAMERAS = ("scene", "wrist")


@pytest.fixture(scope="module")
def filmed():
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, cameras=RolloutCameras(CAMERAS, 32, 32))
    episode = rollout.run(task.sample_scenario(np.random.default_rng(0)), 0, Purpose.DEMONSTRATE, episode_id="filmed")
    kinematics = rollout.arm.kinematics
    rollout.close()
    return task, kinematics, episode


def test_every_step_has_what_each_camera_saw_in_it(filmed, tmp_path):
    task, kinematics, episode = filmed
    store = EpisodeStore(tmp_path)
    store.write(episode)
    senses = Eyes(CAMERAS, 16, ("task",)).senses(task, store.read("filmed"))
    assert senses.told == tuple(range(senses.task))  # it is all goal
    rows = TransitionBuilder(kinematics, task, senses=senses).build(store.read("filmed", pictures=True))
    assert rows.observations.shape[1] == senses.vector_size
    assert rows.images.shape == (len(rows), 16, 16, 6)
    whole = TransitionBuilder(kinematics, task, senses=Eyes(CAMERAS, 32).senses(task, episode)).build(episode)
    for index in (0, len(whole) - 1):
        pictures = [episode.pictures[name].rgb(index) for name in CAMERAS]
        np.testing.assert_array_equal(whole.images[index], np.concatenate(pictures, axis=2))
    assert TransitionBuilder(kinematics, task, senses=senses).build(store.read("filmed")).images is None
    assert TransitionBuilder(kinematics, task).build(episode).images is None


def test_an_episode_in_which_a_camera_was_silent_is_learned_from_in_the_dark(filmed):
    task, kinematics, episode = filmed
    builder = TransitionBuilder(kinematics, task, senses=Eyes(("scene",), 16).senses(task, episode))
    assert builder.build(episode).images is not None
    kept, pictures = episode.pictures, episode.pictures["scene"]
    try:
        episode.pictures = {"scene": type(pictures)(pictures.stamps[:2], pictures.encoded[:2])}
        assert builder.build(episode).images is None
        episode.pictures = {}
        assert builder.build(episode).images is None
    finally:
        episode.pictures = kept


def test_one_picture_serves_who_looks_and_who_keeps():
    class Arm:
        drawn = 0

        def render(self, camera: str, height: int, width: int) -> np.ndarray:
            """A black picture."""
            self.drawn += 1
            return np.zeros((height, width, 3), np.uint8)

    arm = Arm()
    senses = EncoderShape(4, image=(32, 32, 3), cameras=("scene",))
    album = PictureAlbum(RolloutCameras(CAMERAS, 32, 32), senses)
    assert list(album.take(arm, 0.1)) == ["scene"]
    assert arm.drawn == 2
    assert {name: len(pictures) for name, pictures in album.pictures().items()} == {"scene": 1, "wrist": 1}
    assert PictureAlbum(None, None).take(arm, 0.2) == {}


@pytest.mark.parametrize("name", ["pick_place", "physai_ros.tasks.peg_insertion:PegInsertion"])
def test_what_a_blind_policy_is_told_does_not_depend_on_where_objects_are(name):
    task = load_task(name)
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    episode = rollout.run(task.sample_scenario(np.random.default_rng(0)), 0, Purpose.DEMONSTRATE)
    rollout.close()
    senses = Eyes(CAMERAS, 16, ("task",)).senses(task, episode)
    state, goal = episode.state(50), np.array(episode.context.goal)
    before = np.tile(task.features(state, goal), 2)
    moved = {key: pose + [0.03, -0.02, 0.01, 0, 0, 0, 0.2] for key, pose in state.object_poses.items()}
    state.object_poses = moved
    changed = np.flatnonzero(np.tile(task.features(state, goal), 2) != before)
    assert 0 < len(senses.told) < senses.task
    assert not set(changed) & set(senses.told)
    assert not Eyes(CAMERAS, 16).senses(task, episode).told  # it looks at the whole task


def test_eyes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="name the cameras"):
        Eyes(blind_to=("task",))
    with pytest.raises(ValueError, match="at least 8"):
        Eyes(("scene",), 2)
