"""The trainer as a real process: it learns from a store, can be paused, and survives being killed."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest
from std_srvs.srv import SetBool

from physai_ros import msg
from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.simulation.physics import shifted_arm
from physai_ros.tasks.catalog import load_task


def test_it_offers_a_candidate_pauses_and_goes_on_after_a_kill(graph, tmp_path):
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    store = EpisodeStore(tmp_path / "episodes")
    for seed in scenario_seeds("warm_start", 0, 3):
        scenario = scenario_of(task, seed)
        noise = DemonstrationNoise(0.2)
        store.write(rollout.run(scenario, seed, Purpose.DEMONSTRATE, episode_id=f"demonstration-{seed}", noise=noise))
    parameters = {
        "task": "reach",
        "warm_start_updates": 200,
        "store": tmp_path / "episodes",
        "registry": tmp_path / "registry",
        "checkpoint": tmp_path / "trainer.safetensors",
    }
    candidates = graph.hear(msg.Candidate, "candidate", qos.EVENT)
    statuses = graph.hear(msg.TrainingStatus, "training_status", qos.EVENT)
    process = graph.start("sparse_trainer", **parameters)
    graph.bring_up("sparse_trainer")
    assert graph.call(SetBool, "pause_training", SetBool.Request(data=True)).success
    graph.wait(lambda: statuses and statuses[-1].state == "paused")
    paused = statuses[-1].updates
    graph.call(SetBool, "pause_training", SetBool.Request(data=False))
    graph.wait(lambda: candidates, 60.0)
    graph.wait(lambda: statuses[-1].state == "waiting")
    learned = statuses[-1]
    assert learned.updates > paused
    assert learned.episodes == 3
    assert abs(learned.activation_rate - 0.06) < 0.02
    assert PolicyRegistry(tmp_path / "registry").load(candidates[0].version).manifest.sha256 == candidates[0].sha256

    process.send_signal(signal.SIGKILL)
    process.communicate()
    # What a process that died without a word served is taken for alive for twenty seconds more, in its own namespace.
    with graph.elsewhere() as other:
        statuses = other.hear(msg.TrainingStatus, "training_status", qos.EVENT)
        other.start("sparse_trainer", **parameters)
        other.bring_up("sparse_trainer")
        other.wait(lambda: statuses)
        assert (statuses[-1].state, statuses[-1].updates, statuses[-1].episodes) == ("waiting", learned.updates, 3)
        code, _ = other.stop("sparse_trainer")
    assert code == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_learns_from_practice_after_the_arms_own_episodes(graph, tmp_path):
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, physics=shifted_arm(0))
    store = EpisodeStore(tmp_path / "episodes")
    for index, seed in enumerate(scenario_seeds("warm_start", 0, 12)):
        scenario = scenario_of(task, seed)
        episode = rollout.run(
            scenario, seed, Purpose.DEMONSTRATE, episode_id=f"episode-{index:02d}", noise=DemonstrationNoise(0.2)
        )
        purpose = Purpose.DEMONSTRATE if index < 2 else Purpose.TRAIN
        context = dataclasses.replace(episode.context, purpose=purpose)
        store.write(dataclasses.replace(episode, context=context))
    statuses = graph.hear(msg.TrainingStatus, "training_status", qos.EVENT)
    process = graph.start(
        "sparse_trainer",
        task="reach",
        practice="true",
        warm_start_updates=20,
        updates_per_episode=1,
        store=tmp_path / "episodes",
        registry=tmp_path / "registry",
        checkpoint=tmp_path / "trainer.safetensors",
    )
    graph.bring_up("sparse_trainer")
    graph.wait(lambda: statuses and statuses[-1].episodes == 12 + 100 and statuses[-1].state == "waiting", 900.0)
    assert EpisodeStore(tmp_path / "trainer.practice" / "after-00010", create=False)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    graph.wait(lambda: not Path(f"/proc/{child}").exists(), 30.0)
