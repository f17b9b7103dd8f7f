"""The network: deterministic, batched, and equal to what acts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.acting import ActingNetwork, SensingNetwork, ready_to_act
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture, RobotPolicyNetwork


def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = RobotPolicyNetwork(Architecture(7, 3), seed=1)
    assert torch.equal(torch.rand(1), expected)
    second = RobotPolicyNetwork(Architecture(7, 3), seed=1)
    other = RobotPolicyNetwork(Architecture(7, 3), seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.action_heads.weight, other.action_heads.weight)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 80),
    action=st.integers(1, 7),
    chunk=st.integers(1, 4),
    members=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_acting_agrees_with_the_network(size, action, chunk, members, seed):
    network = RobotPolicyNetwork(Architecture(size, action, chunk, (32, 16), members), seed)
    generator = np.random.default_rng(seed)
    network.set_normalization(generator.normal(2.0, 3.0, size=(50, size)))
    observation = (10 * generator.normal(size=size)).astype(np.float32)
    prediction = ActingNetwork(network).predict(observation)
    with torch.inference_mode():
        output = network(torch.from_numpy(observation[None]))
    expected = output.actions[0].mean(dim=0).clamp(-1, 1).numpy()
    np.testing.assert_allclose(prediction.actions, expected, atol=1e-5)
    assert abs(prediction.value - float(torch.sigmoid(output.value_logits[0]))) < 1e-5
    spread = output.actions[0, :, 0].std(dim=0, correction=0).mean()
    assert abs(prediction.uncertainty - float(spread)) < 1e-5


def test_a_batch_of_one_is_a_row_of_a_larger_batch():
    network = RobotPolicyNetwork(Architecture(9, 4))
    observations = torch.randn(16, 9)
    with torch.inference_mode():
        together = network(observations).actions
        alone = torch.cat([network(row[None]).actions for row in observations])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_the_value_head_cannot_unlearn_acting():
    network = RobotPolicyNetwork(Architecture(9, 4))
    network(torch.randn(8, 9)).value_logits.sum().backward()
    assert all(parameter.grad is None for parameter in network.trunk.parameters())
    assert network.value_head.weight.grad is not None


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (3, 3, 0)])
def test_an_impossible_architecture_is_refused(sizes):
    with pytest.raises(ValueError, match="at least 1"):
        Architecture(*sizes)


def test_an_observation_of_another_length_is_refused():
    with pytest.raises(ValueError, match="another task"):
        ActingNetwork(RobotPolicyNetwork(Architecture(9, 4))).predict(np.zeros(8, dtype=np.float32))


SENSES = EncoderShape.of_observation(task_features=6, action_axes=3, image=(12, 16, 3), features=32)
SIZE = SENSES.vector_size
SENSING = [
    Architecture(SIZE, 4, senses=SENSES),
    Architecture(SIZE, 4, 2, (32, 16), head="gaussian"),
    Architecture(SIZE, 4, 1, (32, 16), window=6, use_sparse_attention=True),
    Architecture(SIZE, 4, 1, (32, 16), 2, SENSES, "gaussian", 3),
]


def test_a_plain_network_is_written_as_it_always_was():
    assert set(Architecture(7, 3).to_dict()) == {
        *("observation_size", "action_size", "chunk_steps", "hidden_sizes", "members")
    }
    assert isinstance(ready_to_act(RobotPolicyNetwork(Architecture(7, 3))), ActingNetwork)


@pytest.mark.parametrize("architecture", SENSING)
def test_an_architecture_is_read_as_it_was_written(architecture):
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


@pytest.mark.parametrize(
    "wrong", [{"head": "crystal ball"}, {"senses": SENSES}, {"use_sparse_attention": True}, {"window": 0}]
)
def test_what_is_no_architecture_is_refused(wrong):
    with pytest.raises(ValueError, match=r"head|senses|window|architecture"):
        Architecture(SIZE + 1, 4, **wrong)


@pytest.mark.parametrize("architecture", SENSING)
def test_acting_step_by_step_agrees_with_a_batch_of_windows(architecture):
    network, generator = RobotPolicyNetwork(architecture, 3), np.random.default_rng(0)
    observations = generator.normal(size=(8, SIZE)).astype(np.float32)
    observations[:, SENSES.marks] = 1.0
    images = generator.integers(0, 256, (8, *SENSES.image), dtype=np.uint8)
    network.set_normalization(observations, images)
    if network.attention is not None:
        torch.nn.init.normal_(network.attention.value.weight)
    acting = ready_to_act(network)
    assert isinstance(acting, SensingNetwork)
    acting.predict(observations[5], images[5])
    acting.start_episode()
    stepwise = [acting.predict(*step) for step in zip(observations, images, strict=True)]
    windows = np.full((8, architecture.window, SIZE), np.nan, dtype=np.float32)
    for step in range(8):
        seen = observations[max(step + 1 - architecture.window, 0) : step + 1]
        windows[step, architecture.window - len(seen) :] = seen
    with torch.inference_mode():
        output = network(torch.from_numpy(windows), torch.from_numpy(images) if architecture.sees else None)
    expected = output.actions.mean(dim=1).clamp(-1, 1).numpy()
    np.testing.assert_allclose([each.actions for each in stepwise], expected, atol=1e-5)
    if architecture.head == "gaussian":
        assert torch.isfinite(output.distribution.log_prob(output.actions.clamp(-0.99, 0.99))).all()


def test_a_policy_that_sees_acts_in_the_dark_as_well():
    network = RobotPolicyNetwork(SENSING[0]).eval()
    observation, image = np.ones(SIZE, dtype=np.float32), np.full(SENSES.image, 200, dtype=np.uint8)
    acting = ready_to_act(network)
    dark, lit = acting.predict(observation), acting.predict(observation, image)
    assert dark.actions.shape == lit.actions.shape
    assert not np.allclose(dark.actions, lit.actions)
    hidden = network(torch.ones(1, SIZE), torch.from_numpy(image)[None], torch.zeros(1, dtype=torch.bool))
    np.testing.assert_allclose(hidden.actions.mean(dim=1)[0].detach().clamp(-1, 1), dark.actions, atol=1e-6)


def test_the_mark_of_an_unknown_sense_hides_it():
    network = RobotPolicyNetwork(SENSING[0]).eval()
    known = torch.randn(1, SIZE)
    known[:, SENSES.marks] = 1.0
    known[:, -1] = 0.0  # the task's features are not known
    other = known.clone()
    other[:, SENSES.proprioception + SENSES.tactile : SIZE - 5] += 1.0
    torch.testing.assert_close(network(known).actions, network(other).actions)
