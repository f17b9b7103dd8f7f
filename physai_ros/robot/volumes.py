"""Room that an arm must keep to or keep out of, as its configuration names it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HalfSpace:
    """All points x of the base frame with `normal` . x >= `offset` [m]; every moving link stays in it.

    `normal` (3,) is made a unit vector.
    """

    name: str
    normal: np.ndarray
    offset: float

    def __post_init__(self) -> None:
        normal = np.array(self.normal, dtype=float)
        length = float(np.linalg.norm(normal)) if normal.shape == (3,) else 0.0
        if not (np.isfinite(length) and length > 1e-6 and np.isfinite(self.offset)):
            raise ValueError(
                f"half-space '{self.name}' has normal {normal.tolist()} and offset {self.offset!r}; expected a normal "
                "of three numbers, not all zero, and a finite offset [m]"
            )
        normal = normal / length
        normal.setflags(write=False)
        object.__setattr__(self, "normal", normal)
        object.__setattr__(self, "offset", float(self.offset))


@dataclass(frozen=True)
class KeepOut:
    """A box of the base frame, `lower` to `upper` corner (3,) [m], that no moving link may enter."""

    name: str
    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        lower, upper = np.array(self.lower, dtype=float), np.array(self.upper, dtype=float)
        if (
            lower.shape != (3,)
            or upper.shape != (3,)
            or not (lower < upper).all()
            or not np.isfinite(upper - lower).all()
        ):
            raise ValueError(
                f"keep-out '{self.name}' is {lower.tolist()} to {upper.tolist()}; expected two corners of three finite "
                "numbers [m], lower below upper"
            )
        for corner in (lower, upper):
            corner.setflags(write=False)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)


@dataclass(frozen=True)
class SelfDistance:
    """Least distance `margin` [m] of two links with a link between them; `unwatched` pairs of links have none."""

    margin: float = 0.01
    unwatched: tuple[frozenset[str], ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"self-distance margin is {self.margin!r}; expected zero or more [m]")
