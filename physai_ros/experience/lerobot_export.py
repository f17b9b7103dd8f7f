"""Episodes to a LeRobotDataset of version 3.0, which holds all that they hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.experience.lerobot_layout import (
    CHUNK_FILES,
    CODEBASE_VERSION,
    DATA_FILE_MEGABYTES,
    DATA_PATH,
    EPISODES_PATH,
    INFO_PATH,
    PICTURE_PREFIX,
    SIDECAR_FORMAT,
    SIDECAR_PATH,
    STATS_PATH,
    TASKS_PATH,
    VIDEO_FILE_MEGABYTES,
    VIDEO_PATH,
    ExchangeError,
    Feature,
    Place,
    features_of,
    merged,
    statistics,
    table_columns,
)
from physai_ros.experience.parquet import TableWriter, write_table, write_tasks
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.experience.video import VideoWriter

_SAMPLED = 40  # pictures an episode that image statistics are taken from
_PIXELS = 8  # every so many pixels along each side count


@dataclass(frozen=True)
class ExportResult:
    """What was written: `frames` are those of all episodes together, `exact` that importing gives them back."""

    episodes: int
    frames: int
    fps: int
    cameras: tuple[str, ...]
    exact: bool


def export_lerobot(
    episodes: Iterable[tuple[Episode, EpisodeSummary]],
    folder: Path,
    *,
    fps: int = 0,
    codec: str = "h264",
    exact: bool = True,
) -> ExportResult:
    """Write episodes with their summaries as a dataset; `fps` frames a second, 0 for every sample.

    With `exact`, every sample of every column comes along, if `fps` leaves them all in. The folder appears when all is
    written.

    Raises:
        ExchangeError: the folder exists, there are no episodes, or they do not fit together.
    """
    folder = Path(folder)
    if folder.exists():
        raise ExchangeError(f"{folder} exists; name a new folder")
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    writer = _DatasetWriter(scratch, fps, codec, exact)
    try:
        for episode, summary in episodes:
            writer.add(episode, summary)
        result = writer.finish()
        scratch.rename(folder)
    except BaseException:
        writer.abandon()
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return result


class _DatasetWriter:
    def __init__(self, folder: Path, fps: int, codec: str, exact: bool) -> None:
        self._folder, self._fps, self._codec, self._exact = folder, fps, codec, exact
        self._features: dict[str, Feature] = {}
        self._robot = ""
        self._names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._sidecar: list[dict[str, Any]] = []
        self._statistics: dict[str, list[dict[str, Any]]] = {}
        self._frames = 0
        self._data = TableWriter(folder, DATA_PATH)
        self._videos: dict[str, tuple[Place, VideoWriter]] = {}

    def add(self, episode: Episode, summary: EpisodeSummary) -> None:
        """Write one episode."""
        if not len(episode):
            raise ExchangeError(f"episode {episode.context.episode_id} has no samples; leave it out")
        rate = sample_rate(episode) or self._fps or 1
        self._fps = self._fps or rate
        if not self._rows:
            self._exact = self._exact and self._fps == rate
        if self._fps > rate or (self._exact and self._fps != rate):
            raise ExchangeError(
                f"episode {episode.context.episode_id} has {rate} samples a second where {self._fps} frames a second "
                "are written; choose --fps no larger than the slowest"
            )
        rows, last = frame_rows(episode, self._fps, rate)
        columns = table_columns(episode, rows, last, exact=self._exact)
        self._agree(episode, columns)
        index, count = len(self._rows), len(rows)
        task = episode.context.instruction or episode.context.task or "unknown"
        task_index = self._tasks.setdefault(task, len(self._tasks))
        columns |= {
            "timestamp": (np.arange(count) / self._fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, index),
            "index": self._frames + np.arange(count),
            "task_index": np.full(count, task_index),
        }
        place = self._data.append(columns, self._features)
        row = {
            "episode_index": index,
            "tasks": [task],
            "length": count,
            "data/chunk_index": place.chunk,
            "data/file_index": place.file,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
        }
        figures = {key: statistics(column) for key, column in columns.items()}
        for camera in episode.pictures:
            row |= self._film(camera, episode, rows)
            figures[f"{PICTURE_PREFIX}{camera}"] = _picture_statistics(episode, camera)
        for key, figure in figures.items():
            self._statistics.setdefault(key, []).append(figure)
            row |= {f"stats/{key}/{name}": value for name, value in figure.items()}
        self._rows.append(row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        self._frames += count
        self._sidecar.append(_told(episode, summary))

    def finish(self) -> ExportResult:
        """Write what describes the dataset."""
        if not self._rows:
            raise ExchangeError("there are no episodes to export; see `physai data list`")
        self._data.close()
        for camera, (_, video) in self._videos.items():
            video.close()
            key = f"{PICTURE_PREFIX}{camera}"
            self._features[key] = replace(self._features[key], info=video.information(self._fps))
        write_table(self._folder / Place().path(EPISODES_PATH), self._rows)
        write_tasks(self._folder / TASKS_PATH, self._tasks)
        self._write(STATS_PATH, {key: merged(parts) for key, parts in self._statistics.items()})
        self._write(
            INFO_PATH,
            {
                "codebase_version": CODEBASE_VERSION,
                "robot_type": self._robot,
                "total_episodes": len(self._rows),
                "total_frames": self._frames,
                "total_tasks": len(self._tasks),
                "chunks_size": CHUNK_FILES,
                "data_files_size_in_mb": DATA_FILE_MEGABYTES,
                "video_files_size_in_mb": VIDEO_FILE_MEGABYTES,
                "fps": self._fps,
                "splits": {"train": f"0:{len(self._rows)}"},
                "data_path": DATA_PATH,
                "video_path": VIDEO_PATH if self._videos else None,
                "features": {key: feature.to_dict() for key, feature in self._features.items()},
            },
        )
        self._write(
            SIDECAR_PATH, {"format": SIDECAR_FORMAT, "version": 1, "exact": self._exact, "episodes": self._sidecar}
        )
        return ExportResult(len(self._rows), self._frames, self._fps, tuple(sorted(self._videos)), self._exact)

    def abandon(self) -> None:
        """Close what is open, whatever state it is in."""
        for part in (self._data, *(video for _, video in self._videos.values())):
            try:
                part.close()
            except Exception:  # noqa: BLE001 what counts is the error that led here
                continue

    def _agree(self, episode: Episode, columns: dict[str, np.ndarray]) -> None:
        names = (episode.joint_names, episode.object_names)
        features = features_of(episode, columns)
        if not self._rows:
            self._features, self._names, self._robot = features, names, episode.context.robot
        elif names != self._names or features != self._features:
            changed = sorted(k for k in {*features, *self._features} if features.get(k) != self._features.get(k))
            raise ExchangeError(
                f"episode {episode.context.episode_id} has other joints, objects or cameras than those before it "
                f"({', '.join(changed[:4]) or 'names differ'}); export by task and robot, or without exact columns"
            )

    def _film(self, camera: str, episode: Episode, rows: np.ndarray) -> dict[str, Any]:
        """Add an episode's pictures to the camera's video; returns what the episode's row says of it."""
        key = f"{PICTURE_PREFIX}{camera}"
        pictures = episode.pictures[camera]
        place, video = self._videos.get(camera, (Place(), None))
        if video is not None and video.megabytes > VIDEO_FILE_MEGABYTES:
            video.close()
            place, video = place.next(), None
        if video is None:
            height, width, _ = self._features[key].shape
            path = self._folder / place.path(VIDEO_PATH, video_key=key)
            video = VideoWriter(path, self._fps, height, width, self._codec)
            self._videos[camera] = place, video
        start = video.frames / self._fps
        shown, rgb = -2, np.zeros(self._features[key].shape, dtype=np.uint8)  # black until the first picture
        for picture in pictures.newest_at(episode.series["stamp"][rows]).tolist():
            if picture not in (shown, -1):
                rgb, shown = pictures.rgb(picture), picture
            video.append(rgb)
        return {
            f"videos/{key}/chunk_index": place.chunk,
            f"videos/{key}/file_index": place.file,
            f"videos/{key}/from_timestamp": start,
            f"videos/{key}/to_timestamp": video.frames / self._fps,
        }

    def _write(self, name: str, content: dict[str, Any]) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=True), encoding="utf-8")


