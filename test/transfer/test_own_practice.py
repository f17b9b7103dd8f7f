"""Practice after an arm's own episodes: whole rounds, marked as simulated, made of recordings and of nothing else."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters, shifted_arm
from physai_ros.tasks.catalog import load_task
from physai_ros.transfer import practice_process
from physai_ros.transfer.first_policy import NOISE
from physai_ros.transfer.own_practice import PHYSICS, OwnPractice, PracticePlan

TOLD = ("actuator_delay", "actuator_gain", "joint_friction")


@pytest.fixture(scope="module")
def recordings() -> list[Episode]:
    """What a shifted arm recorded while it was driven about, by whomever."""
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, physics=shifted_arm(0))
    episodes = []
    for index, seed in enumerate(scenario_seeds("train", 0, 2)):
        episode = rollout.run(scenario_of(task, seed), seed, Purpose.DEMONSTRATE, noise=NOISE)
        context = dataclasses.replace(episode.context, episode_id=f"train-{index}", purpose=Purpose.TRAIN)
        episodes.append(dataclasses.replace(episode, context=context))
    return episodes


def practice_of(folder: Path, episodes: list[Episode], **changes: object) -> OwnPractice:
    """Practice of a run that has these episodes."""
    store = EpisodeStore(folder / "episodes")
    for episode in episodes:
        store.write(episode)
    plan = PracticePlan(str(folder / "episodes"), str(folder / "practice"), "reach", "fr3_sim", 0, (2,), 3)
    return OwnPractice(dataclasses.replace(plan, **changes))


@pytest.fixture(scope="module")
def practised(recordings, tmp_path_factory) -> OwnPractice:
    practice = practice_of(tmp_path_factory.mktemp("run"), recordings)
    practice.practise(2)
    return practice


def test_a_round_is_whole_and_says_what_was_simulated(practised):
    folder = practised.plan.round(2)
    assert list(folder.parent.iterdir()) == [folder]
    store = EpisodeStore(folder, create=False)
    for summary in store.summaries().values():
        assert summary.context.purpose == Purpose.DEMONSTRATE and summary.outcome.success
        assert summary.metrics["simulated_actuator_delay"] > 0.0
    delays = [summary.metrics["simulated_actuator_delay"] for summary in store.summaries().values()]
    assert len(set(delays)) == len(store) == 3
    assert practised.over and not practised.due()


def test_what_is_simulated_is_nearer_to_the_arm_than_the_nominal_simulator(practised):
    said = json.loads((practised.plan.round(2) / PHYSICS).read_text())
    truth, nominal = shifted_arm(0).values(), PhysicsParameters().values()
    for name in TOLD:
        assert abs(said["physics"][name] - truth[name]) < 0.25 * abs(nominal[name] - truth[name]), name
    assert said["gap_fitted"] < 0.5 * said["gap_nominal"]
    assert said["recordings"] == ["train-0", "train-1"]


def test_practice_reads_nothing_but_recordings(practised, recordings, tmp_path, monkeypatch):
    """The same measurements give the same round, whatever else is written of the episodes or lies beside them."""
    lies = [
        dataclasses.replace(
            episode,
            context=dataclasses.replace(episode.context, scenario_json="", seed=7 + index, policy_version="999999"),
        )
        for index, episode in enumerate(recordings)
    ]
    practice = practice_of(tmp_path, lies)
    opened = _files_opened_below(tmp_path)
    practice.practise(2)
    assert opened and {path.relative_to(tmp_path).parts[0] for path in opened} <= {"episodes", "practice"}
    folder, other = practice.plan.round(2), practised.plan.round(2)
    assert (folder / PHYSICS).read_text() == (other / PHYSICS).read_text()
    pairs = zip(EpisodeStore(folder).episodes(), EpisodeStore(other).episodes(), strict=True)
    for one, same in pairs:
        for name, column in one.series.items():
            np.testing.assert_array_equal(column, same.series[name], err_msg=name)


def test_other_measurements_give_another_round(practised, recordings, tmp_path):
    episodes = [dataclasses.replace(episode, series=dict(episode.series)) for episode in recordings]
    for episode in episodes:
        episode.series["joint_positions"] = np.roll(episode.series["joint_positions"], 3, axis=0)
    practice = practice_of(tmp_path, episodes, demonstrations=1)
    practice.practise(2)
    said, before = (json.loads((each.plan.round(2) / PHYSICS).read_text()) for each in (practice, practised))
    assert said["physics"]["actuator_delay"] > before["physics"]["actuator_delay"] + 0.01


def test_a_round_is_due_when_the_arm_has_done_enough(recordings, tmp_path):
    practice = practice_of(tmp_path, recordings[:1], milestones=(1, 2, 3))
    assert practice.due() == 1
    store = EpisodeStore(tmp_path / "episodes")
    store.write(recordings[1])
    judged = dataclasses.replace(recordings[0].context, episode_id="judged", purpose=Purpose.EVALUATE)
    store.write(dataclasses.replace(recordings[0], context=judged))
    assert practice.due() == 2  # the one before it is left out, and an evaluation is nothing to learn from
    practice.plan.round(2).mkdir(parents=True)
    assert practice.due() == 0 and not practice.over


def test_before_there_is_a_store_nothing_is_due(tmp_path):
    plan = PracticePlan(str(tmp_path / "episodes"), str(tmp_path / "practice"), "reach", "fr3_sim", 0)
    assert OwnPractice(plan).due() == 0


def test_the_process_ends_when_nobody_holds_its_input(tmp_path):
    plan = PracticePlan(str(tmp_path / "episodes"), str(tmp_path / "practice"), "reach", "fr3_sim", 0)
    process = practice_process.start(plan)
    try:
        process.stdin.close()  # as the kernel does it where the other end has died
        assert process.wait(timeout=60.0) == 1
    finally:
        process.kill()
        process.wait()


_watched: list[tuple[Path, set[Path]]] = []


def _files_opened_below(folder: Path) -> set[Path]:
    """Filled with the files below `folder` that this process opens from now on."""
    if not _watched:
        sys.addaudithook(_note)
    opened: set[Path] = set()
    _watched.append((folder, opened))
    return opened


def _note(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str | Path):
        path = Path(arguments[0])
        for folder, opened in _watched:
            if path.is_relative_to(folder) and path.is_file():
                opened.add(path)
