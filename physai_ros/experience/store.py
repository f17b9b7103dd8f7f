"""The store: a folder of episodes that one process writes and many read.

- `store.json`: format and schema version
- `episodes/<id>.mcap`: one finished, durable file an episode
- `annotations/<id>.json`: what people said of an episode afterwards; the recordings are never changed
- `recovered/`: what a crash or a damage left behind, kept as it was after its episode was made readable
- `index.json`: summaries by id, a cache: delete it and it is made again
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from physai_ros.durable import replace_file, sync_folder
from physai_ros.experience.annotations import Annotations, labelled, labelled_summary
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.episode_file import read_episode, write_episode
from physai_ros.experience.recording import (
    PARTIAL_SUFFIX,
    EpisodeRecorder,
    RecordingError,
    is_being_written,
    read_summary,
)
from physai_ros.experience.repair import rebuild
from physai_ros.experience.summary import EpisodeSummary

FORMAT = "physai_ros episode store"
SCHEMA_VERSION = 1
MIGRATIONS: dict[int, Callable[[Path], None]] = {}
"""Step from a schema version to the next, given the store's folder; run in turn when an older store is opened."""

_log = logging.getLogger(__name__)


class StoreError(RuntimeError):
    """A store cannot be used; the message says which folder and what to do."""


