"""The squashed Gaussian: a density that integrates to one, and is the one torch's own transform gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from physai_ros.policy.gaussian import LOG_SPREAD, TanhGaussian


@settings(max_examples=30, deadline=None)
@given(mean=st.floats(-1.5, 1.5), log_spread=st.floats(-1.5, 0.5))
def test_the_density_integrates_to_one(mean, log_spread):
    squashed = TanhGaussian(torch.tensor([mean], dtype=torch.float64), torch.tensor([log_spread], dtype=torch.float64))

    def density(action: float) -> float:
        return float(squashed.log_prob(torch.tensor([action], dtype=torch.float64)).exp())

    mode = float(squashed.mode)
    total, _ = quad(density, -1.0, 1.0, points=[mode], limit=400)
    assert total == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 7))
def test_it_is_the_density_of_torchs_transform(seed, size):
    generator = torch.Generator().manual_seed(seed)
    mean, log_spread = torch.randn(2, 5, size, generator=generator, dtype=torch.float64)
    squashed = TanhGaussian(mean, log_spread)
    actions, log_density = squashed.sample(generator)
    reference = TransformedDistribution(Independent(Normal(mean, log_spread.exp()), 1), TanhTransform())
    inside = (actions.abs() < 0.999).all(dim=1)
    torch.testing.assert_close(log_density[inside], reference.log_prob(actions)[inside], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(squashed.log_prob(actions)[inside], log_density[inside], rtol=1e-6, atol=1e-6)


def test_far_out_it_stays_finite_and_has_a_gradient():
    mean = torch.tensor([[40.0, -40.0]], requires_grad=True)
    squashed = TanhGaussian.of(mean, torch.zeros(1, 2))
    _, log_density = squashed.sample(torch.Generator().manual_seed(0))
    bound = squashed.log_prob(torch.tensor([[1.0, -1.0]]))
    (log_density + bound).sum().backward()
    assert torch.isfinite(log_density).all() and torch.isfinite(bound).all()
    assert torch.isfinite(mean.grad).all()


def test_the_spread_stays_within_its_bounds_and_a_seed_decides():
    squashed = TanhGaussian.of(torch.zeros(2, 3), torch.tensor([[-1e4] * 3, [1e4] * 3]))
    np.testing.assert_allclose(squashed.log_spread[:, 0], LOG_SPREAD, atol=1e-5)
    draws = [squashed.sample(torch.Generator().manual_seed(1))[0] for _ in range(2)]
    assert torch.equal(*draws)
