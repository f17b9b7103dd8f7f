"""Physics parameters as points of the unit cube, on a logarithmic scale where it is the scale that varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from physai_ros.simulation.physics import ROBOT_SIM_PARAMS

LOGARITHMIC_FROM = 4.0
"""Upper over lower bound from which on a parameter is varied by factors."""

KNOWN = ("gravity", "time_step")
"""What nobody needs to guess: gravity is known at every place, the step is the simulator's own choice."""

RANDOMIZED = tuple(name for name in ROBOT_SIM_PARAMS if name not in KNOWN)
"""What is randomized if nothing else is said."""


class ParameterSpace:
    """The unit cube of some physics parameters: 0 is the lower bound, 1 the upper.

    Raises:
        ValueError: an unknown parameter, one that is named twice, or none.
    """

    def __init__(self, names: Sequence[str] = RANDOMIZED) -> None:
        unknown = [name for name in names if name not in ROBOT_SIM_PARAMS]
        if unknown:
            raise ValueError(f"unknown physics parameter '{unknown[0]}'; known are: {', '.join(ROBOT_SIM_PARAMS)}")
        if not names or len(set(names)) < len(names):
            raise ValueError(f"parameters are {', '.join(names) or 'none'}; expected at least one, each once")
        self.names = tuple(names)
        bounds = np.array([ROBOT_SIM_PARAMS[name][1:3] for name in names], dtype=float)
        self._low, self._high = bounds.T
        self.logarithmic = (self._low > 0.0) & (self._high >= LOGARITHMIC_FROM * np.maximum(self._low, 1e-300))
        self._start = np.where(self.logarithmic, np.log(np.where(self.logarithmic, self._low, 1.0)), self._low)
        end = np.where(self.logarithmic, np.log(np.where(self.logarithmic, self._high, 1.0)), self._high)
        self._length = end - self._start

    def __len__(self) -> int:
        return len(self.names)

    @property
    def nominal(self) -> np.ndarray:
        """The nominal arm (d,)."""
        return self.point({name: ROBOT_SIM_PARAMS[name][0] for name in self.names})

    def point(self, values: Mapping[str, float]) -> np.ndarray:
        """Coordinates (d,) of values by name; further names are passed over.

        Raises:
            ValueError: a value is missing.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            raise ValueError(f"no value of '{missing[0]}' among {', '.join(values) or 'nothing'}")
        raw = np.array([values[name] for name in self.names], dtype=float)
        logarithms = np.log(np.where(self.logarithmic, np.maximum(raw, self._low), 1.0))
        return np.clip((np.where(self.logarithmic, logarithms, raw) - self._start) / self._length, 0.0, 1.0)

    def values(self, point: np.ndarray) -> dict[str, float]:
        """Values by name of a point (d,), inside their bounds."""
        scaled = self._start + np.asarray(point) * self._length
        raw = np.where(self.logarithmic, np.exp(np.where(self.logarithmic, scaled, 0.0)), scaled)
        return dict(zip(self.names, np.clip(raw, self._low, self._high).tolist(), strict=True))

    def slope(self, point: np.ndarray) -> np.ndarray:
        """Change (d,) of each value by its coordinate at a point (d,), in the parameter's own unit."""
        values = np.array(list(self.values(point).values()))
        return self._length * np.where(self.logarithmic, values, 1.0)
