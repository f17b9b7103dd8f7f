"""The policy that a run starts from, and learning in one process."""

from pathlib import Path

import pytest

from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.training.checkpoint import load_checkpoint
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.trainer import SparseTrainer
from physai_ros.transfer.first_policy import first_policy, warm_start
from physai_ros.transfer.learning_run import LearningPlan, learn_on_arm

CONFIG = TrainerConfig(seed=3, warm_start_updates=60, updates_per_episode=3)


def ignore(_done: int, _total: int) -> None:
    pass


@pytest.fixture(scope="module")
def rollout():
    arm = Rollout(RobotSpec.load("fr3_sim"), load_task("reach"))
    yield arm
    arm.close()


@pytest.fixture
def started(rollout, tmp_path):
    told = []
    first_policy(
        rollout,
        tmp_path,
        CONFIG,
        demonstrations=3,
        seed=3,
        noise=None,
        on_demonstration=lambda done, total: told.append((done, total)),
        on_update=ignore,
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    return tmp_path


def resumed(folder: Path, rollout: Rollout) -> SparseTrainer:
    """The trainer whose state the folder holds, its samples made again from the episodes."""
    store = EpisodeStore(folder / "episodes", create=False)
    builder = TransitionBuilder(rollout.arm.kinematics, rollout.task)
    return load_checkpoint(folder / "trainer.safetensors", lambda key: builder.build(store.read(key)))


def test_folder_is_ready_for_a_graph(rollout, started):
    store = EpisodeStore(started / "episodes", create=False)
    assert [episode.context.purpose for episode in store.episodes()] == [Purpose.DEMONSTRATE] * 3
    registry = PolicyRegistry(started / "registry")
    version, generation = registry.current()
    assert version == "000001" and generation == 1
    registry.load(version)
    trainer = resumed(started, rollout)
    assert trainer.counters.updates == 60
    assert len(trainer.episode_ids) == 3


def test_no_demonstration_says_what_to_do():
    task = load_task("reach")
    builder = TransitionBuilder(Kinematics(RobotSpec.load("fr3_sim")), task)
    with pytest.raises(ValueError, match="physai collect --task reach"):
        warm_start([], task, builder, CONFIG, ignore)


@pytest.mark.parametrize("learn", [True, False])
def test_an_arm_of_the_experiment_differs_in_what_its_plan_says(rollout, started, learn):
    trainer = resumed(started, rollout)
    registry = PolicyRegistry(started / "registry")
    judged, told = [], []

    def judge(candidate: str, current: str) -> bool:
        judged.append((candidate, current))
        return len(judged) == 1

    plan = LearningPlan(episodes=4, candidate_every=2, operator=True, learn=learn, seed=3)
    result = learn_on_arm(rollout, trainer, registry, plan, judge, told.append)
    assert told == [1, 2, 3, 4]
    assert len(result.own_success) == 4
    if learn:
        # The second candidate was tested against the first, and refused.
        assert judged == [("000002", "000001"), ("000003", "000002")]
        assert result.version == registry.current()[0] == "000002"
        assert trainer.counters.updates == 60 + 4 * 3
    else:
        assert not judged
        assert result.version == "000001"
        assert trainer.counters.updates == 60


@pytest.mark.parametrize("rehearse", [True, False])
def test_what_is_tried_in_the_simulator_is_counted_and_is_no_episode(rollout, started, rehearse):
    trainer, registry = resumed(started, rollout), PolicyRegistry(started / "registry")
    plan = LearningPlan(episodes=3, candidate_every=9, learn=False, seed=3, rehearse=rehearse)
    result = learn_on_arm(rollout, trainer, registry, plan, lambda _candidate, _current: False)
    assert len(result.own_success) == 3
    assert (result.rehearsals > 0) == rehearse
