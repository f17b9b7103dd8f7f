"""What policies saw, once a step, in the order of the episodes: vectors, and pictures where there is a camera."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch

from physai_ros.policy.network import Architecture
from physai_ros.training.columns import ChunkedColumns

_NONE = -1


class ImageStore(Protocol):
    """Where pictures are kept: `training.images.ImageReplay` on disk, `MemoryImages` without."""

    def __len__(self) -> int:
        """How many there are."""

    def append(self, images: np.ndarray) -> range:
        """Indices of images (n, h, w, c) uint8."""

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Images (n, h, w, c) uint8 for indices (n,)."""


class MemoryImages:
    """Pictures in memory, for as many as fit there."""

    def __init__(self) -> None:
        self._images = ChunkedColumns(1024)

    def __len__(self) -> int:
        return len(self._images)

    def append(self, images: np.ndarray) -> range:
        """Indices of images (n, h, w, c) uint8."""
        first = len(self._images)
        self._images.append({"image": images})
        return range(first, len(self._images))

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Images (n, h, w, c) uint8 for indices (n,)."""
        return self._images.gather("image", indices)


class Sight(NamedTuple):
    """What a network is given of n steps, as `RobotPolicyNetwork.forward` takes it.

    `observations` (n, size), or (n, window, size) with NaN before an episode's begin; `images` (n, h, w, c) uint8 and
    `seen` (n,) bool, None where the network does not see.
    """

    observations: torch.Tensor
    images: torch.Tensor | None = None
    seen: torch.Tensor | None = None

    def rows(self, chosen: slice) -> Sight:
        """Some of the steps."""
        return Sight(*(None if column is None else column[chosen] for column in self))

    @classmethod
    def joined(cls, parts: list[Sight]) -> Sight:
        """All steps of several, in their order."""
        return cls(*(None if columns[0] is None else torch.cat(columns) for columns in zip(*parts, strict=True)))


class ObservedSteps:
    """Steps of episodes with what was seen in each; `columns` holds, beside the vectors, what else is known of them.

    Only where a network looks back is it kept where an episode begins, and only where it sees, which picture is whose.
    """

    def __init__(self, architecture: Architecture, columns: ChunkedColumns, images: ImageStore | None) -> None:
        self.columns = columns
        self._images = images
        self._shape = architecture

    def __len__(self) -> int:
        return len(self.columns)

    def append(self, observations: np.ndarray, images: np.ndarray | None = None, **others: np.ndarray) -> np.ndarray:
        """Add the steps of one episode: observations (n, size), images (n, h, w, c) uint8 or None, and other columns.

        Returns the rows (n,) where they lie.

        Raises:
            ValueError: the images have another shape or type than the network sees.
        """
        first, count = len(self), len(observations)
        columns = {"observations": observations, **others}
        if self._shape.window > 1:
            columns["begin"] = np.full(count, first, dtype=np.int32)
        if self._images is not None:
            assert self._shape.senses is not None
            places = np.full(count, _NONE, dtype=np.int32)
            if images is not None:
                if images.dtype != np.uint8 or images.shape != (count, *(self._shape.senses.image or ())):
                    raise ValueError(
                        f"images are {images.dtype} {images.shape}, expected uint8 ({count}, "
                        f"{', '.join(map(str, self._shape.senses.image or ()))}), one a step"
                    )
                kept = self._images.append(images)
                places = np.arange(kept.start, kept.stop, dtype=np.int32)
            columns["image"] = places
        self.columns.append(columns)
        return first + np.arange(count)

    @property
    def complete(self) -> bool:
        """Whether every picture that is counted is there."""
        if self._images is None or not len(self):
            return True
        return int(self.columns.gather("image", np.arange(len(self))).max()) < len(self._images)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Observations (n, size) of the rows (n,), without what was before."""
        return self.columns.gather("observations", rows)

    def sight(self, rows: np.ndarray) -> Sight:
        """What the network is given of the rows (n,)."""
        images = seen = None
        if self._images is not None:
            places = self.columns.gather("image", rows)
            there = places != _NONE
            assert self._shape.senses is not None
            pictures = np.zeros((len(rows), *(self._shape.senses.image or ())), dtype=np.uint8)
            if there.any():
                pictures[there] = self._images.gather(places[there])
            images, seen = torch.from_numpy(pictures), torch.from_numpy(there)
        return Sight(torch.from_numpy(self._looked_back(rows)), images, seen)

    def _looked_back(self, rows: np.ndarray) -> np.ndarray:
        window = self._shape.window
        if window == 1:
            return self.vectors(rows)
        steps = rows[:, None] + np.arange(1 - window, 1)
        begun = steps >= self.columns.gather("begin", rows)[:, None]
        observations = self.vectors(np.maximum(steps, 0).ravel()).reshape(*steps.shape, -1)
        observations[~begun] = np.nan
        return observations

    def pictures(self, most: int) -> np.ndarray | None:
        """Up to `most` of the pictures (n, h, w, c), evenly spaced; None where there is none."""
        if self._images is None:
            return None
        places = self.columns.gather("image", np.arange(0, len(self), max(len(self) // most, 1)))
        places = places[places != _NONE]
        return self._images.gather(places) if len(places) else None
