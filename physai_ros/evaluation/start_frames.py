"""Pictures of start scenes, so that a person can set one up again as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

_EDGE = (255, 64, 64)


class StartFrames:
    """The first camera picture of every start state, as PNG files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, scenario_json: str) -> Path:
        """File of a start state's picture, there or not."""
        return self.folder / f"start_{hashlib.sha256(scenario_json.encode()).hexdigest()[:16]}.png"

    def keep(self, scenario_json: str, image: np.ndarray) -> None:
        """Keep a picture (height, width, 3) uint8 RGB, unless there is one of this start state already."""
        path = self.path(scenario_json)
        if path.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}")
        done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if done:
            scratch.write_bytes(data.tobytes())
            scratch.replace(path)

    def reference(self, scenario_json: str) -> np.ndarray | None:
        """The picture that was kept of a start state, None where there is none."""
        picture = (
            cv2.imread(str(self.path(scenario_json)), cv2.IMREAD_COLOR) if self.path(scenario_json).exists() else None
        )
        return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def overlay(reference: np.ndarray, live: np.ndarray) -> np.ndarray:
    """The live picture (h, w, 3) uint8 RGB with the reference seen through it, and the reference's edges in red."""
    height, width = live.shape[:2]
    wanted = cv2.resize(reference, (width, height), interpolation=cv2.INTER_AREA)
    blended = cv2.addWeighted(wanted, 0.5, live, 0.5, 0.0)
    edges = cv2.Canny(cv2.cvtColor(wanted, cv2.COLOR_RGB2GRAY), 60, 160)
    blended[edges > 0] = _EDGE
    return blended


def mismatch(reference: np.ndarray, live: np.ndarray) -> float:
    """Mean difference of two pictures in 0 ... 1, after a blur that forgives a pixel or two; lower fits better."""
    height, width = live.shape[:2]
    wanted = cv2.resize(reference, (width, height), interpolation=cv2.INTER_AREA)
    a, b = (cv2.GaussianBlur(image, (0, 0), 2.0).astype(float) for image in (wanted, live))
    return float(np.abs(a - b).mean() / 255.0)
