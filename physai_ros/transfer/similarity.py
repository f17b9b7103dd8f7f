"""How near simulation came to a real episode: aligned, measured, and traced to modalities, phases and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from physai_ros.experience.episode import Episode
from physai_ros.transfer.alignment import aligned
from physai_ros.transfer.parameter_space import ParameterSpace

STRIDE = 10
"""Control cycles between compared instants."""

TOLERANCES: dict[str, tuple[float, str]] = {
    "motion": (0.02, "m"),
    "gripper": (0.01, "m"),
    "contact": (0.5, "share of the pads and the hand that touch"),
    "force": (5.0, "N"),
    "objects": (0.02, "m"),
}
"""Modality -> difference that makes its gap one half, and its unit."""

PHASES = ("free", "contact", "holding")
"""Free motion; something touched; something held between closed fingers."""

_BAND = 10  # compared instants, 1 s, by which two episodes may be shifted in time
_TOUCH = 1.0  # [N] above which there is contact
_BLOCK = 5  # compared instants, 0.5 s, that are drawn together for the interval, since neighbours are alike
_RESAMPLES = 200


@dataclass(frozen=True)
class SimilarEpisode:
    """What a comparison found; every gap is a number in 0 ... 1, 0 where nothing differs.

    Attributes:
        index: of the nearest simulated episode.
        gaps: of every simulated episode, in their order.
        gap, lower, upper: of the nearest, with the bootstrap interval of 95 % over stretches of the episode.
        by_modality: share of the gap that each modality contributes, in all one; empty where there is no gap.
        by_phase: share of the gap that falls into each phase of the real episode, in all one.
        differences: root mean square difference of each modality, in the unit of `TOLERANCES`.
        delay: by which the simulated episode is ahead on average [s].
    """

    index: int
    gaps: tuple[float, ...]
    gap: float
    lower: float
    upper: float
    by_modality: dict[str, float]
    by_phase: dict[str, float]
    differences: dict[str, float]
    delay: float


def find_similar_episode(real: Episode, simulated: Sequence[Episode]) -> SimilarEpisode:
    """The simulated episode that is nearest to a real one, and how far it is from it.

    Tool path, gripper, contact events, forces and objects are compared after both were aligned in time. A difference d
    of a modality with tolerance t counts as d / (d + t); the gap is the mean over modalities and time.

    Raises:
        ValueError: there is nothing to compare with, or an episode has other objects.
    """
    if not simulated:
        raise ValueError("no simulated episode to compare with; simulate some with sampled parameters first")
    for episode in simulated:
        if episode.object_names != real.object_names:
            raise ValueError(
                f"simulated objects are {', '.join(episode.object_names) or 'none'}; the real episode has "
                f"{', '.join(real.object_names) or 'none'}: compare episodes of one task"
            )
    ours = _signals(real)
    compared = [_compare(ours, _signals(episode)) for episode in simulated]
    gaps = tuple(float(np.mean(rows)) for _, rows, _ in compared)
    index = int(np.argmin(gaps))
    path, rows, distances = compared[index]
    names, total = list(ours), float(rows.sum())
    phase = _phases(real)[path[:, 0]]
    lower, upper = _interval(rows.mean(axis=1))
    return SimilarEpisode(
        index=index,
        gaps=gaps,
        gap=gaps[index],
        lower=lower,
        upper=upper,
        by_modality=dict(zip(names, (rows.sum(axis=0) / total).tolist(), strict=True)) if total else {},
        by_phase={name: float(rows[phase == name].sum() / total) for name in PHASES} if total else {},
        differences=dict(zip(names, np.sqrt(np.mean(distances**2, axis=0)).tolist(), strict=True)),
        delay=float(np.mean(path[:, 0] - path[:, 1])) * _period(real),
    )


def explained_by(
    space: ParameterSpace, parameters: Sequence[Mapping[str, float]], gaps: Sequence[float]
) -> dict[str, float]:
    """Share of the gaps that each parameter explains, by the square of its rank correlation with them; in all one.

    `parameters` and `gaps` are of simulated episodes. What chance alone would do (one over their number) is taken off;
    empty where nothing is left, or fewer than four were compared.

    Raises:
        ValueError: as many gaps as there are not parameters.
    """
    if len(parameters) != len(gaps):
        raise ValueError(f"{len(parameters)} sets of parameters and {len(gaps)} gaps; expected as many of both")
    if len(gaps) < 4 or np.ptp(gaps) == 0.0:
        return {}
    points = np.array([space.point(values) for values in parameters])
    explained = {}
    for name, column in zip(space.names, points.T, strict=True):
        if np.ptp(column) > 0.0:
            correlation = float(stats.spearmanr(column, gaps).statistic)
            explained[name] = max(0.0, correlation**2 - 1.0 / (len(gaps) - 1))
    total = sum(explained.values())
    return {name: share / total for name, share in explained.items() if share} if total else {}


def _signals(episode: Episode) -> dict[str, np.ndarray]:
    """Modality -> (t, k), one row every `STRIDE` cycles."""
    series = episode.series
    rows = slice(0, len(episode), STRIDE)
    pads, force = series["contact_forces"][rows], series["wrench"][rows, :3]
    touching = np.column_stack([pads > _TOUCH, np.linalg.norm(force, axis=1) > _TOUCH])
    signals = {
        "motion": series["ee_position"][rows],
        "gripper": series["gripper_width"][rows, np.newaxis],
        "contact": touching / touching.shape[1],
        "force": force,
    }
    if episode.object_names:
        poses = series["object_poses"][rows]
        signals["objects"] = poses[:, :, :3].reshape(len(poses), -1)
    return signals


def _phases(episode: Episode) -> np.ndarray:
    """Name of the phase (t,) at each compared instant."""
    series, rows = episode.series, slice(0, len(episode), STRIDE)
    pads = series["contact_forces"][rows]
    held = (series["gripper_command"][rows] < 0.0) & (pads.min(axis=1) > _TOUCH)
    touched = (pads.max(axis=1) > _TOUCH) | (np.linalg.norm(series["wrench"][rows, :3], axis=1) > _TOUCH)
    return np.where(held, "holding", np.where(touched, "contact", "free"))


def _compare(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Path (p, 2); gap (p, modalities) and distance (p, modalities) of each pair on it."""
    distances = np.stack(
        [
            np.linalg.norm(values[:, np.newaxis] - theirs[name][np.newaxis], axis=2)
            if name != "contact"
            else np.abs(values[:, np.newaxis] - theirs[name][np.newaxis]).sum(axis=2)
            for name, values in ours.items()
        ],
        axis=2,
    )
    tolerances = np.array([TOLERANCES[name][0] for name in ours])
    gaps = distances / (distances + tolerances)
    path = aligned(gaps.mean(axis=2), _BAND)
    return path, gaps[path[:, 0], path[:, 1]], distances[path[:, 0], path[:, 1]]


def _interval(gaps: np.ndarray) -> tuple[float, float]:
    """Bounds of 95 % of the mean gap (p,) along a path, by a bootstrap of blocks; the same for the same path."""
    generator, length = np.random.default_rng(len(gaps)), min(_BLOCK, len(gaps))
    starts = generator.integers(0, len(gaps) - length + 1, (_RESAMPLES, -(-len(gaps) // length)))
    means = gaps[(starts[:, :, np.newaxis] + np.arange(length)).reshape(_RESAMPLES, -1)].mean(axis=1)
    lower, upper = np.quantile(means, [0.025, 0.975])
    return float(min(lower, gaps.mean())), float(max(upper, gaps.mean()))


def _period(episode: Episode) -> float:
    stamps = episode.series["stamp"]
    return STRIDE * float(stamps[-1] - stamps[0]) / max(len(stamps) - 1, 1)
