"""The rig's task: always fast, never held."""

import numpy as np
import pytest

from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.robot.cartesian_reference import leash_for
from physai_ros.robot.command import CommandSource
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task


def test_its_expert_goes_round_at_the_speed_that_faults_are_injected_at():
    task = load_task("physai_ros.tasks.laps:Laps")
    task.laps = 2
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    velocities, sources = [], []

    def look(_state, command) -> None:
        velocities.append(command.velocities)
        sources.append(command.source)

    scenario = task.sample_scenario(np.random.default_rng(0))
    episode = rollout.run(scenario, 0, Purpose.DEMONSTRATE, on_cycle=look)
    rollout.close()
    assert episode.outcome.success
    assert set(sources) == {CommandSource.OPERATOR}
    share = np.abs(np.array(velocities)[50:]) / rollout.spec.velocity_limits
    assert share.max() <= 1.0 + 1e-6
    assert (share.max(axis=1) >= 0.8).mean() > 0.05


def test_a_scenario_it_does_not_know_is_refused():
    with pytest.raises(ValueError, match="takes radius"):
        load_task("physai_ros.tasks.laps:Laps").scenario({"nonsense": 1.0})


def test_the_leash_is_longer_than_a_step_and_counts_displacements_alone():
    assert leash_for((0, 1, 2, 5), (0.025, 0.025, 0.025, 0.4)) == 0.05
    assert leash_for((0, 5), (0.09, 3.0)) == pytest.approx(0.135)