def sample_rate(episode: Episode) -> int:
    """Samples a second, as the sequence counts them, so that lost ones do not lower it; 0 where it cannot be told."""
    series = episode.series
    steps, times = np.diff(series["sequence"]), np.diff(series["stamp"])
    sound = (steps > 0) & (times > 0)
    return max(1, round(1.0 / float(np.median(times[sound] / steps[sound])))) if sound.any() else 0


def frame_rows(episode: Episode, fps: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last sample (frames,) of every frame."""
    sequence = episode.series["sequence"].astype(np.int64)
    frame = (sequence - sequence[0]) * fps // rate
    first = np.flatnonzero(np.diff(frame, prepend=-1) > 0)
    return first, np.append(first[1:], len(sequence)) - 1


def _picture_statistics(episode: Episode, camera: str) -> dict[str, Any]:
    """Statistics (3, 1, 1) of an episode's pictures by channel, in 0 ... 1."""
    pictures = episode.pictures[camera]
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(_SAMPLED, len(pictures))).astype(int))
    pixels = [pictures.rgb(int(i))[::_PIXELS, ::_PIXELS].reshape(-1, 3) for i in chosen]
    figures = statistics(np.concatenate(pixels) / 255.0)
    shaped = {name: [[[number]] for number in values] for name, values in figures.items() if name != "count"}
    return shaped | {"count": [len(chosen)]}


def _told(episode: Episode, summary: EpisodeSummary) -> dict[str, Any]:
    """What of an episode no table holds."""
    return {
        "summary": summary.to_dict(),
        "joint_names": list(episode.joint_names),
        "object_names": list(episode.object_names),
        "lost_samples": episode.lost_samples,
        "complete": episode.complete,
        "widths": {name: list(column.shape[1:]) for name, column in episode.series.items()},
        "types": {name: column.dtype.name for name, column in episode.series.items()},
    }
