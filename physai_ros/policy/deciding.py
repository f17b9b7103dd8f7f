"""One decision of a network as arrays in and arrays out: the form that every runtime computes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from physai_ros.policy.network import Architecture, RobotPolicyNetwork

INPUTS = ("observations", "image", "seen")
OUTPUTS = ("actions", "value", "spread", "features")


class DecisionInputs(NamedTuple):
    """What one decision is made from.

    `observations` (window, observation_size) float32, the newest last, NaN before the episode began; of a network that
    sees, `image` (height, width, channels) uint8 and `seen` (pictures,) bool, else None.
    """

    observations: np.ndarray
    image: np.ndarray | None = None
    seen: np.ndarray | None = None

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Those that are there, in the order of `INPUTS`."""
        return tuple(array for array in self if array is not None)


class DecisionOutputs(NamedTuple):
    """What comes of it: `actions` (chunk_steps, action_size), `value` (), `spread` (), `features` (hidden,)."""

    actions: np.ndarray
    value: np.ndarray
    spread: np.ndarray
    features: np.ndarray


class Decider(Protocol):
    """Computes decisions; `name` says how."""

    name: str

    def __call__(self, inputs: DecisionInputs) -> DecisionOutputs:
        """The decision."""


class Deciding(nn.Module):
    """A network with what follows it: the mean of the ensemble, clipped, its spread, and the chance of success.

    Inputs and outputs as `DecisionInputs` and `DecisionOutputs`, as tensors. There is no branch on what is seen, so
    that what is traced holds for everything, and takes the same time.
    """

    def __init__(self, network: RobotPolicyNetwork) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(
        self, observations: torch.Tensor, image: torch.Tensor | None = None, seen: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The decision."""
        output = self.network(
            observations[None], None if image is None else image[None], None if seen is None else seen[None]
        )
        members = output.actions[0]
        first = members[:, 0]
        # Written out: exporters know no `correction`.
        spread = (first - first.mean(dim=0)).square().mean(dim=0).sqrt().mean()
        value = torch.sigmoid(output.value_logits[0])
        return members.mean(dim=0).clamp(-1.0, 1.0), value, spread, output.features[0]


def sample_inputs(architecture: Architecture, generator: np.random.Generator) -> DecisionInputs:
    """Inputs such as an arm might give, for trials and comparisons; some modalities are unknown, some pictures missing.

    A function of the generator alone.
    """
    shape = architecture
    observations = generator.normal(size=(shape.window, shape.observation_size)).astype(np.float32)
    if shape.senses is not None:
        marks = shape.senses.marks
        observations[:, marks] = generator.random(observations[:, marks].shape) < 0.8
    observations[: int(generator.integers(shape.window))] = np.nan
    if not shape.sees:
        return DecisionInputs(observations)
    assert shape.senses is not None
    assert shape.senses.image is not None
    image = generator.integers(0, 256, shape.senses.image, dtype=np.uint8)
    return DecisionInputs(observations, image, generator.random(len(shape.senses.sights)) < 0.8)
