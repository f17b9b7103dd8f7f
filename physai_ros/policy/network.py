"""The policy network: observation in, a chunk of actions, a value and the spread of an ensemble out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Architecture:
    """Shape of a `RobotPolicyNetwork`; written to the manifest, compared when weights are read.

    Attributes:
        observation_size: length of an observation vector.
        action_size: length of an action: the task's action axes, then the gripper.
        chunk_steps: policy steps predicted at once.
        hidden_sizes: widths of the trunk's layers.
        members: heads of the ensemble, whose spread is the uncertainty.
    """

    observation_size: int
    action_size: int
    chunk_steps: int = 1
    hidden_sizes: tuple[int, ...] = (256, 256)
    members: int = 3

    def __post_init__(self) -> None:
        sizes = (self.observation_size, self.action_size, self.chunk_steps, self.members, *self.hidden_sizes)
        if not self.hidden_sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
            raise ValueError(f"not an architecture: {self}; every size is a whole number of at least 1")

    def to_dict(self) -> dict[str, Any]:
        """The sizes as JSON writes them."""
        return asdict(self) | {"hidden_sizes": list(self.hidden_sizes)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Architecture:
        """Read what `to_dict` gave.

        Raises:
            ValueError: a size is missing, unknown or out of range.
        """
        try:
            return cls(**(data | {"hidden_sizes": tuple(data["hidden_sizes"])}))
        except (TypeError, KeyError) as error:
            expected = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"not an architecture: {data}; expected {expected}") from error


class PolicyOutput(NamedTuple):
    """What a forward pass gives for a batch of n observations.

    `actions` (n, members, chunk_steps, action_size), not yet clipped; `value_logits` (n,) of success; `features`
    (n, hidden) of the trunk's last layer.
    """

    actions: torch.Tensor
    value_logits: torch.Tensor
    features: torch.Tensor


class Prediction(NamedTuple):
    """What a policy decides in one state.

    `actions` (chunk_steps, action_size) in -1 ... 1, the gripper last; `value` is the estimated chance of success;
    `uncertainty` is the standard deviation between the ensemble's members, averaged over the first action;
    `features` (hidden,) are those of the trunk's last layer, where they are known.
    """

    actions: np.ndarray
    value: float
    uncertainty: float
    features: np.ndarray | None = None


class RobotPolicyNetwork(nn.Module):
    """A LayerNorm perceptron with an ensemble of action heads and a value head.

    Normalization statistics are buffers and travel with the weights. There is no dropout and no batch statistic: acting
    is deterministic and a batch of one is a batch. The value head reads the trunk's features without sending a gradient
    back, so that judging cannot unlearn acting.
    """

    def __init__(self, architecture: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.architecture = architecture
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            width = architecture.observation_size
            for hidden in architecture.hidden_sizes:
                layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.SiLU()]
                width = hidden
            self.trunk = nn.Sequential(*layers)
            outputs = architecture.members * architecture.chunk_steps * architecture.action_size
            self.action_heads = nn.Linear(width, outputs)
            self.value_head = nn.Linear(width, 1)
        self.observation_mean: torch.Tensor
        self.observation_scale: torch.Tensor
        self.register_buffer("observation_mean", torch.zeros(architecture.observation_size))
        self.register_buffer("observation_scale", torch.ones(architecture.observation_size))

    def set_normalization(self, observations: np.ndarray) -> None:
        """Take mean and spread of observations (n, observation_size); a constant component is left as it is."""
        mean = observations.mean(axis=0, dtype=np.float64)
        spread = observations.std(axis=0, dtype=np.float64)
        # A component that hardly moved in training must not blow up when it moves on the arm.
        scale = 1.0 / np.maximum(spread, 0.05)
        self.observation_mean.copy_(torch.from_numpy(mean))
        self.observation_scale.copy_(torch.from_numpy(scale))

    def forward(self, observations: torch.Tensor) -> PolicyOutput:
        """Output for observations (n, observation_size) as the `ObservationEncoder` gives them."""
        normalized = ((observations - self.observation_mean) * self.observation_scale).clamp(-5.0, 5.0)
        features = self.trunk(normalized)
        shape = self.architecture
        actions = self.action_heads(features).view(-1, shape.members, shape.chunk_steps, shape.action_size)
        return PolicyOutput(actions, self.value_head(features.detach()).squeeze(-1), features)
