"""What the signals of an episode look like: brightness and sharpness of pictures, standing cameras, swapped joints.

These figures say nothing of how well the arm did; `health` compares them with those of other episodes and names what
is broken.
"""

from __future__ import annotations

import zlib

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.experience.pictures import Pictures
from physai_ros.feedback.failure_modes import count_grasps
from physai_ros.tasks.task import Task

SAMPLED = 6  # pictures an episode whose brightness and sharpness are looked at
MOVING = 0.01  # [m/s] of the tool from which a camera must see something change
LEAST_TRAVEL = 0.05  # [rad] of a joint below which it tells nothing of its order
LAG = 0.3  # [s] by which measured positions may follow commanded ones


def signal_figures(episode: Episode, task: Task | None = None) -> dict[str, float]:
    """Figures of an episode's signals by name; `task` judges its states again, where it knows how.

    - `brightness/<camera>`, `sharpness/<camera>`: mean of the pixels of 255; variance of the Laplacian.
    - `standing/<camera>`: share of the pictures taken in motion that are the same as the one before.
    - `blind/<camera>`: longest time in motion without a picture [s].
    - `swapped`, `swapped_first`, `swapped_second`: how much better (0 ... 1) two joints follow each other's commands
      than their own, and which two.
    - `grasps`: how often the fingers closed on something.
    - `rejudged`: 1 or 0, what the task's own test says of the recorded states; missing where it cannot tell.
    """
    figures: dict[str, float] = {}
    for camera, pictures in episode.pictures.items():
        figures |= {f"{name}/{camera}": value for name, value in _picture_figures(episode, pictures).items()}
    figures |= _swapped(episode)
    figures["grasps"] = float(count_grasps(episode))
    rejudged = _rejudged(episode, task)
    if rejudged is not None:
        figures["rejudged"] = float(rejudged)
    return figures


def brightness_and_sharpness(rgb: np.ndarray) -> tuple[float, float]:
    """Mean of the pixels of 255, and variance of the Laplacian of a picture (height, width, 3) uint8.

    Source of the second: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return float(rgb.mean()), float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _picture_figures(episode: Episode, pictures: Pictures) -> dict[str, float]:
    figures: dict[str, float] = {}
    seen = []
    for index in np.unique(np.linspace(0, len(pictures) - 1, SAMPLED).round().astype(int)) if len(pictures) else ():
        try:
            seen.append(brightness_and_sharpness(pictures.rgb(int(index))))
        except ValueError:
            continue  # a camera that sends rubbish has no brightness
    if seen:
        figures["brightness"], figures["sharpness"] = map(float, np.median(seen, axis=0))
    stamps = episode.series["stamp"]
    if len(stamps) < 2:
        return figures
    speed = np.nan_to_num(np.linalg.norm(episode.series["ee_velocity"][:, :3], axis=1))
    prints = np.array([zlib.crc32(data) for data in pictures.encoded])
    shown = pictures.newest_at(stamps)
    first = np.flatnonzero(np.diff(shown) > 0) + 1  # samples from which a new picture is there
    # A picture taken while the tool moved has to differ from the one before.
    moved = [bool(speed[a:b].mean() > MOVING) for a, b in zip([0, *first[:-1]], first, strict=False)]
    same = [shown[i] > 0 and prints[shown[i]] == prints[shown[i] - 1] for i in first]
    counted = [s for s, m in zip(same, moved, strict=True) if m]
    if counted:
        figures["standing"] = float(np.mean(counted))
    age = stamps - np.concatenate([[stamps[0]], pictures.stamps])[np.maximum(shown + 1, 0)]
    figures["blind"] = float(np.max(np.where(speed > MOVING, age, 0.0), initial=0.0))
    return figures


def _swapped(episode: Episode) -> dict[str, float]:
    """The two joints that follow each other's commands best, compared with how they follow their own."""
    series = episode.series
    measured, commanded = series["joint_positions"], series["command_positions"]
    if len(measured) < 20 or not (np.isfinite(measured).all() and np.isfinite(commanded).all()):
        return {}
    period = float(np.median(np.diff(series["stamp"])))
    lag = _lag(measured, commanded, max(1, round(LAG / max(period, 1e-3))))
    measured, commanded = measured[lag:], commanded[: len(commanded) - lag]
    travel = np.ptp(measured, axis=0)
    own = np.abs(measured - commanded).mean(axis=0)
    best, pair = 0.0, (0, 0)
    for a in range(measured.shape[1]):
        for b in range(a + 1, measured.shape[1]):
            if max(travel[a], travel[b]) < LEAST_TRAVEL:
                continue
            crossed = np.abs(measured[:, a] - commanded[:, b]).mean() + np.abs(measured[:, b] - commanded[:, a]).mean()
            gain = 1.0 - crossed / max(own[a] + own[b], 1e-6)
            if gain > best:
                best, pair = gain, (a, b)
    return {"swapped": float(best), "swapped_first": float(pair[0]), "swapped_second": float(pair[1])}


def _lag(measured: np.ndarray, commanded: np.ndarray, longest: int) -> int:
    """Samples by which the arm as a whole follows its commands, whichever joint is which."""
    lengths = np.linalg.norm(np.diff(measured, axis=0), axis=1), np.linalg.norm(np.diff(commanded, axis=0), axis=1)
    lags = range(0, min(longest, len(measured) // 2), 2)
    return min(lags, key=lambda lag: float(np.abs(lengths[0][lag:] - lengths[1][: len(lengths[1]) - lag]).mean()))


def _rejudged(episode: Episode, task: Task | None) -> bool | None:
    """What the task's own test says of the recorded states; None where it cannot tell from them."""
    if task is None or not len(episode) or not set(_names(task)) <= set(episode.object_names):
        return None
    if not np.isfinite(episode.series["object_poses"]).all() or not episode.complete:
        return None
    test, goal = task.test(), np.array(episode.context.goal)
    start = float(episode.series["stamp"][0])
    try:
        for index in range(len(episode)):
            state = episode.state(index)
            outcome = test.update(state, state.stamp - start, goal)
            if outcome.done:
                return outcome.success
    except (ValueError, KeyError, IndexError):
        return None
    return False


def _names(task: Task) -> list[str]:
    return [item.name for item in task.objects]
