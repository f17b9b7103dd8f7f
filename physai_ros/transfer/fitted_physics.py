"""What a fit found: the likeliest physics of an arm, how surely, and what its recordings cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.transfer.parameter_space import ParameterSpace

IDENTIFIED_BELOW = 0.5
"""Share of its spread before the data below which a parameter's spread must fall to count as identified."""


@dataclass(frozen=True)
class FittedPhysics:
    """The physics of an arm as its recordings tell them.

    Attributes:
        names: parameters that were fitted.
        mean, covariance: (k,) and (k, k), in coordinates of the parameters' ranges (`ParameterSpace`).
        prior_spread: standard deviation before the data, in the same coordinates.
        noise: standard deviations of the sensors by parameter name, measured and not fitted.
        gap_before, gap_after: root mean square difference from the recordings in tolerances, nominal and fitted.
        simulations: how many episodes were replayed.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    prior_spread: float
    noise: dict[str, float] = field(default_factory=dict)
    gap_before: float = float("nan")
    gap_after: float = float("nan")
    simulations: int = 0

    @property
    def values(self) -> dict[str, float]:
        """The likeliest value of every parameter by name, noise included."""
        return ParameterSpace(self.names).values(self.mean) | self.noise

    @property
    def spread(self) -> dict[str, float]:
        """Standard deviations by name, in each parameter's own unit."""
        widths = np.sqrt(np.diag(self.covariance)) * ParameterSpace(self.names).slope(self.mean)
        return dict(zip(self.names, widths.tolist(), strict=True))

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Parameters that the recordings say little of: they stay randomized nearly as widely as before."""
        widths = np.sqrt(np.diag(self.covariance))
        return tuple(
            name for name, width in zip(self.names, widths, strict=True) if width > IDENTIFIED_BELOW * self.prior_spread
        )

    def interval(self, name: str, deviations: float = 1.96) -> tuple[float, float]:
        """Bounds of a parameter [its unit]: by default those of 95 %."""
        index, space = self.names.index(name), ParameterSpace(self.names)
        width = deviations * float(np.sqrt(self.covariance[index, index]))
        ends = []
        for offset in (-width, width):
            point = self.mean.copy()
            point[index] = np.clip(point[index] + offset, 0.0, 1.0)
            ends.append(space.values(point)[name])
        return ends[0], ends[1]

    def physics(self) -> PhysicsParameters:
        """The likeliest arm."""
        return PhysicsParameters().with_values(self.values)
