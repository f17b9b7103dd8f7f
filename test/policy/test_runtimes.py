"""Every runtime decides as the network does; which is used is measured once, that it agrees is looked at each time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from physai_ros.policy.alarm import Alarm
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.parity import PARITY, REDUCED_BOUND, Differences, differences, objection
from physai_ros.policy.probe import departure, probe
from physai_ros.policy.registry import MANIFEST, Policy, PolicyFileError, PolicyRegistry
from physai_ros.policy.runtimes import REDUCED, RUNTIMES, acting_by, choose, make, quickest

SENSES = EncoderShape.of_observation(4, 4, (20, 20, 6), features=16, cameras=("scene", "wrist"))
TOLD = EncoderShape.of_observation(4, 4, (20, 20, 6), 16, ("scene", "wrist"), blind_to=("task",), told=(0, 4))
ARCHITECTURES = {
    "plain": Architecture(20, 5, hidden_sizes=(16,)),
    "seeing": Architecture(SENSES.vector_size, 5, senses=SENSES),
    "told the goal": Architecture(TOLD.vector_size, 5, senses=TOLD),
    "looking back": Architecture(20, 5, 3, (16,), head="gaussian", window=10, use_sparse_attention=True),
}


def policy_of(folder, architecture: Architecture) -> Policy:
    registry = PolicyRegistry(folder)
    version = registry.add(
        RobotPolicyNetwork(architecture, seed=2), task="reach", action_axes=(0, 1, 2, 5), action_scale=(0.02,) * 4
    ).version
    return registry.load(version)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_can_compute_a_policy_agrees_with_it(tmp_path, name):
    policy = policy_of(tmp_path, ARCHITECTURES[name])
    acting, trial = choose(policy, cache=tmp_path / "cache.json")
    assert trial.chosen in trial.median_ms
    assert set(trial.median_ms) | set(trial.refused) == set(RUNTIMES)
    assert {"eager", "torchscript"} <= set(trial.median_ms)
    assert ("numpy" in trial.median_ms) == (name == "plain")
    assert max(trial.difference.values()) <= PARITY
    again, kept = choose(policy, cache=tmp_path / "cache.json")
    assert (kept.cached, kept.chosen, type(again)) == (True, trial.chosen, type(acting))
    policy.act_by(again)
    assert np.isfinite(
        policy.predict(np.zeros(policy.manifest.architecture.observation_size, np.float32)).actions
    ).all()


def test_a_runtime_that_departs_is_not_used(tmp_path, monkeypatch):
    policy, other = (policy_of(tmp_path, ARCHITECTURES["plain"]) for _ in range(2))
    other.network.action_heads.bias.data += 0.01
    assert differences(policy, make(policy, "torchscript")).largest <= PARITY
    assert differences(policy, make(other, "torchscript")).actions > 0.005
    monkeypatch.setattr("physai_ros.policy.runtimes.make", lambda given, *how: make(other, *how))
    with pytest.raises(PolicyFileError, match="departs by"):
        acting_by(policy, "torchscript")
    monkeypatch.undo()
    with pytest.raises(PolicyFileError, match="perceptrons alone"):
        acting_by(policy_of(tmp_path, ARCHITECTURES["seeing"]), "numpy")
    with pytest.raises(ValueError, match="eager"):
        make(policy, "abacus")


def test_reduced_precision_is_chosen_where_it_is_permitted_close_enough_and_worth_it(tmp_path):
    policy = policy_of(tmp_path, ARCHITECTURES["plain"])
    assert not set(choose(policy, cache=tmp_path / "cache.json")[1].refused) & set(REDUCED)
    refused = choose(policy, cache=tmp_path / "cache.json", precision="reduced")[1].refused
    assert all("not installed" in refused[name] or "--precision" in refused[name] for name in REDUCED)
    assert quickest({"numpy": 1.0, "onnx": 0.9, "onnx_int8": 0.85}) == "onnx"
    assert quickest({"numpy": 1.0, "onnx": 0.9, "onnx_int8": 0.7, "onnx_fp16": 0.8}) == "onnx_int8"
    close, far = Differences(0.01, 0.001, 0.002, 0.1, 0.3), Differences(0.03, 0.0, 0.0, 0.0, 0.0)
    assert objection(policy, close, reduced=True) == ""
    assert "departs by 0.1" in objection(policy, close, reduced=False)
    assert "at most 0.02" in objection(policy, far, reduced=True)
    assert objection(policy, Differences(*[np.nan] * 5), reduced=True)


def test_an_alarm_must_go_on_to_mean_what_it_meant(tmp_path):
    policy = policy_of(tmp_path, ARCHITECTURES["plain"])
    features = np.zeros((1, 16), np.float32)
    policy.alarm = Alarm(features, np.array([1.0, 0.1, 0.5]), 2.0, 0.05, 1, 10, policy.manifest.sha256)
    assert objection(policy, Differences(0.001, 0.0, 0.001, 0.1, 0.19), reduced=True) == ""
    assert "alarm by 0.11" in objection(policy, Differences(0.001, 0.0, 0.001, 0.1, 0.22), reduced=True)


def test_another_version_of_an_architecture_is_not_traced_again(tmp_path, monkeypatch):
    first, second = (policy_of(tmp_path, ARCHITECTURES["seeing"]) for _ in range(2))
    second.network.action_heads.bias.data += 0.01
    acting = make(first, "torchscript")
    monkeypatch.setattr(torch.jit, "trace", lambda *_given, **_how: pytest.fail("traced again"))
    assert differences(second, make(second, "torchscript")).largest <= PARITY
    assert differences(first, acting).largest <= PARITY  # each has its own weights


def test_a_cache_that_is_broken_is_measured_anew(tmp_path):
    policy = policy_of(tmp_path, ARCHITECTURES["plain"])
    cache = tmp_path / "cache.json"
    cache.write_text("[1")
    assert not choose(policy, cache=cache)[1].cached
    assert choose(policy, cache=cache)[1].cached


def test_weights_that_decide_otherwise_than_where_they_were_written_are_refused(tmp_path):
    policy = policy_of(tmp_path, ARCHITECTURES["seeing"])
    kept = policy.manifest.probe
    assert departure(policy.network, kept) == 0.0
    assert not policy.network.train().training or probe(policy.network) == kept
    path = tmp_path / policy.version / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"probe": [kept[0] + 0.01, *kept[1:]]}))
    with pytest.raises(PolicyFileError, match="decides otherwise"):
        PolicyRegistry(tmp_path).load(policy.version)
    path.write_text(json.dumps({name: value for name, value in manifest.items() if name != "probe"}))
    assert PolicyRegistry(tmp_path).load(policy.version).manifest.probe == []  # written before there were probes


def test_an_export_without_its_libraries_names_them(tmp_path, monkeypatch):
    from physai_ros.policy import onnx_file

    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(RuntimeError, match="install onnxscript"):
        onnx_file.export_onnx(policy_of(tmp_path, ARCHITECTURES["plain"]), tmp_path / "policy.onnx")
    assert not (tmp_path / "policy.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_decides_as_the_policy_does(tmp_path, name):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from physai_ros.policy.onnx_file import FILES, OnnxDecider, export_onnx

    torch.set_num_threads(1)
    policy = policy_of(tmp_path, ARCHITECTURES[name])
    folder, file = tmp_path / policy.version, FILES["full"]
    export_onnx(policy, folder / file)
    assert differences(policy, make(policy, "onnx", folder)).largest <= PARITY
    said = OnnxDecider(folder / file).description
    assert said["weights_sha256"] == policy.manifest.sha256
    assert said["cameras"] == (["scene", "wrist"] if name == "seeing" else [])
    other = policy_of(tmp_path, ARCHITECTURES[name])
    other_folder = tmp_path / other.version
    (other_folder / file).write_bytes((folder / file).read_bytes())
    object.__setattr__(other.manifest, "sha256", "0" * 64)
    with pytest.raises(PolicyFileError, match="other weights"):
        make(other, "onnx", other_folder)
    (other_folder / file).write_bytes(b"no model")
    with pytest.raises(PolicyFileError, match="no policy in ONNX"):
        make(other, "onnx", other_folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_of_reduced_precision_keeps_its_bound(tmp_path, name):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from physai_ros.policy.onnx_file import FILES, OnnxDecider, export_onnx

    torch.set_num_threads(1)
    policy = policy_of(tmp_path, ARCHITECTURES[name])
    folder = tmp_path / policy.version
    for runtime in REDUCED:
        precision = runtime.removeprefix("onnx_")
        export_onnx(policy, folder / FILES[precision], precision)
        assert OnnxDecider(folder / FILES[precision]).description["precision"] == precision
        assert PARITY < differences(policy, make(policy, runtime, folder)).decided <= REDUCED_BOUND
        assert acting_by(policy, runtime, folder)[1] == runtime
    trial = choose(policy, folder, cache=tmp_path / "cache.json", precision="reduced")[1]
    assert set(REDUCED) <= set(trial.median_ms)
    assert not set(choose(policy, folder, cache=tmp_path / "cache.json")[1].median_ms) & set(REDUCED)
