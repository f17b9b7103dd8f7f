"""Episodes from a LeRobotDataset of version 3.0: ours to the last bit, those of others as far as they tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose
from physai_ros.experience.lerobot_layout import (
    ACTION_KEY,
    CODEBASE_VERSION,
    COLUMN_PREFIX,
    INFO_PATH,
    PICTURE_PREFIX,
    SHOWN_PREFIX,
    SIDECAR_FORMAT,
    SIDECAR_PATH,
    STATE_KEY,
    TASKS_PATH,
    ExchangeError,
    Place,
)
from physai_ros.experience.parquet import column_of, read_table
from physai_ros.experience.pictures import Pictures, encode_picture
from physai_ros.experience.resampling import RobotStreams, Stream, resampled
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.experience.video import read_frames
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec

_QUALITY = 95  # of pictures that a video codec has been at already


@dataclass(frozen=True)
class ForeignData:
    """How to read what is not ours.

    Attributes:
        robot: configuration, by name or path; without one the tool's pose stays unknown.
        task: name that the episodes get; empty: the words of the dataset.
        degrees: joint angles are in degrees.
        gripper_open, gripper_closed: values of the gripper that mean fully open and closed.
        outcome: `success` where every episode is one; `unknown`: as `next.success` says, else failure of unknown cause.
        prefix: of the episodes' ids.
    """

    robot: str = ""
    task: str = ""
    degrees: bool = False
    gripper_open: float = 1.0
    gripper_closed: float = 0.0
    outcome: str = "unknown"
    prefix: str = "lerobot"


def import_lerobot(folder: Path, foreign: ForeignData = ForeignData()) -> Iterator[tuple[Episode, EpisodeSummary]]:
    """The episodes of a dataset with their summaries, one after another.

    Raises:
        ExchangeError: the dataset is of another version, damaged, or says too little.
    """
    folder = Path(folder)
    info = _json(folder / INFO_PATH)
    version = info.get("codebase_version")
    if version != CODEBASE_VERSION:
        raise ExchangeError(
            f"{folder} is of LeRobot's version {version}, expected {CODEBASE_VERSION}; convert it with LeRobot's own "
            "`lerobot.datasets.v30.convert_dataset_v21_to_v30`"
        )
    sidecar = _sidecar(folder)
    reader = _Reader(folder, info)
    exact = bool(sidecar.get("exact"))
    spec = RobotSpec.load(foreign.robot) if foreign.robot else None
    kinematics = Kinematics(spec) if spec is not None else None
    for index, row in enumerate(reader.rows):
        told = sidecar["episodes"][index] if sidecar else None
        if exact:
            yield _own(reader, row, told)
        else:
            yield _foreign(reader, row, foreign, kinematics, told)


class _Reader:
    """Reads a dataset from its start to its end."""

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self.folder, self.info = folder, info
        try:
            self.fps = int(info["fps"])
            self.features: dict[str, dict[str, Any]] = info["features"]
            self.cameras = [key for key, feature in self.features.items() if feature["dtype"] == "video"]
            self._data_path, self._video_path = info["data_path"], info.get("video_path") or ""
        except (KeyError, TypeError, ValueError) as error:
            raise ExchangeError(f"{folder / INFO_PATH} does not say {error}; expected LeRobot's version 3.0") from error
        self.rows: list[dict[str, Any]] = []
        for path in sorted((folder / "meta" / "episodes").glob("*/*.parquet")):
            table = read_table(path)
            wanted = [name for name in table.column_names if not name.startswith("stats/")]
            self.rows += table.select(wanted).to_pylist()
        self.rows.sort(key=lambda row: row["episode_index"])
        tasks = read_table(folder / TASKS_PATH)
        words = next((name for name in tasks.column_names if name != "task_index"), None)
        self.tasks = dict(zip(tasks.column("task_index").to_pylist(), tasks.column(words).to_pylist(), strict=True))
        self._table: tuple[Path, Any] | None = None
        self._videos: dict[str, tuple[Path, Iterator[np.ndarray], int]] = {}

    def columns(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """The columns of one episode."""
        path = self.folder / Place(row["data/chunk_index"], row["data/file_index"]).path(self._data_path)
        if self._table is None or self._table[0] != path:
            self._table = path, read_table(path)
        table = self._table[1]
        chosen = np.flatnonzero(column_of(table, "episode_index") == row["episode_index"])
        if len(chosen) != row["length"]:
            raise ExchangeError(
                f"{path} holds {len(chosen)} frames of episode {row['episode_index']}, {row['length']} are announced"
            )
        part = table.slice(int(chosen[0]), len(chosen)) if len(chosen) else table.slice(0, 0)
        return {name: column_of(part, name) for name in part.column_names if self._is_number(name)}

    def frames(self, row: dict[str, Any], key: str) -> Iterator[np.ndarray]:
        """The frames of one episode of one camera; to be read to their end before those of the next."""
        place = Place(row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"])
        path = self.folder / place.path(self._video_path, video_key=key)
        start = round(row[f"videos/{key}/from_timestamp"] * self.fps)
        known = self._videos.get(key)
        if known is None or known[0] != path or known[2] > start:
            known = path, read_frames(path), 0
        _, frames, position = known
        for index in range(position, start + row["length"]):
            frame = next(frames, None)
            if frame is None:
                raise ExchangeError(f"{path} ends after {index} frames; {start + row['length']} are announced")
            self._videos[key] = path, frames, index + 1
            if index >= start:
                yield frame

    def _is_number(self, name: str) -> bool:
        return self.features.get(name, {}).get("dtype") not in (None, "string", "image", "video")


def _own(reader: _Reader, row: dict[str, Any], told: dict[str, Any]) -> tuple[Episode, EpisodeSummary]:
    columns = reader.columns(row)
    summary = EpisodeSummary.from_dict(told["summary"])
    count = row["length"]
    series = {}
    for name, width in told["widths"].items():
        column = columns.get(f"{COLUMN_PREFIX}{name}", np.zeros(0))
        series[name] = column.reshape(count, *width).astype(told["types"][name])
    pictures = {}
    for key in reader.cameras:
        camera = key.removeprefix(PICTURE_PREFIX)
        shown = columns[f"{SHOWN_PREFIX}{camera}"]
        stamps, encoded = [], []
        for stamp, frame in zip(shown.tolist(), reader.frames(row, key), strict=True):
            if np.isfinite(stamp) and (not stamps or stamp != stamps[-1]):
                stamps.append(stamp)
                encoded.append(encode_picture(frame, quality=_QUALITY))
        if stamps:
            pictures[camera] = Pictures(np.array(stamps), encoded)
    names = tuple(told["joint_names"]), tuple(told["object_names"])
    episode = Episode(
        summary.context, summary.outcome, *names, series, told["lost_samples"], told["complete"], pictures
    )
    return episode, summary


def _foreign(
    reader: _Reader,
    row: dict[str, Any],
    foreign: ForeignData,
    kinematics: Kinematics | None,
    told: dict[str, Any] | None,
) -> tuple[Episode, EpisodeSummary]:
    columns = reader.columns(row)
    if STATE_KEY not in columns:
        raise ExchangeError(f"the dataset has no '{STATE_KEY}'; it has {', '.join(sorted(columns))}")
    spec = kinematics.spec if kinematics is not None else None
    stamps = np.arange(row["length"]) / reader.fps
    names = _names(reader.features, STATE_KEY, columns[STATE_KEY].shape[-1])
    joints, grip = _joint_columns(names, spec)
    scale = np.pi / 180.0 if foreign.degrees else 1.0
    state = columns[STATE_KEY].astype(float)
    streams = RobotStreams(
        spec.joint_names if spec is not None else tuple(names[i] for i in joints),
        Stream(stamps, state[:, joints] * scale),
        pictures={key.removeprefix(PICTURE_PREFIX): _film(reader, row, key, stamps) for key in reader.cameras},
    )
    opening = foreign.gripper_open - foreign.gripper_closed
    ours = told is not None
    if grip is not None:
        share = state[:, [grip]] if ours else (state[:, [grip]] - foreign.gripper_closed) / opening
        streams.gripper_width = Stream(stamps, share * (1.0 if ours or spec is None else spec.gripper.max_width))
    action = columns.get(ACTION_KEY)
    if action is not None and action.shape == state.shape:
        streams.commands = Stream(stamps, action[:, joints].astype(float) * scale)
        if grip is not None:
            commanded = action[:, [grip]].astype(float)
            share = commanded if ours else 2.0 * (commanded - foreign.gripper_closed) / opening - 1.0
            streams.gripper_command = Stream(stamps, np.clip(share, -1.0, 1.0))
    if ours:
        summary = EpisodeSummary.from_dict(told["summary"])
        context, outcome = replace(summary.context, start_sequence=1), summary.outcome
    else:
        context, outcome = _told(reader, row, columns, foreign, float(stamps[-1]))
    rate = spec.control_rate if spec is not None else float(reader.fps)
    episode = resampled(streams, context, outcome, begin=0.0, end=float(stamps[-1]), rate=rate, kinematics=kinematics)
    return episode, EpisodeSummary.of(episode)


def _told(
    reader: _Reader, row: dict[str, Any], columns: dict[str, np.ndarray], foreign: ForeignData, end: float
) -> tuple[EpisodeContext, EpisodeOutcome]:
    """Who and what an episode is that says no more than LeRobot wants to know."""
    instruction = reader.tasks.get(int(columns["task_index"][0]), "") if "task_index" in columns else ""
    success = foreign.outcome == "success" or bool(np.any(columns.get("next.success", False)))
    reward = float(np.nansum(columns["next.reward"])) if "next.reward" in columns else float(success)
    context = EpisodeContext(
        episode_id=f"{foreign.prefix}-{row['episode_index']:06d}",
        phase=Phase.ENDED,
        purpose=Purpose.DEMONSTRATE,
        task=foreign.task or instruction,
        instruction=instruction,
        scenario_json="{}",
        robot=foreign.robot or str(reader.info.get("robot_type") or ""),
        start_sequence=1,
        end_reason="outcome" if success else "",
        stamp=end,
    )
    return context, EpisodeOutcome(success, reward, "none" if success else "unknown", stamp=end)


def _film(reader: _Reader, row: dict[str, Any], key: str, stamps: np.ndarray) -> Pictures:
    return Pictures(stamps, [encode_picture(frame, quality=_QUALITY) for frame in reader.frames(row, key)])


def _names(features: dict[str, dict[str, Any]], key: str, width: int) -> list[str]:
    names = features[key].get("names")
    while isinstance(names, dict):  # older datasets nest them, {"motors": [...]}
        names = next(iter(names.values()), None)
    return [str(name) for name in names] if names and len(names) == width else [f"joint_{i}" for i in range(width)]


def _joint_columns(names: list[str], spec: RobotSpec | None) -> tuple[list[int], int | None]:
    """Which columns of the state are the arm's joints, in its own order, and which is the gripper."""
    bare = [name.removesuffix(".pos") for name in names]
    grip = next((i for i, name in enumerate(bare) if "gripper" in name.lower()), None)
    if spec is None:
        return [i for i in range(len(bare)) if i != grip], grip
    wanted = list(spec.joint_names)
    if all(name in bare for name in wanted):
        return [bare.index(name) for name in wanted], grip
    others = [i for i in range(len(bare)) if i != grip]
    if len(others) != len(wanted):
        raise ExchangeError(
            f"the dataset's state holds {', '.join(names)}; {spec.name} has {len(wanted)} joints: name another --robot"
        )
    return others, grip


def _sidecar(folder: Path) -> dict[str, Any]:
    path = folder / SIDECAR_PATH
    if not path.exists():
        return {}
    content = _json(path)
    if content.get("format") != SIDECAR_FORMAT or content.get("version") != 1:
        raise ExchangeError(f"{path} is of another version; update this software, or delete the file")
    return content


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExchangeError(f"{path.parent.parent} is no LeRobotDataset: {path.name}: {error.strerror}") from error
    except ValueError as error:
        raise ExchangeError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ExchangeError(f"{path} holds no JSON object")
    return content
