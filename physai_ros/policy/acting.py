"""A trained network ready to act, one observation at a time: as plain matrices where it is a perceptron."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import nn

from physai_ros.policy.deciding import Decider, Deciding, DecisionInputs, DecisionOutputs
from physai_ros.policy.network import Prediction, RobotPolicyNetwork


class ActingNetwork:
    """A copy of a `RobotPolicyNetwork`'s weights that decides on one observation in a third of the time.

    A batch of one spends its time in the framework's dispatch, not in arithmetic; the same arithmetic in numpy agrees
    to about 1e-6. Later training of the network does not change the copy.
    """

    def __init__(self, network: RobotPolicyNetwork) -> None:
        self.architecture = network.architecture
        self._mean = network.observation_mean.numpy().copy()
        self._scale = network.observation_scale.numpy().copy()
        self._layers: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]] = []
        for linear, norm in zip(network.trunk[0::3], network.trunk[1::3], strict=True):
            assert isinstance(linear, nn.Linear)
            assert isinstance(norm, nn.LayerNorm)
            weight, bias = _matrices(linear)
            gain, shift = norm.weight.detach().numpy().copy(), norm.bias.detach().numpy().copy()
            self._layers.append((weight, bias, gain, shift, norm.eps))
        # All heads read the trunk's last layer: one product gives actions and value.
        action_weight, action_bias = _matrices(network.action_heads)
        value_weight, value_bias = _matrices(network.value_head)
        self._head_weight = np.hstack([action_weight, value_weight])
        self._head_bias = np.concatenate([action_bias, value_bias])

    def start_episode(self) -> None:
        """Nothing is remembered that would have to be forgotten."""

    def predict(
        self, observation: np.ndarray, image: np.ndarray | None = None, seen: np.ndarray | None = None
    ) -> Prediction:
        """The decision for one observation (observation_size,) float32; pictures are not looked at.

        Raises:
            ValueError: the observation has another length.
        """
        shape = self.architecture
        _check(observation, shape.observation_size)
        hidden = np.minimum(np.maximum((observation - self._mean) * self._scale, -5.0), 5.0)
        for weight, bias, gain, shift, epsilon in self._layers:
            hidden = hidden @ weight + bias
            hidden = hidden - hidden.sum() / hidden.size
            hidden = hidden * (gain / np.sqrt(hidden @ hidden / hidden.size + epsilon)) + shift
            hidden = hidden / (1.0 + np.exp(-hidden))
        output = hidden @ self._head_weight + self._head_bias
        members = output[:-1].reshape(shape.members, shape.chunk_steps, shape.action_size).astype(float)
        mean = members.sum(axis=0) / shape.members
        spread = np.sqrt(np.square(members[:, 0] - mean[0]).sum(axis=0) / shape.members)
        actions = np.minimum(np.maximum(mean, -1.0), 1.0)
        value = 1.0 / (1.0 + float(np.exp(-float(output[-1]))))
        return Prediction(actions, value, float(spread.sum()) / shape.action_size, hidden)


class SensingNetwork:
    """A `RobotPolicyNetwork` of any architecture that decides on one observation, with pictures where there are any.

    What it has seen of an episode is remembered as far as the network looks back.
    """

    def __init__(self, network: RobotPolicyNetwork, decider: Decider | None = None) -> None:
        """Decide by `decider`, or in torch, operation by operation."""
        self.architecture = network.architecture
        self.decider = decider or EagerDecider(network)
        self.start_episode()

    def start_episode(self) -> None:
        """Forget what was observed."""
        self._seen: deque[np.ndarray] = deque(maxlen=self.architecture.window)

    def predict(
        self, observation: np.ndarray, image: np.ndarray | None = None, seen: np.ndarray | None = None
    ) -> Prediction:
        """The decision for one observation (observation_size,) float32 and image (height, width, channels) uint8.

        `seen` (pictures,) says which pictures of the image are there; None: all, if there is an image.

        Raises:
            ValueError: observation or image have another shape than those that it was trained on.
        """
        shape = self.architecture
        _check(observation, shape.observation_size)
        self._seen.append(observation)
        window = np.full((shape.window, shape.observation_size), np.nan, dtype=np.float32)
        window[shape.window - len(self._seen) :] = self._seen
        output = self.decider(DecisionInputs(window, *self._sight(image, seen)))
        actions = output.actions.astype(float)
        return Prediction(actions, float(output.value), float(output.spread), output.features)

    def _sight(self, image: np.ndarray | None, seen: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        senses = self.architecture.senses
        if senses is None or senses.image is None:
            return None, None
        pictures = len(senses.sights)
        if image is None:
            return np.zeros(senses.image, dtype=np.uint8), np.zeros(pictures, dtype=bool)
        return image, np.ones(pictures, dtype=bool) if seen is None else seen


class EagerDecider:
    """Torch, operation by operation: what the others are compared with."""

    name = "eager"

    def __init__(self, network: RobotPolicyNetwork) -> None:
        self._deciding = Deciding(network)

    def __call__(self, inputs: DecisionInputs) -> DecisionOutputs:
        """The decision; pictures of which none is seen are not looked at."""
        if inputs.seen is not None and not inputs.seen.any():
            inputs = inputs._replace(image=None, seen=None)
        with torch.inference_mode():
            output = self._deciding(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.arrays()))
        return DecisionOutputs(*(tensor.numpy() for tensor in output))


def ready_to_act(network: RobotPolicyNetwork) -> ActingNetwork | SensingNetwork:
    """The quickest of what decides as the network does, without a trial (`policy.runtimes` tries)."""
    return ActingNetwork(network) if network.architecture.is_plain else SensingNetwork(network)


def _check(observation: np.ndarray, size: int) -> None:
    if observation.shape != (size,):
        raise ValueError(
            f"the observation has shape {observation.shape}, the policy expects ({size},): "
            "it was trained for another task or robot"
        )


def _matrices(linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(linear.weight.detach().numpy().T), linear.bias.detach().numpy().copy()
