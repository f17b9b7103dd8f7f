"""Whether a store is fit to learn from: time gaps, saturated actions, duplicates, pictures unlike the training set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.experience.summary import EpisodeSummary

LONG_GAP = 2.5  # usual steps of the stamps
SATURATED = 0.98  # of the largest action of an axis
SATURATED_SHARE = 0.5  # of the steps of an episode that is pointed out
DIGITS = 6  # of numbers that are compared for duplicates
DARKER, BRIGHTER, BLURRED = 0.33, 3.0, 0.2  # of what is usual in the training set


@dataclass(frozen=True)
class EpisodeQuality:
    """Figures of one episode.

    Attributes:
        gaps: steps of the stamps longer than 2.5 usual ones; longest_gap [s]; jumps_back: stamps that go back.
        saturated: share of the samples whose action is at the largest of its axis, axes with no motion left out.
        brightness, sharpness: by camera.
        fingerprint: the same for episodes that hold the same motion.
    """

    episode_id: str
    gaps: int
    longest_gap: float
    jumps_back: int
    lost_samples: int
    saturated: float
    brightness: Mapping[str, float] = field(default_factory=dict)
    sharpness: Mapping[str, float] = field(default_factory=dict)
    fingerprint: str = ""


def quality_of(episode: Episode, metrics: Mapping[str, float], largest: np.ndarray | None = None) -> EpisodeQuality:
    """Figures of an episode; `metrics` are its summary's, `largest` (7,) the largest action of the store by axis."""
    steps = np.diff(episode.series["stamp"])
    usual = float(np.median(steps)) if len(steps) else 0.0
    long = steps > LONG_GAP * usual
    actions = actions_of(episode)
    largest = np.abs(actions).max(axis=0, initial=0.0) if largest is None else largest
    used = largest > 1e-9
    full = np.abs(actions[:, used]) >= SATURATED * largest[used]
    by_camera = {
        name: {key.split("/", 1)[1]: value for key, value in metrics.items() if key.startswith(f"{name}/")}
        for name in ("brightness", "sharpness")
    }
    return EpisodeQuality(
        episode_id=episode.context.episode_id,
        gaps=int(long.sum()),
        longest_gap=float(steps.max(initial=0.0)),
        jumps_back=int((steps < 0).sum()),
        lost_samples=episode.lost_samples,
        saturated=float(full.any(axis=1).mean()) if full.size else 0.0,
        brightness=by_camera["brightness"],
        sharpness=by_camera["sharpness"],
        fingerprint=_fingerprint(episode),
    )


def actions_of(episode: Episode) -> np.ndarray:
    """What whoever drove meant to do with the tool (n, 6); what is not known is none. The gripper knows two ends."""
    return np.nan_to_num(episode.series["action_ee_delta"])


@dataclass(frozen=True)
class StoreQuality:
    """Figures of a store: of its episodes, and `warnings` by episode in words."""

    episodes: tuple[EpisodeQuality, ...]
    duplicates: tuple[tuple[str, ...], ...]
    warnings: Mapping[str, tuple[str, ...]]


def inspect_store(store: EpisodeStore, against: EpisodeStore | None = None) -> StoreQuality:
    """Figures of every readable episode; pictures are compared with the training episodes of `against`, else its own.

    Reads every sample, but pictures only through what the summaries say of them.
    """
    summaries = store.summaries()
    largest = np.zeros(6)
    for name in summaries:
        # The 99.9th percentile: one wild label must not hide that all others are at their limit.
        actions = np.abs(actions_of(store.read(name)))
        if len(actions):
            largest = np.maximum(largest, np.quantile(actions, 0.999, axis=0))
    qualities = [quality_of(store.read(name), summary.metrics, largest) for name, summary in summaries.items()]
    reference = summaries if against is None else against.summaries()
    usual = _usual_pictures(list(reference.values()))
    by_print: dict[str, list[str]] = {}
    for quality in qualities:
        by_print.setdefault(quality.fingerprint, []).append(quality.episode_id)
    duplicates = tuple(tuple(names) for names in by_print.values() if len(names) > 1)
    twins = {name: names for names in duplicates for name in names}
    warnings = {
        quality.episode_id: tuple(_warnings(quality, usual, twins.get(quality.episode_id, ()))) for quality in qualities
    }
    return StoreQuality(tuple(qualities), duplicates, {name: words for name, words in warnings.items() if words})


def _warnings(quality: EpisodeQuality, usual: Mapping[str, tuple[float, float]], twins: Sequence[str]) -> list[str]:
    found = []
    if quality.gaps:
        found.append(f"{quality.gaps} time gaps, the longest {quality.longest_gap:.3f} s")
    if quality.jumps_back:
        found.append(f"stamps go back {quality.jumps_back} times: the clock was set")
    if quality.lost_samples:
        found.append(f"{quality.lost_samples} samples lost")
    if quality.saturated > SATURATED_SHARE:
        found.append(f"{quality.saturated:.0%} of the actions are at their limit")
    for camera, light in quality.brightness.items():
        usual_light, usual_sharp = usual.get(camera, (np.nan, np.nan))
        if light < DARKER * usual_light or light > BRIGHTER * usual_light:
            found.append(f"camera '{camera}': brightness {light:.0f}, {usual_light:.0f} in the training set")
        if quality.sharpness.get(camera, np.inf) < BLURRED * usual_sharp:
            sharp = quality.sharpness[camera]
            found.append(f"camera '{camera}': sharpness {sharp:.0f}, {usual_sharp:.0f} in the training set")
    if twins:
        found.append(f"the same motion as {', '.join(name for name in twins if name != quality.episode_id)}")
    return found


def _usual_pictures(summaries: Sequence[EpisodeSummary]) -> dict[str, tuple[float, float]]:
    """Median brightness and sharpness by camera, over what is trained on."""
    trained = [s.metrics for s in summaries if s.context.purpose != Purpose.EVALUATE]
    cameras = {key.split("/", 1)[1] for metrics in trained for key in metrics if key.startswith("brightness/")}
    return {
        camera: (
            float(np.median([m[f"brightness/{camera}"] for m in trained if f"brightness/{camera}" in m])),
            float(np.median([m[f"sharpness/{camera}"] for m in trained if f"sharpness/{camera}" in m])),
        )
        for camera in cameras
    }


def _fingerprint(episode: Episode) -> str:
    """The same for the same motion, whatever the episode is called and whenever it was; empty for none."""
    if not len(episode):
        return episode.context.episode_id
    digest = hashlib.sha256()
    for name in ("joint_positions", "command_positions"):
        rounded = np.round(np.nan_to_num(episode.series[name]), DIGITS) + 0.0  # no negative zero
        digest.update(np.ascontiguousarray(rounded).tobytes())
    return digest.hexdigest()


def split_of(context_seed: int, scenario_json: str, validation: float, test: float, seed: int = 0) -> str:
    """`train`, `validation` or `test`: by a hash of the scenario, so that it stays as it is however the store grows.

    Episodes of one scenario fall into one part: what is tested on was never seen.
    """
    text = f"{seed}:{scenario_json if len(scenario_json) > 2 else context_seed}"
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"