class EpisodeStore:
    """Episodes in a folder.

    Raises:
        StoreError: there is no store and none can be made, it is of a newer version, or the folder holds other things.
    """

    def __init__(self, folder: Path | str, create: bool = True) -> None:
        self.folder = Path(folder)
        self.episodes_folder = self.folder / "episodes"
        self._open(create)
        self.annotations = Annotations(self.folder / "annotations")
        self._index: dict[str, dict[str, Any]] | None = None

    def path(self, episode_id: str) -> Path:
        """File of an episode, written or not.

        Raises:
            StoreError: the id cannot be a file name.
        """
        if not episode_id or episode_id.startswith(".") or "/" in episode_id or "\0" in episode_id:
            raise StoreError(f"'{episode_id}' cannot be an episode's id: it must be a plain file name")
        return self.episodes_folder / f"{episode_id}.mcap"

    def ids(self) -> list[str]:
        """Ids of all finished episodes, sorted."""
        return sorted(entry.name.removesuffix(".mcap") for entry in self._entries() if entry.name.endswith(".mcap"))

    def __contains__(self, episode_id: str) -> bool:
        return self.path(episode_id).exists()

    def __len__(self) -> int:
        return len(self.ids())

    def write(self, episode: Episode, summary: EpisodeSummary | None = None) -> Path:
        """Write an episode, with a summary where one was made; it is durable when this returns its path.

        Raises:
            StoreError: it exists already, or the disk does not take it.
        """
        try:
            return write_episode(self.path(episode.context.episode_id), episode, summary)
        except RecordingError as error:
            raise StoreError(str(error)) from error

    def record(self, episode_id: str, prefix: str = "") -> EpisodeRecorder:
        """A recorder for a new episode, fed with serialised messages; topics get `prefix` in front.

        Raises:
            StoreError: the episode exists already, or the disk does not take it.
        """
        try:
            return EpisodeRecorder(self.path(episode_id), prefix=prefix)
        except RecordingError as error:
            raise StoreError(str(error)) from error

    def read(self, episode_id: str, *, pictures: bool = False) -> Episode:
        """An episode with all its samples, as a person labelled it, and with its pictures where they are asked for.

        Raises:
            StoreError: there is none of this id, or its file is damaged.
        """
        self._require(episode_id)
        try:
            episode = read_episode(self.path(episode_id), pictures=pictures)
            episode.outcome = labelled(episode.outcome, self.annotations.of(episode_id).label)
        except (RecordingError, ValueError) as error:
            raise StoreError(str(error)) from error
        return episode

    def summary(self, episode_id: str) -> EpisodeSummary:
        """An episode's context, outcome and metrics, without its samples; a person's label counts for its outcome.

        Raises:
            StoreError: there is none of this id, or its file is damaged.
        """
        self._require(episode_id)
        path = self.path(episode_id)
        status = path.stat()
        mark = [status.st_size, status.st_mtime_ns]
        if self._index is None:
            self._index = self._read_index()
        entry = self._index.get(episode_id)
        try:
            if entry is None or entry["mark"] != mark:
                entry = {"mark": mark, "summary": read_summary(path)}
                self._index[episode_id] = entry
            summary = EpisodeSummary.from_dict(entry["summary"])
            return labelled_summary(summary, self.annotations.of(episode_id).label)
        except (RecordingError, ValueError) as error:
            raise StoreError(f"{path}: {error}") from error

    def summaries(self) -> dict[str, EpisodeSummary]:
        """Summaries of all episodes that can be read, by id; damaged and foreign files are logged and left out."""
        found: dict[str, EpisodeSummary] = {}
        known = 0 if self._index is None else len(self._index)
        for episode_id in self.ids():
            try:
                found[episode_id] = self.summary(episode_id)
            except StoreError as error:
                _log.warning("left out: %s", error)
        if len(self._index or ()) != known:
            self._write_index({key: self._index[key] for key in found})
        return found

    def episodes(self, purpose: Purpose | None = None) -> Iterator[Episode]:
        """All readable episodes in the order of their ids, of one purpose if given."""
        for episode_id, summary in self.summaries().items():
            if purpose is None or summary.context.purpose == purpose:
                yield self.read(episode_id)

    def problems(self) -> dict[str, str]:
        """What is wrong with files in the store, by file name; reads every sample."""
        found: dict[str, str] = {}
        for entry in sorted(self._entries(), key=lambda e: e.name):
            if entry.name.endswith(PARTIAL_SUFFIX):
                if not is_being_written(Path(entry.path)):
                    found[entry.name] = "left by a crash; recover the store"
            elif not entry.name.endswith(".mcap"):
                found[entry.name] = "no episode; move it elsewhere"
            else:
                problem = self._problem(entry.name.removesuffix(".mcap"))
                if problem:
                    found[entry.name] = problem
        return found

    def recover(self) -> list[str]:
        """Make readable what a crash left behind; returns the ids of episodes recovered, marked as not complete.

        Partials that another process is writing are left alone. Nothing is deleted: what was left moves to
        `recovered/`, also where nothing in it could be read.

        Raises:
            StoreError: the folder cannot be written to.
        """
        recovered = []
        kept = self.folder / "recovered"
        for entry in self._entries():
            partial = Path(entry.path)
            if not entry.name.endswith(PARTIAL_SUFFIX) or is_being_written(partial):
                continue
            episode_id = entry.name.removesuffix(PARTIAL_SUFFIX)
            try:
                kept.mkdir(exist_ok=True)
                if not self.path(episode_id).exists() and rebuild(partial, self.path(episode_id)):
                    recovered.append(episode_id)
                os.replace(partial, _unused(kept / entry.name))
                sync_folder(kept)
                sync_folder(self.episodes_folder)
            except OSError as error:
                raise StoreError(f"cannot recover {partial}: {error.strerror}; make {self.folder} writable") from error
            except RecordingError as error:
                raise StoreError(f"cannot recover {partial}: {error}") from error
        return sorted(recovered)

    def repair(self) -> list[str]:
        """Make readable what can be read of damaged episodes; returns their ids, marked as not complete.

        Nothing is deleted: a damaged file moves to `recovered/`, also where nothing in it could be read.

        Raises:
            StoreError: the folder cannot be written to.
        """
        repaired = []
        kept = self.folder / "recovered"
        for episode_id in [name for name in self.ids() if self._damage(name)]:
            damaged = self.path(episode_id)
            try:
                kept.mkdir(exist_ok=True)
                aside = _unused(kept / damaged.name)
                os.link(damaged, aside)
                sync_folder(kept)
                if rebuild(damaged, damaged):
                    repaired.append(episode_id)
                else:
                    damaged.unlink()
                sync_folder(self.episodes_folder)
            except OSError as error:
                raise StoreError(f"cannot repair {damaged}: {error.strerror}; make {self.folder} writable") from error
            except RecordingError as error:
                raise StoreError(f"cannot repair {damaged}: {error}") from error
        return repaired

    def _problem(self, episode_id: str) -> str | None:
        try:
            named = EpisodeSummary.from_dict(read_summary(self.path(episode_id))).context.episode_id
        except (RecordingError, ValueError) as error:
            return str(error)
        if named != episode_id:
            return f"is episode '{named}' under another name"
        return self._damage(episode_id)

    def _damage(self, episode_id: str) -> str | None:
        try:
            summary = EpisodeSummary.from_dict(read_summary(self.path(episode_id)))
            episode = read_episode(self.path(episode_id))
        except (RecordingError, ValueError) as error:
            return str(error)
        if len(episode) != summary.samples:
            return f"holds {len(episode)} samples, its summary says {summary.samples}"
        return None

    def _require(self, episode_id: str) -> None:
        if episode_id not in self:
            known = self.ids()
            raise StoreError(
                f"there is no episode '{episode_id}' in {self.folder}; it holds {len(known)}"
                + (f", from '{known[0]}' to '{known[-1]}'" if known else "")
            )

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            return [entry for entry in os.scandir(self.episodes_folder) if not entry.name.startswith(".")]
        except OSError as error:
            raise StoreError(f"cannot read the store {self.folder}: {error.strerror}") from error

    def _open(self, create: bool) -> None:
        marker = self.folder / "store.json"
        try:
            if not marker.exists():
                self._create(marker, create)
            version = json.loads(marker.read_text(encoding="utf-8"))["schema_version"]
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.folder} has schema version {version}, this software knows up to {SCHEMA_VERSION}; update it"
                )
            while version < SCHEMA_VERSION:
                MIGRATIONS[version](self.folder)
                version += 1
                replace_file(marker, _marker_text(version))
        except OSError as error:
            raise StoreError(f"cannot open the store {self.folder}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{marker} is damaged: {error}; write {_marker_text(SCHEMA_VERSION)!r} into it") from error

    def _create(self, marker: Path, create: bool) -> None:
        if not create:
            state = "is empty" if self.folder.is_dir() and not any(self.folder.iterdir()) else "holds no episode store"
            state = state if self.folder.exists() else "does not exist"
            raise StoreError(f"{self.folder} {state}; collect episodes into it first, see `physai collect --help`")
        foreign = [p.name for p in self.folder.iterdir()] if self.folder.is_dir() else []
        if set(foreign) - {"annotations", "episodes", "recovered", "index.json"}:
            raise StoreError(
                f"{self.folder} is no episode store, it holds {', '.join(sorted(foreign)[:4])}; name a new folder"
            )
        self.episodes_folder.mkdir(parents=True, exist_ok=True)
        replace_file(marker, _marker_text(SCHEMA_VERSION))

    def _read_index(self) -> dict[str, dict[str, Any]]:
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            return {str(k): {"mark": v["mark"], "summary": v["summary"]} for k, v in index.items()}
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            return {}

    def _write_index(self, index: dict[str, dict[str, Any]]) -> None:
        try:
            replace_file(self.folder / "index.json", json.dumps(index))
        except OSError as error:
            _log.debug("the index of %s is not kept: %s", self.folder, error.strerror)


def _marker_text(version: int) -> str:
    return json.dumps({"format": FORMAT, "schema_version": version})


def _unused(path: Path) -> Path:
    candidate, number = path, 1
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}.{number}"), number + 1
    return candidate
