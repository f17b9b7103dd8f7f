"""A Gaussian squashed into -1 ... 1 by tanh, with its true density."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional

LOG_SPREAD = (-5.0, 2.0)
"""Bounds of the logarithm of the spread; beyond them a density is too sharp or too flat to learn with."""

_EDGE = 1.0 - 1e-6  # an action on the bound itself comes from no finite number


class TanhGaussian(NamedTuple):
    """The distribution of tanh(x), x from N(`mean`, exp(`log_spread`)^2), each (..., action_size).

    log p(a) = log N(x) - sum log(1 - tanh(x)^2), with x = atanh(a). The second term is 2 (log 2 - x - softplus(-2 x)),
    which does not lose its digits where tanh is flat (Haarnoja et al., "Soft actor-critic", 2018, appendix C, for the
    correction; the stable form is that of TensorFlow Probability's `Tanh` bijector).
    """

    mean: torch.Tensor
    log_spread: torch.Tensor

    @classmethod
    def of(cls, mean: torch.Tensor, unbounded: torch.Tensor) -> TanhGaussian:
        """The distribution whose log-spread is a network's output, brought smoothly within `LOG_SPREAD`."""
        low, high = LOG_SPREAD
        return cls(mean, low + 0.5 * (high - low) * (torch.tanh(unbounded) + 1.0))

    @property
    def mode(self) -> torch.Tensor:
        """What acts without chance: tanh of the mean, which is the median of every component."""
        return torch.tanh(self.mean)

    def sample(self, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (..., action_size) through which a gradient flows, and their log-density (...,)."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        before = self.mean + noise * self.log_spread.exp()
        return torch.tanh(before), self._log_density(before)

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Log-density (...,) of actions (..., action_size) in -1 ... 1; those on a bound count as just within."""
        return self._log_density(torch.atanh(actions.clamp(-_EDGE, _EDGE)))

    def _log_density(self, before: torch.Tensor) -> torch.Tensor:
        scaled = (before - self.mean) * torch.exp(-self.log_spread)
        normal = -0.5 * scaled.square() - self.log_spread - 0.5 * math.log(2.0 * math.pi)
        squashing = 2.0 * (math.log(2.0) - before - functional.softplus(-2.0 * before))
        return (normal - squashing).sum(dim=-1)
