"""Episodes made of random numbers, every column filled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose


def build_episode(
    samples: int = 40,
    joints: int = 7,
    pads: int = 2,
    objects: int = 2,
    seed: int = 0,
    episode_id: str = "000001",
    lost: tuple[int, ...] = (),
    **context: object,
) -> Episode:
    """An episode of random numbers on a grid of 100 Hz; samples at the indices `lost` are missing."""
    generator = np.random.default_rng(seed)
    start = int(generator.integers(1, 1 << 40))
    kept = np.array([i for i in range(samples) if i not in lost], dtype=np.int64)
    count = len(kept)
    begin = int(generator.integers(0, 2_000_000_000))
    stamp = np.array([(begin * 10**9 + int(i) * 10_000_000) / 10**9 for i in kept])
    source = generator.integers(0, 4, count).astype(np.uint8)
    gripper = generator.uniform(-1, 1, count)
    value = np.where(generator.random(count) < 0.5, np.nan, generator.random(count))
    series = {
        "stamp": stamp,
        "sequence": start + kept,
        "joint_positions": generator.normal(size=(count, joints)),
        "joint_velocities": generator.normal(size=(count, joints)),
        "joint_torques": generator.normal(size=(count, joints)),
        "commanded_positions": generator.normal(size=(count, joints)),
        "ee_position": generator.normal(size=(count, 3)),
        "ee_orientation": generator.normal(size=(count, 4)),
        "ee_velocity": generator.normal(size=(count, 6)),
        "wrench": generator.normal(size=(count, 6)),
        "contact_forces": generator.random((count, pads)),
        "gripper_width": generator.random(count),
        "gripper_force": generator.random(count),
        "gripper_command": gripper,
        "object_poses": generator.normal(size=(count, objects, 7)),
        "command_source": source,
        "command_positions": generator.normal(size=(count, joints)),
        "command_altered": generator.random(count) < 0.3,
        "action_ee_delta": generator.normal(size=(count, 6)),
        "action_gripper": generator.uniform(-1, 1, count),
        "action_value": value,
        "action_uncertainty": generator.random(count),
    }
    fields = {
        "episode_id": episode_id,
        "phase": Phase.ENDED,
        "purpose": Purpose.TRAIN,
        "task": "reach",
        "instruction": "reach the mark",
        "goal": (0.1, -0.2, 0.3),
        "scenario_json": "{}",
        "seed": seed,
        "policy_version": "000003",
        "robot": "fr3_sim",
        "start_sequence": start,
        "end_reason": "outcome",
        "stamp": float(stamp[-1]) if count else 1.5,
    }
    return Episode(
        context=EpisodeContext(**(fields | context)),
        outcome=EpisodeOutcome(True, 1.0, "none", "at the mark", {"distance": 0.004}, fields["stamp"]),
        joint_names=tuple(f"joint_{i}" for i in range(joints)),
        object_names=tuple(f"object_{i}" for i in range(objects)),
        series=series,
        lost_samples=len([i for i in lost if i < (int(kept[-1]) if count else 0)]),
    )


def assert_same(first: Episode, second: Episode) -> None:
    """Both tell the same, to the last bit."""
    assert first.context == second.context
    assert first.outcome == second.outcome
    assert (first.joint_names, first.object_names) == (second.joint_names, second.object_names)
    assert (first.lost_samples, first.complete) == (second.lost_samples, second.complete)
    assert first.series.keys() == second.series.keys()
    for name, column in first.series.items():
        assert column.dtype == second.series[name].dtype, name
        np.testing.assert_array_equal(column, second.series[name], err_msg=name)


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    """`build_episode`."""
    return build_episode


@pytest.fixture(scope="session")
def same() -> Callable[[Episode, Episode], None]:
    """`assert_same`."""
    return assert_same
