"""The registry: whole versions or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from physai_ros.policy.acting import ready_to_act
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.registry import PolicyFileError, PolicyRegistry

AXES, SCALE = (0, 1, 2, 5), (0.025, 0.025, 0.025, 0.12)


@pytest.fixture
def registry(tmp_path) -> PolicyRegistry:
    return PolicyRegistry(tmp_path / "registry")


def add(registry: PolicyRegistry, seed: int = 0, size: int = 9) -> str:
    network = RobotPolicyNetwork(Architecture(size, 5), seed)
    return registry.add(network, task="pick_place", action_axes=AXES, action_scale=SCALE).version


def test_what_was_added_is_loaded_bit_for_bit(registry):
    network = RobotPolicyNetwork(Architecture(9, 5, 2), 3)
    network.set_normalization(np.random.default_rng(0).normal(1, 2, size=(40, 9)))
    manifest = registry.add(network, task="t", action_axes=AXES, action_scale=SCALE, metrics={"loss": 0.5})
    loaded = registry.load(manifest.version)
    assert loaded.manifest == manifest
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in loaded.network.state_dict().items())


def test_a_policy_of_any_architecture_acts_as_it_did_before_it_was_written(registry):
    senses = EncoderShape.of_observation(4, 3, (12, 16, 3), features=16)
    architecture = Architecture(senses.vector_size, 4, senses=senses, head="gaussian", window=3)
    network = RobotPolicyNetwork(architecture, 3).eval()
    version = registry.add(network, task="t", action_axes=AXES, action_scale=SCALE).version
    loaded = registry.load(version)
    assert loaded.manifest.architecture == architecture
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    step = (np.ones(senses.vector_size, dtype=np.float32), image)
    np.testing.assert_array_equal(loaded.predict(*step).actions, ready_to_act(network).predict(*step).actions)


def test_versions_count_up_and_activations_have_generations(registry):
    assert registry.versions() == ()
    assert registry.current() == ("", 0)
    first, second = add(registry, 0), add(registry, 1)
    assert registry.versions() == (first, second) == ("000001", "000002")
    registry.activate(first)
    activation = registry.activate(second, verdict="better", reason="won")
    assert registry.current() == (second, 2)
    assert activation.previous == first


@pytest.mark.parametrize(
    "damage", ["flip", "truncate", "delete", "manifest", "architecture", "nan", "layout", "foreign"]
)
def test_a_corrupted_or_foreign_version_is_refused_and_the_active_one_stays(registry, damage):
    good, bad = add(registry, 0), add(registry, 1)
    registry.activate(good)
    folder = registry.folder / bad
    weights, manifest = folder / "weights.safetensors", folder / "manifest.json"
    if damage == "flip":
        data = bytearray(weights.read_bytes())
        data[-5] ^= 1
        weights.write_bytes(data)
    elif damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "delete":
        weights.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    elif damage == "architecture":
        content = json.loads(manifest.read_text())
        content["architecture"]["hidden_sizes"] = [64, 64]
        manifest.write_text(json.dumps(content))
    elif damage == "nan":
        network = RobotPolicyNetwork(Architecture(9, 5))
        with torch.no_grad():
            network.action_heads.weight[0, 0] = float("nan")
        bad = registry.add(network, task="t", action_axes=AXES, action_scale=SCALE).version
    elif damage == "layout":
        content = json.loads(manifest.read_text())
        content["observation_layout"] = "pixels-1"
        manifest.write_text(json.dumps(content))
    else:
        folder.rename(registry.folder / "000009")
        bad = "000009"
    with pytest.raises(PolicyFileError) as error:
        registry.activate(bad)
    assert "\n" not in str(error.value)
    assert registry.current() == (good, 1)


def test_a_name_that_is_no_version_is_refused(registry):
    with pytest.raises(PolicyFileError, match="no version at all"):
        registry.load("../etc")


def test_killed_while_adding_leaves_only_whole_versions(tmp_path):
    program = f"""
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.registry import PolicyRegistry
registry = PolicyRegistry({str(tmp_path)!r})
network = RobotPolicyNetwork(Architecture(9, 5))
while True:
    version = registry.add(network, task="t", action_axes=(0,), action_scale=(1.0,)).version
    registry.activate(version)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    registry = PolicyRegistry(tmp_path)
    deadline = time.monotonic() + 60
    while len(registry.versions()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    versions = registry.versions()
    assert len(versions) >= 5
    for version in versions:
        registry.load(version)
    assert registry.current()[0] in versions
