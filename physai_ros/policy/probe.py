"""What a network makes of fixed inputs: kept with its weights, so that whoever loads them sees that it still does."""

from __future__ import annotations

import numpy as np
import torch

from physai_ros.policy.deciding import Deciding, DecisionInputs
from physai_ros.policy.network import Architecture, RobotPolicyNetwork

TOLERANCE = 1e-4
"""Largest departure that is put down to another processor or another version of the library."""


def fixed_inputs(architecture: Architecture) -> DecisionInputs:
    """Inputs that are the same everywhere: no generator, whose streams libraries may change."""
    shape = architecture
    count = shape.window * shape.observation_size
    observations = np.sin(0.7 + 1.3 * np.arange(count)).astype(np.float32).reshape(shape.window, -1)
    senses = shape.senses
    if senses is not None:
        observations[:, senses.marks] = 1.0
    if senses is None or senses.image is None:
        return DecisionInputs(observations)
    size = senses.image
    image = ((37 * np.arange(int(np.prod(size))) + 11) % 256).astype(np.uint8).reshape(size)
    return DecisionInputs(observations, image, np.ones(len(senses.sights), dtype=bool))


def probe(network: RobotPolicyNetwork) -> list[float]:
    """The first action, the chance of success and the spread that a network gives for the fixed inputs."""
    was_training = network.training
    with torch.inference_mode():
        inputs = (torch.from_numpy(array) for array in fixed_inputs(network.architecture).arrays())
        actions, value, spread, _ = Deciding(network)(*inputs)
    network.train(was_training)
    return [*actions[0].tolist(), float(value), float(spread)]


def departure(network: RobotPolicyNetwork, kept: list[float]) -> float:
    """Largest difference between what was kept and what the network gives here; infinite where they do not compare."""
    found = probe(network)
    if len(found) != len(kept) or not np.isfinite(kept).all():
        return float("inf")
    return float(np.abs(np.subtract(found, kept)).max())
