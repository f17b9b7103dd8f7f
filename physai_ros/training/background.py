"""Training beside a running arm: takes episodes from the store, works in short slices, survives being killed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.policy.registry import PolicyManifest, PolicyRegistry
from physai_ros.tasks.task import Task
from physai_ros.training.checkpoint import checkpoint_config, load_checkpoint, replay_folder, save_checkpoint
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import EpisodeUnusable, TransitionBuilder, Transitions
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.publishing import publish_policy
from physai_ros.training.trainer import SparseTrainer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingFolders:
    """Where background training reads and writes: the store, the registry, the checkpoint file.

    Each folder that appears in `practice`, if that is given, is a store of demonstrations that belong together. Names
    with a dot in front are not looked at.
    """

    store: Path
    registry: Path
    checkpoint: Path
    practice: Path | None = None


class BackgroundTraining:
    """Learns from every training episode and demonstration of a store once, in the order of their ids.

    Each episode is followed by its updates before the next is looked at, and the state is saved after each: killed at
    any moment, it goes on from the last whole episode and comes to the same result. What a full disk refused is tried
    again.

    Practice, demonstrations that come by the hundred, is taken in together, followed by its updates, and a candidate is
    offered at once.
    """

    def __init__(
        self,
        folders: TrainingFolders,
        task: Task,
        builder: TransitionBuilder,
        config: TrainerConfig,
        *,
        candidate_every: int = 5,
        on_candidate: Callable[[PolicyManifest], None] = lambda manifest: None,
        on_episode: Callable[[Episode, Transitions], None] = lambda episode, transitions: None,
    ) -> None:
        """`on_episode` is told of every episode that is taken in, `on_candidate` of every version that is offered."""
        self.folders = folders
        self.config = config
        self.trainer: SparseTrainer | None = None
        self.candidate = ""
        self.quarantined: list[str] = []
        self._task = task
        self._builder = builder
        self._registry = PolicyRegistry(folders.registry)
        self._candidate_every = candidate_every
        self._on_candidate = on_candidate
        self._on_episode = on_episode
        self._stores: dict[Path, EpisodeStore] = {}
        self._source: dict[str, EpisodeStore] = {}
        self._practised = 0
        self._practice_due = False
        self._seen: set[str] = set()
        self._queue: deque[str] = deque()
        self._pending = 0
        self._demonstrated = self._unsaved = False
        self._replay = ReplayFolder(replay_folder(folders.checkpoint))
        builder.hindsight = config.hindsight
        if folders.checkpoint.exists():
            try:
                self.config = checkpoint_config(folders.checkpoint)
                builder.hindsight = self.config.hindsight
                self.trainer = load_checkpoint(folders.checkpoint, self._read_again, replay=self._replay)
            except BaseException:
                self.close()
                raise
            self._seen.update(self.trainer.episode_ids)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._pending or self._queue or self._demonstrated or self._unsaved)

    def close(self) -> None:
        """Let another process train with the same folders."""
        self._replay.close()

    def _read_again(self, episode_id: str) -> Transitions:
        if episode_id not in self._source:
            self._look()
        store = self._source.get(episode_id) or EpisodeStore(self.folders.store, create=False)
        return self._builder.build(store.read(episode_id))

    def reconcile(self) -> int:
        """Look for episodes in the store that were not learned from; returns how many wait.

        Raises:
            StoreError: the store is there but cannot be read.
        """
        unseen = [episode_id for episode_id in self._look() if episode_id not in self._seen]
        self._seen.update(unseen)
        self._queue.extend(unseen)
        return len(self._queue)

    def _look(self) -> list[str]:
        """Ids of all episodes that are there, those of the arm first, in the order of their ids."""
        practice = self.folders.practice
        rounds = [] if practice is None else sorted(practice.glob("[!.]*"))
        found = []
        for folder in (self.folders.store, *rounds):
            if folder not in self._stores:
                if not folder.is_dir():
                    continue
                try:
                    self._stores[folder] = EpisodeStore(folder, create=False)
                except StoreError:
                    continue  # whoever writes the store has not made it yet
            ids = self._stores[folder].ids()
            self._source |= dict.fromkeys(ids, self._stores[folder])
            found += ids
        return found

    def work(self, seconds: float) -> int:
        """Train for about `seconds`, or until there is nothing left to do; returns how many updates that were.

        Raises:
            OSError: the disk does not take an episode's samples or the state; the next call tries again.
        """
        deadline = time.monotonic() + seconds
        updates = 0
        while self.busy and time.monotonic() < deadline:
            if self._pending:
                self._update()
                updates += 1
                self._unsaved = not self._pending
            elif self._unsaved:
                self._finish()
            elif self._queue:
                self._take(self._queue[0])
                self._queue.popleft()
            else:
                self._demonstrated = False
                self._pending = self._updates_due()
        return updates

    def _take(self, episode_id: str) -> None:
        store = self._source[episode_id]
        try:
            if store.summary(episode_id).context.purpose == Purpose.EVALUATE:
                return
            episode = store.read(episode_id)
            transitions = self._builder.build(episode)
        except (StoreError, EpisodeUnusable) as error:
            self._quarantine(str(error))
            return
        for reason in transitions.quarantined:
            self._quarantine(reason)
        trainer = self.trainer
        if trainer is None:
            sizes = transitions.observations.shape[1], transitions.actions.shape[2]
            trainer = self.trainer = SparseTrainer(*sizes, self.config, replay=self._replay)
        try:
            trainer.add(transitions, episode_id)
        except ValueError as error:
            self._quarantine(f"episode {episode_id}: {error}")
            return
        self._on_episode(episode, transitions)
        if not trainer.ready:
            return
        if episode.context.purpose == Purpose.TRAIN:
            # What was demonstrated until now is imitated before the first correction is.
            self._pending = self._updates_due() + self.config.updates_per_episode
            self._demonstrated = False
        else:
            # Demonstrations are taken in together: the warm start waits for the last of them.
            self._demonstrated = True
            self._practised += store.folder != self.folders.store

    def _updates_due(self) -> int:
        """Updates for the demonstrations that were taken in: what is left of the warm start, and those of practice."""
        assert self.trainer is not None
        if not len(self.trainer.demonstrations):
            return 0
        due = max(self.config.warm_start_updates - self.trainer.counters.updates, 0)
        due += self.config.updates_per_practice * self._practised
        self._practice_due, self._practised = self._practice_due or self._practised > 0, 0
        return due

    def _update(self) -> None:
        trainer, total = self.trainer, self.config.warm_start_updates
        assert trainer is not None
        done = trainer.counters.updates
        trainer.update(trainer.warm_start_rate(done, total) if done < total else None)
        self._pending -= 1

    def _finish(self) -> None:
        """Save after an episode's updates, and offer a candidate when one is due."""
        trainer = self.trainer
        assert trainer is not None
        trained = trainer.progress.get("episodes_trained", 0) + 1
        if trained % self._candidate_every == 0 or self._practice_due or not self._registry.versions():
            active = self._registry.current()[0]
            manifest = publish_policy(trainer, self._task, self._registry, (active,) if active else ())
            self.candidate = manifest.version
            self._on_candidate(manifest)
        trainer.progress["episodes_trained"] = trained
        try:
            save_checkpoint(trainer, self.folders.checkpoint)
        except BaseException:
            trainer.progress["episodes_trained"] = trained - 1
            raise
        self._unsaved = self._practice_due = False

    def _quarantine(self, reason: str) -> None:
        self.quarantined.append(reason)
        _log.warning("left out: %s", reason)
