"""The normal distribution inside the unit cube: nothing outside, and no mass piled up on the faces."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

_SWEEPS = 12  # of the Gibbs sampler; it starts at independent draws, and correlations here are mild


class TruncatedNormal:
    """Normal with `mean` (d,) in the cube and `covariance` (d, d), restricted to the cube.

    Where the covariance is diagonal its draws are independent and exact; else they are those of a Gibbs sampler,
    coordinate by coordinate (Geweke, "Efficient simulation from the multivariate normal and
    Student-t distributions subject to linear constraints", 1991).

    Raises:
        ValueError: a mean outside the cube, or a covariance that is none.
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray) -> None:
        self.mean, self.covariance = np.array(mean, dtype=float), np.array(covariance, dtype=float)
        count = len(self.mean)
        if self.covariance.shape != (count, count) or not (np.diag(self.covariance) > 0.0).all():
            raise ValueError(
                f"covariance is {self.covariance.shape}; expected {(count, count)}, above zero on the diagonal"
            )
        if not ((self.mean >= 0.0) & (self.mean <= 1.0)).all():
            raise ValueError(f"mean is {self.mean.tolist()}; expected numbers in 0 ... 1")
        self.spread = np.sqrt(np.diag(self.covariance))
        self._coupled = bool(np.abs(self.covariance - np.diag(np.diag(self.covariance))).max(initial=0.0) > 0.0)
        if self._coupled:
            self._precision = np.linalg.inv(self.covariance)

    @classmethod
    def independent(cls, mean: np.ndarray, spread: np.ndarray) -> TruncatedNormal:
        """The one whose coordinates vary by themselves, with standard deviations `spread` (d,) before truncation."""
        return cls(mean, np.diag(np.square(spread)))

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """A point (d,) strictly inside the cube."""
        point = _truncated(self.mean, self.spread, generator)
        if self._coupled:
            for _ in range(_SWEEPS):
                for i in range(len(point)):
                    row, own = self._precision[i], self._precision[i, i]
                    centre = self.mean[i] - (row @ (point - self.mean) - own * (point[i] - self.mean[i])) / own
                    point[i] = _truncated(np.array([centre]), np.array([own**-0.5]), generator)[0]
        return point

    def expected(self) -> np.ndarray:
        """Mean (d,) of the draws, coordinate by coordinate: it differs from `mean` near a face."""
        lower, upper = (0.0 - self.mean) / self.spread, (1.0 - self.mean) / self.spread
        density = np.exp(-0.5 * lower**2) - np.exp(-0.5 * upper**2)
        return self.mean + self.spread * density / (np.sqrt(2.0 * np.pi) * (ndtr(upper) - ndtr(lower)))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Logarithm (n,) of the product of the coordinates' densities at points (n, d)."""
        lower, upper = (0.0 - self.mean) / self.spread, (1.0 - self.mean) / self.spread
        return stats.truncnorm.logpdf(points, lower, upper, loc=self.mean, scale=self.spread).sum(axis=1)

    def entropy(self) -> float:
        """Entropy of the product of its coordinates' distributions [nat]; 0 is that of the uniform one, the largest."""
        lower, upper = (0.0 - self.mean) / self.spread, (1.0 - self.mean) / self.spread
        return float(np.sum(stats.truncnorm.entropy(lower, upper, loc=self.mean, scale=self.spread)))


def _truncated(mean: np.ndarray, spread: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Independent draws (d,) inside 0 ... 1 by inverting the distribution function.

    `scipy.stats.truncnorm` does the same for a hundred times the time, which a Gibbs sampler has not.
    """
    lower, upper = (0.0 - mean) / spread, (1.0 - mean) / spread
    # Mirrored so that what is drawn lies in the lower tail, where the distribution function keeps its digits.
    mirrored = lower > 0.0
    low, high = ndtr(np.where(mirrored, -upper, lower)), ndtr(np.where(mirrored, -lower, upper))
    drawn = ndtri(low + generator.random(len(mean)) * (high - low))
    return np.clip(mean + spread * np.where(mirrored, -drawn, drawn), 1e-9, 1.0 - 1e-9)  # rounding may reach a face
