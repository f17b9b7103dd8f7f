"""A guess of a sample's loss that costs far less than the network: for samples that were not visited for long."""

from __future__ import annotations

import numpy as np

_RIDGE = 1e-2
_SMALLEST_LOSS = 1e-6


class LossProxy:
    """Ridge regression of the logarithm of the loss on fixed random features of observation and label.

    Old visits are forgotten exponentially, since the loss of every sample falls while the network learns. Sources:
    Rahimi and Recht, "Random features for large-scale kernel machines", 2007; Coleman et al., "Selection via proxy",
    2020, for scoring by a cheaper model.
    """

    def __init__(self, input_size: int, *, features: int = 32, memory: float = 0.98, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._projection = generator.standard_normal((input_size, features - 1), dtype=np.float32) / np.sqrt(input_size)
        self._offset = generator.standard_normal(features - 1, dtype=np.float32)
        self._memory = memory
        self._moment = np.zeros((features, features), dtype=np.float32)
        self._cross = np.zeros(features, dtype=np.float32)
        self._weights = np.zeros(features, dtype=np.float32)
        self._mean = np.zeros(input_size, dtype=np.float32)
        self._scale = np.ones(input_size, dtype=np.float32)
        self.lessons = 0

    def learn(self, inputs: np.ndarray, loss: np.ndarray) -> None:
        """Take in what a training step found: inputs (n, input_size) and their loss (n,)."""
        finite = np.isfinite(loss)
        if not finite.all():
            inputs, loss = inputs[finite], loss[finite]
        if not len(loss):
            return
        if not self.lessons:
            self._mean = inputs.mean(axis=0, dtype=np.float32)
            self._scale = 1.0 / np.maximum(inputs.std(axis=0, dtype=np.float32), 0.05)
        features = self._features(inputs)
        self._moment = self._memory * self._moment + features.T @ features / len(loss)
        self._cross = self._memory * self._cross + features.T @ np.log(np.maximum(loss, _SMALLEST_LOSS)) / len(loss)
        ridge = _RIDGE * np.eye(len(self._cross), dtype=np.float32)
        self._weights = np.linalg.solve(self._moment + ridge, self._cross)
        self.lessons += 1

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Expected loss (n,) of inputs (n, input_size); NaN before the first lesson."""
        if not self.lessons:
            return np.full(len(inputs), np.nan, dtype=np.float32)
        return np.exp(np.clip(self._features(inputs) @ self._weights, -15.0, 5.0))

    def _features(self, inputs: np.ndarray) -> np.ndarray:
        rectified = ((inputs - self._mean) * self._scale) @ self._projection + self._offset
        np.maximum(rectified, 0.0, out=rectified)
        return np.concatenate([rectified, np.ones((len(inputs), 1), dtype=np.float32)], axis=1)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same proxy."""
        return {
            "moment": self._moment.copy(),
            "cross": self._cross.copy(),
            "weights": self._weights.copy(),
            "mean": self._mean.copy(),
            "scale": self._scale.copy(),
            "lessons": np.array([self.lessons]),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""
        self._moment, self._cross = state["moment"].copy(), state["cross"].copy()
        self._weights = state["weights"].copy()
        self._mean, self._scale = state["mean"].copy(), state["scale"].copy()
        self.lessons = int(state["lessons"][0])
