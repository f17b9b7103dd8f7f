"""How a LeRobotDataset of version 3.0 lies on disk: names of files, features, and how they are filled from an episode.

Source: LeRobot's own `datasets/lerobot_dataset.py` of release 0.4.4, which the exports are tested with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from physai_ros.experience.episode import Episode

CODEBASE_VERSION = "v3.0"
CHUNK_FILES = 1000
DATA_FILE_MEGABYTES = 100
VIDEO_FILE_MEGABYTES = 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
SIDECAR_PATH = "meta/physai_episodes.json"
SIDECAR_FORMAT = "physai_ros episodes in a LeRobotDataset"
STATE_KEY, ACTION_KEY = "observation.state", "action"
PICTURE_PREFIX = "observation.images."
COLUMN_PREFIX = "physai."  # LeRobot's policies take no notice of features that begin so
SHOWN_PREFIX = "physai.picture_stamp."
GRIPPER_STATE, GRIPPER_ACTION = "gripper_width", "gripper_command"


class ExchangeError(RuntimeError):
    """Episodes cannot be exported or imported; the message says what to do."""


@dataclass(frozen=True)
class Feature:
    """One feature: LeRobot's `dtype`, its `shape` and the `names` along its first axis."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As `info.json` has it."""
        data: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape)}
        data["names"] = list(self.names) if self.names is not None else None
        return data | ({"info": self.info} if self.info else {})


class Place(NamedTuple):
    """A file by the number of its chunk and its own number within."""

    chunk: int = 0
    file: int = 0

    def next(self) -> Place:
        """The file after this one."""
        return Place(self.chunk + 1, 0) if self.file == CHUNK_FILES - 1 else Place(self.chunk, self.file + 1)

    def path(self, pattern: str, **names: str) -> str:
        """Path of the file, after a pattern such as `DATA_PATH`."""
        return pattern.format(chunk_index=self.chunk, file_index=self.file, **names)


COUNTERS = {
    "timestamp": Feature("float32", (1,)),
    "frame_index": Feature("int64", (1,)),
    "episode_index": Feature("int64", (1,)),
    "index": Feature("int64", (1,)),
    "task_index": Feature("int64", (1,)),
}
"""What every LeRobotDataset has beside its own features."""

ENDS = {
    "next.reward": Feature("float32", (1,)),
    "next.done": Feature("bool", (1,)),
    "next.success": Feature("bool", (1,)),
}


def table_columns(episode: Episode, rows: np.ndarray, last: np.ndarray, *, exact: bool) -> dict[str, np.ndarray]:
    """Columns (frames, ...) of an episode's frames: state at the samples `rows`, action at the samples `last`.

    Between two frames the arm follows many commands; the action of a frame is the last of them, where the arm was sent
    by the time of the next frame. With `exact`, all series of the episode come along under names of our own.
    """
    series = episode.series
    width = series["gripper_width"][rows, None]
    grip = series["action_gripper"][last, None]
    ends = np.zeros(len(rows), dtype=bool)
    ends[-1:] = True
    columns = {
        STATE_KEY: np.hstack([series["joint_positions"][rows], width]).astype(np.float32),
        ACTION_KEY: np.hstack([series["command_positions"][last], grip]).astype(np.float32),
        "next.reward": np.where(ends, episode.outcome.reward, 0.0).astype(np.float32),
        "next.done": ends,
        "next.success": ends & episode.outcome.success,
    }
    for name, column in series.items() if exact else ():
        values = column[rows].reshape(len(rows), -1) if column.ndim > 1 else column[rows]
        if values.ndim == 1 or values.shape[1]:  # a feature of no width cannot be written
            columns[f"{COLUMN_PREFIX}{name}"] = values
    for camera, pictures in episode.pictures.items() if exact else ():
        shown = pictures.newest_at(series["stamp"][rows])
        stamps = np.concatenate([pictures.stamps, [np.nan]])
        columns[f"{SHOWN_PREFIX}{camera}"] = stamps[shown]
    return columns


def features_of(episode: Episode, columns: dict[str, np.ndarray]) -> dict[str, Feature]:
    """Features of the columns, in their order, those of the cameras and the counters included."""
    names = {
        STATE_KEY: (*episode.joint_names, GRIPPER_STATE),
        ACTION_KEY: (*episode.joint_names, GRIPPER_ACTION),
    }
    features: dict[str, Feature] = {}
    for key, column in columns.items():
        shape = (1,) if column.ndim == 1 else column.shape[1:]
        features[key] = ENDS.get(key) or Feature(column.dtype.name, shape, names.get(key))
    for camera, pictures in sorted(episode.pictures.items()):
        height, width, _ = pictures.rgb(0).shape
        features[f"{PICTURE_PREFIX}{camera}"] = Feature("video", (height, width, 3), ("height", "width", "channels"))
    return features | COUNTERS


def statistics(values: np.ndarray) -> dict[str, Any]:
    """LeRobot's statistics of a column (n, ...): extremes, mean, spread and quantiles along the first axis.

    What is not finite is left out; where nothing else is there, the figures are 0, for JSON has no NaN.
    """
    table = np.asarray(values, dtype=float).reshape(len(values), -1)
    table = np.where(np.isfinite(table), table, np.nan)
    table[:, np.isnan(table).all(axis=0)] = 0.0
    quantiles = np.nanquantile(table, (0.01, 0.1, 0.5, 0.9, 0.99), axis=0)
    figures = {
        "min": np.nanmin(table, axis=0),
        "max": np.nanmax(table, axis=0),
        "mean": np.nanmean(table, axis=0),
        "std": np.nanstd(table, axis=0),
        **dict(zip(("q01", "q10", "q50", "q90", "q99"), quantiles, strict=True)),
    }
    return {name: figure.tolist() for name, figure in figures.items()} | {"count": [len(values)]}


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of all episodes from those of each; quantiles are weighted means, as LeRobot merges them."""
    counts = np.array([part["count"][0] for part in parts], dtype=float)
    stacked = {name: np.array([part[name] for part in parts], dtype=float) for name in parts[0] if name != "count"}
    weights = (counts / counts.sum()).reshape(-1, *[1] * (stacked["mean"].ndim - 1))
    mean = (stacked["mean"] * weights).sum(axis=0)
    spread = ((stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2) * weights).sum(axis=0)
    figures = {name: (values * weights).sum(axis=0) for name, values in stacked.items() if name.startswith("q")}
    figures |= {"mean": mean, "std": np.sqrt(spread)}
    figures |= {"min": stacked["min"].min(axis=0), "max": stacked["max"].max(axis=0)}
    return {name: values.tolist() for name, values in figures.items()} | {"count": [int(counts.sum())]}
