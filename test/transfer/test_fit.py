"""Fitting physics to recordings: an arm from inside the model class is found, and what cannot be told is said."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.simulation.twins import Twin
from physai_ros.tasks.catalog import load_task
from physai_ros.transfer.command_replay import CommandReplay, channels_of
from physai_ros.transfer.fit import fit_physics, gap_of
from physai_ros.transfer.recorded_arm import fit_to_recordings
from physai_ros.transfer.sensor_noise import sensor_noise

SPEC = RobotSpec.load("fr3_sim")


def recordings(twin: Twin, task_name: str, count: int, first: int = 0) -> list[Episode]:
    """What an arm recorded while somebody drove it about."""
    task = load_task(task_name)
    rollout = Rollout(SPEC, task, physics=twin.physics, filtered=False, make_arm=partial(twin.arm, SPEC))
    noise = DemonstrationNoise(0.3, 0.5)
    return [
        rollout.run(scenario_of(task, seed), seed, Purpose.DEMONSTRATE, noise=noise)
        for seed in scenario_seeds("train", 0, count, first)
    ]


@pytest.fixture(scope="module")
def replay() -> CommandReplay:
    return CommandReplay(SPEC, load_task("reach"))


@pytest.fixture(scope="module")
def twin() -> Twin:
    return Twin.draw(2, inside=True)


@pytest.fixture(scope="module")
def reached(twin) -> list[Episode]:
    return recordings(twin, "reach", 4)


def test_replaying_what_the_nominal_arm_recorded_gives_it_back(replay):
    (episode,) = recordings(Twin(0, PhysicsParameters(), Twin.draw(0, inside=True).beyond), "reach", 1)
    recorded, again = channels_of(episode), replay.run(episode, PhysicsParameters())
    np.testing.assert_allclose(again["joints"].values, recorded["joints"].values, atol=1e-9)
    assert replay.end(episode).distance(PhysicsParameters()) == pytest.approx(recorded["result"].values[0, 0], abs=1e-3)
    assert gap_of(replay, [episode], PhysicsParameters()) < 0.2


def test_replays_change_with_the_delay_smoothly(replay, reached):
    """Also between the integration steps that the simulator delays by, or no slope would be right."""
    joints = [
        replay.run(reached[0], PhysicsParameters(actuator_delay=0.050 + 0.0005 * index))["joints"].values
        for index in range(9)
    ]
    steps = [float(np.linalg.norm(after - before)) for before, after in pairwise(joints)]
    assert max(steps) < 1.3 * min(steps)


def test_the_end_of_an_episode_is_as_unsure_as_its_sensors(replay, reached):
    end = replay.end(reached[0])
    sensors = {"encoder_noise": 0.001}
    assert end.noise({}) == 0.0
    assert 0.0001 < end.noise(sensors) < 0.001
    assert end.noise({"encoder_noise": 0.002}) == pytest.approx(2.0 * end.noise(sensors), rel=0.1)


def test_an_arm_from_inside_the_model_class_is_found(replay, twin, reached):
    fit = fit_physics(
        replay, reached, names=("joint_friction", "actuator_gain", "actuator_delay", "payload"), iterations=5
    )
    truth = twin.physics.values()
    assert fit.gap_after < 0.5 * fit.gap_before
    assert fit.values["actuator_delay"] == pytest.approx(truth["actuator_delay"], abs=0.02)
    assert fit.values["encoder_noise"] == pytest.approx(truth["encoder_noise"], rel=0.15)
    low, high = fit.interval("actuator_gain")
    assert low < fit.values["actuator_gain"] < high
    assert fit.physics().actuator_delay == fit.values["actuator_delay"]


def test_a_parameter_that_recordings_cannot_tell_is_flagged(replay, reached):
    fit = fit_physics(replay, reached[:1], names=("actuator_delay", "grip_force", "object_friction"), iterations=1)
    assert {"grip_force", "object_friction"} <= set(fit.unidentified)
    assert "actuator_delay" not in fit.unidentified


def test_noise_is_measured_and_not_fitted(twin, reached):
    noise = sensor_noise(reached)
    assert noise["force_noise"] == pytest.approx(twin.physics.force_noise, rel=0.15)
    assert "object_noise" not in noise


def test_no_recording_is_refused(replay):
    with pytest.raises(ValueError, match="no recording"):
        fit_physics(replay, [])


def test_a_store_of_recordings_is_fitted_and_judged_on_what_the_fit_did_not_see(reached):
    found = fit_to_recordings(SPEC, load_task("reach"), reached)
    assert (found.recordings, found.held_out) == (4, 1)
    assert found.held_out_fitted < found.held_out_nominal
    with pytest.raises(ValueError, match="0 of 4 recordings are of the task 'pick_place'"):
        fit_to_recordings(SPEC, load_task("pick_place"), reached)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_fitted_simulator_predicts_unseen_recordings_better(replay):
    """Twins beyond the model class: on at least nine of ten."""
    better = 0
    for seed in range(10):
        twin = Twin.draw(seed)
        fit = fit_physics(replay, recordings(twin, "reach", 4))
        unseen = recordings(twin, "reach", 4, first=100)
        better += gap_of(replay, unseen, fit.physics()) < gap_of(replay, unseen, PhysicsParameters())
    assert better >= 9


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_intervals_cover_the_truth_at_their_rate(replay):
    """Thirty twins from inside the model class, what was identified of each.

    A scenario's seed is also that of the noise: had all twins the same scenarios, thirty errors would be one. A right
    95 % covers a parameter in fewer than 25 of 30 in one case of 300; all of them together, since one twin's errors
    are alike, in fewer than 90 % in about one of 50.
    """
    covered: dict[str, list[bool]] = {}
    for seed in range(30):
        twin = Twin.draw(seed, inside=True)
        fit = fit_physics(replay, recordings(twin, "reach", 5, first=200 + 5 * seed))
        truth = twin.physics.values()
        for name in set(fit.names) - set(fit.unidentified):
            low, high = fit.interval(name)
            covered.setdefault(name, []).append(low <= truth[name] <= high)
    assert np.mean([hit for hits in covered.values() for hit in hits]) >= 0.9
    for name, hits in covered.items():
        assert np.mean(hits) >= 25 / 30, f"{name}: {sum(hits)} of {len(hits)}"
