"""How noisy an arm's sensors are, from its recordings alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.simulation.physics import ROBOT_SIM_PARAMS


def sensor_noise(episodes: Sequence[Episode]) -> dict[str, float]:
    """Standard deviations of the sensors by parameter name, from what changes faster than an arm can.

    Second differences of white noise have six times its variance; noise with a memory is taken for less than it is.
    """
    encoder = np.concatenate([np.diff(episode.series["joint_positions"], 2, axis=0) for episode in episodes])
    found = {"encoder_noise": _robust_spread(encoder)}
    force = np.concatenate([np.diff(episode.series["wrench"][:, :3], 2, axis=0) for episode in episodes])
    found["force_noise"] = _robust_spread(force)
    if episodes[0].object_names:
        poses = np.concatenate([np.diff(e.series["object_poses"][:, :, :3], 2, axis=0) for e in episodes])
        found["object_noise"] = _robust_spread(poses)
    return {name: float(np.clip(value, *ROBOT_SIM_PARAMS[name][1:3])) for name, value in found.items()}


def _robust_spread(second_differences: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(second_differences))) / np.sqrt(6.0)
