"""Matching a real episode with simulated ones: laws of the alignment, of the gap and of what it is traced to."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome
from physai_ros.transfer.alignment import aligned
from physai_ros.transfer.parameter_space import ParameterSpace
from physai_ros.transfer.similarity import PHASES, TOLERANCES, explained_by, find_similar_episode

costs = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(float, shape, elements=st.floats(0, 9))
)


def episode(
    *, count: int = 300, delay: int = 0, offset: float = 0.0, grip: bool = True, objects: tuple[str, ...] = ("cube",)
) -> Episode:
    """The tool sweeps to and fro, and closes on something in the second half."""
    cycles = np.maximum(np.arange(count) - delay, 0)
    tool = np.stack([0.4 + 0.1 * np.sin(0.02 * cycles) + offset, 0 * cycles, 0.2 + 0 * cycles], axis=1)
    held = (cycles > count // 2) & grip
    poses = np.tile([0.5, 0.0, 0.02, 1.0, 0.0, 0.0, 0.0], (count, len(objects), 1))
    series = {
        "stamp": 0.01 * np.arange(count),
        "ee_position": tool,
        "gripper_width": np.where(held, 0.04, 0.08),
        "gripper_command": np.where(held, -1.0, 1.0),
        "contact_forces": np.where(held, 10.0, 0.0)[:, np.newaxis] * np.ones(2),
        "wrench": np.zeros((count, 6)),
        "object_poses": poses,
    }
    return Episode(EpisodeContext(), EpisodeOutcome(), (), objects, series)


def cheapest(cost: np.ndarray) -> float:
    """Least sum over all paths, by trying each."""
    rows, columns = cost.shape
    best = np.inf
    for steps in itertools.product(((1, 0), (0, 1), (1, 1)), repeat=rows + columns - 2):
        at, total = (0, 0), cost[0, 0]
        for step in steps:
            if at == (rows - 1, columns - 1):
                break
            at = at[0] + step[0], at[1] + step[1]
            if at[0] >= rows or at[1] >= columns:
                break
            total += cost[at]
        if at == (rows - 1, columns - 1):
            best = min(best, total)
    return best


@settings(deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(1, 3)).flatmap(lambda s: arrays(float, s, elements=st.floats(0, 9))))
def test_the_alignment_is_the_cheapest(cost):
    path = aligned(cost, 10)
    assert cost[path[:, 0], path[:, 1]].sum() == pytest.approx(cheapest(cost))


@settings(deadline=None)
@given(costs, st.integers(0, 3))
def test_a_path_goes_from_ends_to_ends_without_going_back(cost, band):
    path = aligned(cost, band)
    assert tuple(path[0]) == (0, 0) and tuple(path[-1]) == (cost.shape[0] - 1, cost.shape[1] - 1)
    steps = np.diff(path, axis=0)
    assert ((steps >= 0) & (steps <= 1)).all() and (steps.sum(axis=1) > 0).all()


def test_an_episode_is_like_itself():
    found = find_similar_episode(episode(), [episode(offset=0.05), episode()])
    assert (found.index, found.gap, found.delay) == (1, 0.0, 0.0)
    assert found.lower == found.upper == 0.0 and found.by_modality == {}


@pytest.mark.parametrize("offsets", [(0.0, 0.01, 0.02, 0.05)])
def test_the_gap_grows_with_the_difference(offsets):
    gaps = find_similar_episode(episode(), [episode(offset=offset) for offset in offsets]).gaps
    assert list(gaps) == sorted(gaps) and gaps[0] < gaps[-1] < 1.0


def test_a_delay_is_aligned_away_and_told():
    found = find_similar_episode(episode(delay=30), [episode()])
    assert found.gap < 0.5 * find_similar_episode(episode(offset=0.02), [episode()]).gap
    assert found.delay == pytest.approx(0.3, abs=0.15)


def test_a_gap_is_traced_to_modality_and_phase():
    moved = find_similar_episode(episode(), [episode(offset=0.03)])
    assert moved.by_modality["motion"] == pytest.approx(1.0)
    assert 0.01 < moved.differences["motion"] <= 0.031  # the sweep can be aligned with part of the offset
    missed = find_similar_episode(episode(), [episode(grip=False)])
    assert missed.by_modality["contact"] + missed.by_modality["gripper"] == pytest.approx(1.0)
    assert missed.by_phase["holding"] == pytest.approx(1.0)
    for found in (moved, missed):
        assert set(found.differences) == set(TOLERANCES) and set(found.by_phase) == set(PHASES)
        assert sum(found.by_modality.values()) == pytest.approx(1.0) == sum(found.by_phase.values())
        assert 0.0 <= found.lower <= found.gap <= found.upper <= 1.0


def test_the_parameter_that_explains_the_gaps_is_named():
    space, generator = ParameterSpace(("actuator_delay", "payload", "calibration_x")), np.random.default_rng(0)
    points = generator.random((40, 3))
    shares = explained_by(space, [space.values(point) for point in points], (points[:, 1] ** 2).tolist())
    assert max(shares, key=shares.get) == "payload" and shares["payload"] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0)
    assert explained_by(space, [space.values(point) for point in points], [0.5] * 40) == {}


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no simulated episode"):
        find_similar_episode(episode(), [])
    with pytest.raises(ValueError, match="compare episodes of one task"):
        find_similar_episode(episode(), [episode(objects=())])
    with pytest.raises(ValueError, match="1 sets of parameters and 2 gaps"):
        explained_by(ParameterSpace(("payload",)), [{"payload": 1.0}], [0.1, 0.2])
