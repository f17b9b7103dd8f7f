"""The network: deterministic, batched, and equal to what acts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.acting import ActingNetwork
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
