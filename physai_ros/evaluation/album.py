"""What the simulated cameras see in an episode that is run in one process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from physai_ros.experience.pictures import Pictures, encode_picture
from physai_ros.policy.encoder import EncoderShape


@dataclass(frozen=True)
class RolloutCameras:
    """Cameras whose pictures are kept with the episode, by name, and the pictures' size [pixel]."""

    names: tuple[str, ...] = ("scene", "wrist")
    height: int = 84
    width: int = 84


class Drawing(Protocol):
    """An arm whose scene can be drawn."""

    def render(self, camera: str, height: int, width: int) -> np.ndarray:
        """A picture (height, width, 3) uint8."""


class PictureAlbum:
    """Draws what is to be kept and what a policy of these senses looks at, and keeps the former, compressed.

    Where both are of one size a picture is drawn once.
    """

    def __init__(self, kept: RolloutCameras | None, senses: EncoderShape | None) -> None:
        self._kept = kept
        self._looked_at: dict[str, tuple[int, int]] = {}
        if senses is not None and senses.image is not None:
            self._looked_at = {name: senses.image[:2] for name in senses.cameras or ("scene",)}
        self._pictures = {name: Pictures() for name in kept.names} if kept is not None else {}
        self._stamps: list[float] = []

    def take(self, arm: Drawing, instant: float) -> dict[str, tuple[float, np.ndarray]]:
        """What the policy's cameras see at an instant [s], by name; keeps what is to be kept."""
        drawn: dict[tuple[str, int, int], np.ndarray] = {}

        def picture(name: str, height: int, width: int) -> np.ndarray:
            key = (name, height, width)
            if key not in drawn:
                drawn[key] = arm.render(*key)
            return drawn[key]

        if self._kept is not None:
            self._stamps.append(instant)
            for name, pictures in self._pictures.items():
                pictures.encoded.append(encode_picture(picture(name, self._kept.height, self._kept.width)))
        return {name: (instant, picture(name, *size)) for name, size in self._looked_at.items()}

    def pictures(self) -> dict[str, Pictures]:
        """What was kept, by camera."""
        stamps = np.array(self._stamps)
        return {name: Pictures(stamps, pictures.encoded) for name, pictures in self._pictures.items()}
