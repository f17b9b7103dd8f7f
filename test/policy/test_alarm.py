"""What an alarm says of decisions, and how it is kept."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.activation import PolicyFileError
from physai_ros.policy.alarm import SCORES, Alarm, AlarmWatch
from physai_ros.policy.alarm_file import ALARM
from physai_ros.policy.network import Architecture, Prediction, RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.policy.runtime import PolicyRuntime


def make_alarm(reference=None, **changes: object) -> Alarm:
    fields = {
        "reference": np.zeros((1, 4)) if reference is None else reference,
        "scales": np.ones(3),
        "threshold": 2.0,
        "false_alarm_rate": 0.1,
        "reference_episodes": 4,
        "calibration_episodes": 20,
        "weights_sha256": "0" * 64,
        "window": 1,
    }
    return Alarm(**{**fields, **changes})


def decision(features=0.0, spread=0.0, actions=None) -> Prediction:
    actions = np.zeros((1, 2)) if actions is None else actions
    return Prediction(actions, 0.5, spread, np.full(4, features, dtype=np.float32))


@settings(deadline=None)
@given(st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4), st.integers(1, 50))
def test_the_distance_is_that_to_the_nearest_row(point, rows):
    reference = np.random.default_rng(rows).normal(size=(rows, 4))
    expected = np.linalg.norm(reference - np.array(point), axis=1).min()
    assert make_alarm(reference).distance(np.array(point, dtype=np.float32)) == pytest.approx(expected, abs=2e-3)


@settings(deadline=None)
@given(st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.floats(0.1, 10.0))
def test_the_level_is_the_largest_scaled_score_over_the_threshold(distance, spread, scale):
    watch = AlarmWatch(make_alarm(scales=[1.0, scale, 1.0]))
    level = watch.update(decision(distance / 2.0, spread))
    assert level == pytest.approx(max(distance, spread / scale) / 2.0, abs=1e-3)
    if abs(distance - spread / scale) > 0.01:
        assert watch.cause == ("observation" if distance > spread / scale else "spread")


def test_scores_are_averaged_over_the_window_and_forgotten_at_a_reset():
    watch = AlarmWatch(make_alarm(window=3))
    levels = [watch.update(decision(spread=spread)) for spread in (6.0, 0.0, 0.0, 0.0)]
    assert levels == pytest.approx([3.0, 1.5, 1.0, 0.0])
    watch.update(decision(spread=6.0))
    watch.reset()
    assert watch.update(decision()) == 0.0


def test_a_chunk_that_contradicts_the_one_before_is_a_jump():
    plan = np.arange(8.0).reshape(4, 2) / 10.0
    steady = np.vstack([plan[1:], [[0.9, 0.9]]])
    watch = AlarmWatch(make_alarm())
    assert watch.update(decision(actions=plan)) == 0.0
    assert watch.update(decision(actions=steady)) == 0.0
    assert watch.update(decision(actions=steady[::-1])) > 0.0
    assert watch.cause == "jump"


def test_a_score_that_is_no_number_raises_the_alarm():
    assert AlarmWatch(make_alarm()).update(decision(spread=float("nan"))) == float("inf")


def test_a_decision_without_features_is_refused():
    with pytest.raises(ValueError, match="features"):
        AlarmWatch(make_alarm()).update(Prediction(np.zeros((1, 2)), 0.5, 0.1))


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": np.zeros((0, 4))},
        {"reference": np.full((2, 4), np.nan)},
        {"scales": [1.0, 0.0, 1.0]},
        {"threshold": float("inf")},
        {"false_alarm_rate": 1.0},
        {"window": 0},
    ],
)
def test_an_alarm_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValueError, match="expected"):
        make_alarm(**changes)


@pytest.fixture
def registry(tmp_path):
    registry = PolicyRegistry(tmp_path)
    network = RobotPolicyNetwork(Architecture(observation_size=9, action_size=5, hidden_sizes=(4,)), seed=1)
    manifest = registry.add(network, task="t", action_axes=(0, 1, 2, 5), action_scale=(0.02, 0.02, 0.02, 0.1))
    registry.set_alarm(manifest.version, make_alarm(weights_sha256=manifest.sha256))
    return registry


def test_an_alarm_comes_back_with_its_version(registry):
    alarm = registry.load("000001").alarm
    expected = make_alarm(weights_sha256=registry.manifest("000001").sha256)
    assert (alarm.reference == expected.reference).all()
    assert (alarm.scales == expected.scales).all()
    assert (alarm.threshold, alarm.false_alarm_rate, alarm.window) == (2.0, 0.1, 1)
    manifest = json.loads((registry.folder / "000001" / ALARM).read_text())
    assert manifest["scores"] == list(SCORES)
    assert (manifest["reference_episodes"], manifest["calibration_episodes"]) == (4, 20)


def test_a_new_alarm_takes_the_place_of_the_old_one(registry):
    sha256 = registry.manifest("000001").sha256
    registry.set_alarm("000001", make_alarm(np.ones((7, 4)), weights_sha256=sha256))
    assert len(registry.load("000001").alarm.reference) == 7
    assert len(list((registry.folder / "000001").glob("alarm-*"))) == 1


def test_a_version_without_an_alarm_has_none(registry):
    (registry.folder / "000001" / ALARM).unlink()
    assert registry.load("000001").alarm is None


def corrupt_data(folder):
    data = next(folder.glob("alarm-*"))
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")


def other_weights(folder):
    path = folder / ALARM
    path.write_text(path.read_text().replace(json.loads(path.read_text())["weights_sha256"], "1" * 64))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (corrupt_data, "corrupted"),
        (lambda folder: next(folder.glob("alarm-*")).unlink(), "lacks its data"),
        (lambda folder: (folder / ALARM).write_text("[]"), "no alarm"),
        (lambda folder: (folder / ALARM).write_text("{"), "no alarm"),
        (other_weights, "other weights"),
    ],
)
def test_a_damaged_alarm_is_refused_with_what_to_do(registry, damage, said):
    damage(registry.folder / "000001")
    with pytest.raises(PolicyFileError, match=f"{said}.*calibrate it again"):
        registry.load("000001")


def test_an_alarm_of_other_weights_is_not_taken(registry):
    with pytest.raises(PolicyFileError, match="other weights"):
        registry.set_alarm("000001", make_alarm())


def test_a_proposal_carries_the_level_of_the_alarm_and_without_one_a_spread_that_never_alarms(
    tmp_path, spec, kinematics, features, make_state
):
    def runtime() -> PolicyRuntime:
        return PolicyRuntime(spec, kinematics, features, (0, 1, 2, 5), (0.025, 0.025, 0.025, 0.12))

    size = ObservationEncoder(kinematics, features).encode(make_state(0), np.array([0.5, 0.2, 0.1])).size
    registry = PolicyRegistry(tmp_path)
    network = RobotPolicyNetwork(Architecture(observation_size=size, action_size=5, hidden_sizes=(8,)), seed=1)
    network.action_heads.bias.data += torch.linspace(-100.0, 100.0, 15)  # the members disagree wildly
    manifest = registry.add(network, task="t", action_axes=(0, 1, 2, 5), action_scale=(0.025, 0.025, 0.025, 0.12))

    def uncertainty() -> tuple[float, str]:
        acting = runtime()
        acting.load(registry, manifest.version)
        acting.start_episode(np.array([0.5, 0.2, 0.1]), "e", 0)
        action = acting.act(make_state(0))
        assert acting.last_chunk.uncertainty == action.uncertainty
        return action.uncertainty, acting.alarm_cause

    assert uncertainty() == (1.0, "")
    alarm = make_alarm(np.full((1, 8), 9.0), scales=[1.0, 1e9, 1.0], weights_sha256=manifest.sha256)
    registry.set_alarm(manifest.version, alarm)
    level, cause = uncertainty()
    assert level > 1.0
    assert cause == "observation"
