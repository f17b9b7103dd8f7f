"""The critic: an ensemble that says how likely a success is, discounted by the steps until then."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

DOUBT = -3.0
"""Logit of the value of what was never seen, to begin with: success is rare until it is seen.

A critic that begins undecided is believed for long: where an episode was cut off, hope fades by the discount alone.
"""


class CriticEnsemble(nn.Module):
    """`members` perceptrons with LayerNorm on what was seen and what is done, computed as one product a layer.

    With one reward, of 1 for success, every return lies in 0 ... 1. The output is a logit and the value its logistic
    function, so that no value can leave that range, whatever is asked about what was never seen. Sources: Kalashnikov
    et al., "QT-Opt", 2018, for the logistic value; Ball et al., "Efficient online reinforcement learning with offline
    data" (RLPD), 2023, for the ensemble and the LayerNorm, which bounds what is extrapolated.

    With `fine`, actions come in twice, once as tanh(action / fine): where a millimetre decides, it is a hundredth of
    what an action may be.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden_sizes: tuple[int, ...],
        members: int,
        seed: int = 0,
        *,
        fine: float = 0.0,
    ) -> None:
        super().__init__()
        self.members, self._fine = members, fine
        generator = torch.Generator().manual_seed(seed)
        sizes = (observation_size + action_size * (2 if fine else 1), *hidden_sizes, 1)
        self.weights, self.biases, self.gains, self.shifts = (nn.ParameterList() for _ in range(4))
        for inputs, outputs in zip(sizes, sizes[1:], strict=False):
            bound = 1.0 / math.sqrt(inputs)
            weight = torch.empty(members, inputs, outputs).uniform_(-bound, bound, generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, outputs)))
        for width in hidden_sizes:
            self.gains.append(nn.Parameter(torch.ones(members, 1, width)))
            self.shifts.append(nn.Parameter(torch.zeros(members, 1, width)))
        with torch.no_grad():
            self.biases[-1].fill_(DOUBT)

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Logits (members, n) for normalized observations (n, observation_size) and actions (n, action_size)."""
        told = [observations, actions, torch.tanh(actions / self._fine)] if self._fine else [observations, actions]
        hidden = torch.cat(told, dim=-1).expand(self.members, -1, -1)
        layers = zip(self.weights, self.biases, strict=True)
        for (weight, bias), gain, shift in zip(layers, self.gains, self.shifts, strict=False):
            hidden = torch.baddbmm(bias, hidden, weight)
            hidden = functional.layer_norm(hidden, hidden.shape[-1:]) * gain + shift
            hidden = functional.silu(hidden)
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1]).squeeze(-1)


def pessimistic(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The least (n,) of what the `chosen` (k,) members of the ensemble say in `values` (members, n).

    Source: Chen et al., "Randomized ensembled double Q-learning" (REDQ), 2021.
    """
    return values[chosen].min(dim=0).values
