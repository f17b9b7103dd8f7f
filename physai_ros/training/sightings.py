"""What a policy's cameras saw at its steps, out of an episode's pictures."""

from __future__ import annotations

import cv2
import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.sight import IMAGE_TIMEOUT


def images_at(episode: Episode, instants: np.ndarray, senses: EncoderShape | None) -> np.ndarray | None:
    """Images (n, height, width, channels) uint8 at instants (n,) [s], as the policy would have seen them.

    None where the policy does not see, or a camera of its was silent at one of the instants: such an episode is learned
    from in the dark. Pictures are made small as the fusion does it, by averaging areas.
    """
    if senses is None or senses.image is None:
        return None
    height, width, _ = senses.image
    columns = []
    for name in senses.cameras or tuple(episode.pictures)[:1]:
        pictures = episode.pictures.get(name)
        if pictures is None or not len(pictures):
            return None
        newest = pictures.newest_at(instants)
        if (newest < 0).any() or (instants - pictures.stamps[newest] > IMAGE_TIMEOUT).any():
            return None
        drawn = {index: _small(pictures.rgb(index), height, width) for index in np.unique(newest).tolist()}
        columns.append(np.stack([drawn[index] for index in newest.tolist()]))
    return np.concatenate(columns, axis=3) if columns else None


def _small(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    if rgb.shape[:2] == (height, width):
        return rgb
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
