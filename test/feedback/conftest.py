"""An uneventful episode to make things happen in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose
from physai_ros.robot.command import CommandSource


def build_episode(
    episode_id: str = "000001",
    success: bool = False,
    mode: str = "unknown",
    end_reason: str = "outcome",
    seconds: float = 6.0,
    **context: object,
) -> Episode:
    """An arm under its policy, at rest, with open fingers and no contact."""
    count = round(seconds * 100)
    zeros = np.zeros
    series = {
        "stamp": (500 + np.arange(count)) / 100.0,
        "sequence": np.arange(count) + 1,
        **{name: zeros((count, 7)) for name in ("joint_positions", "joint_velocities", "joint_torques")},
        "commanded_positions": zeros((count, 7)),
        "ee_position": np.tile([0.5, 0.0, 0.1], (count, 1)),
        "ee_orientation": np.tile([1.0, 0, 0, 0], (count, 1)),
        "ee_velocity": zeros((count, 6)),
        "wrench": zeros((count, 6)),
        "contact_forces": zeros((count, 2)),
        "gripper_width": np.full(count, 0.08),
        "gripper_force": zeros(count),
        "gripper_command": np.ones(count),
        "object_poses": zeros((count, 0, 7)),
        "command_source": np.full(count, CommandSource.POLICY, dtype=np.uint8),
        "command_positions": zeros((count, 7)),
        "command_altered": zeros(count, dtype=bool),
        "action_ee_delta": zeros((count, 6)),
        "action_gripper": np.ones(count),
        "action_value": np.full(count, np.nan),
        "action_uncertainty": np.full(count, np.nan),
    }
    known = EpisodeContext(
        episode_id,
        Phase.ENDED,
        Purpose.TRAIN,
        "reach",
        start_sequence=1,
        end_reason=end_reason,
        policy_version="000001",
    )
    outcome = EpisodeOutcome(success, float(success), "none" if success else mode)
    return Episode(replace(known, **context), outcome, tuple(f"joint_{i}" for i in range(7)), (), series)


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    """`build_episode`."""
    return build_episode
