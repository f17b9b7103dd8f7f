"""An episode at a glance: what a camera saw, side by side in the order of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physai_ros.durable import replace_file
from physai_ros.experience.episode import Episode
from physai_ros.experience.pictures import encode_picture

_HEIGHT = 180  # [pixel] of a picture in the strip
_CAPTION = 18  # [pixel]
_GAP = 4  # [pixel] between two pictures


def picture_strip(episode: Episode, camera: str, count: int = 8) -> np.ndarray:
    """Strip (height, width, 3) uint8 of `count` pictures from start to end, each with its time [s] below it.

    Raises:
        ValueError: the camera saw nothing in this episode.
    """
    import cv2

    pictures = episode.pictures.get(camera)
    if pictures is None or not len(pictures):
        known = ", ".join(episode.pictures) or "none"
        raise ValueError(f"episode {episode.context.episode_id} has no pictures of '{camera}'; its cameras: {known}")
    start = float(episode.series["stamp"][0]) if len(episode) else float(pictures.stamps[0])
    tiles = []
    for index in np.unique(np.linspace(0, len(pictures) - 1, count).round().astype(int)):
        rgb = pictures.rgb(int(index))
        width = max(1, round(rgb.shape[1] * _HEIGHT / rgb.shape[0]))
        tile = np.full((_HEIGHT + _CAPTION, width + _GAP, 3), 255, dtype=np.uint8)
        tile[:_HEIGHT, :width] = cv2.resize(rgb, (width, _HEIGHT), interpolation=cv2.INTER_AREA)
        text = f"{round(pictures.stamps[index] - start, 1) + 0.0:.1f} s"
        cv2.putText(tile, text, (2, _HEIGHT + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    return np.hstack(tiles)


def write_strips(episode: Episode, path: Path, count: int = 8) -> list[str]:
    """Write the strips of all cameras, one below the other, as a PNG file; returns the cameras in it."""
    strips = {name: picture_strip(episode, name, count) for name, each in episode.pictures.items() if len(each)}
    if not strips:
        return []
    width = max(strip.shape[1] for strip in strips.values())
    rows = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips.values()]
    replace_file(path, encode_picture(np.vstack(rows), "png"))
    return list(strips)
