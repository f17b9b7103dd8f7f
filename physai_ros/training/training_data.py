"""The samples of a trainer: what each episode gives to which pool, and what a batch is made up of."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from physai_ros.policy.network import Architecture
from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.loop import Draws, Share
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.observed import ImageStore, MemoryImages, ObservedSteps
from physai_ros.training.pools import Batch, OutcomeBatch, SamplePool
from physai_ros.training.samplers import Draw
from physai_ros.training.transitions import Steps, penalties, returns_over
from physai_ros.training.weighting import step_weights

_NORMALIZED_ON = 50_000  # samples of a pool; more would not move the statistics
_PICTURES = 1000  # of which the statistics of a channel are taken
_VALIDATED_ON = 4096  # held-out samples a check


class TrainingData:
    """Four pools of samples, what was seen of all episodes, and episodes that are held out.

    | pool | holds | learned |
    |---|---|---|
    | `demonstrations` | successful demonstrations | imitated |
    | `corrections` | what an operator did who stepped in | imitated |
    | `own` | what the policy did itself, where `advantage` is set | weighed by its advantage |
    | `own` | the same, where the objective is actor_critic | judged by critics |
    | `own` | of its own successes the quickest, where the objective is rl | imitated like a demonstration |
    | `hindsight` | failed episodes under the goals that they achieved, where `hindsight` is set | both |

    They are drawn from in a fixed proportion, so that corrections are heard at once and the demonstrations are not
    forgotten; only the quickest own successes weigh by their number. What is random about an episode's samples comes
    from its id, so that samples that were lost are made again from their episodes. They lie in memory, or in the
    files of `replay`.
    """

    def __init__(self, config: TrainerConfig, architecture: Architecture, replay: ReplayFolder | None = None) -> None:
        self._config = config
        self._architecture = architecture
        self._replay = replay
        self._columns: dict[str, ChunkedColumns] = {}
        images = self._image_store()
        self.outcomes = ObservedSteps(architecture, self._column_set("outcomes"), images)
        self.relabelled = ObservedSteps(architecture, self._column_set("relabelled"), images)
        self.demonstrations = self._pool("demonstrations", self.outcomes, holds_out=config.compares)
        self.corrections = self._pool("corrections", self.outcomes, holds_out=config.compares)
        self.own = self._pool("own", self.outcomes)
        self.hindsight = self._pool("hindsight", self.relabelled)
        self.pools = {
            "demonstrations": self.demonstrations,
            "corrections": self.corrections,
            "own": self.own,
            "hindsight": self.hindsight,
        }
        self.validation = ObservedSteps(architecture, self._column_set("validation"), images)
        self._episodes: dict[str, None] = {}
        self.imitable_episodes = 0

    def _image_store(self) -> ImageStore | None:
        senses = self._architecture.senses
        if senses is None or senses.image is None:
            return None
        if self._replay is None:
            return MemoryImages()
        return self._replay.images(senses.image)

    def _column_set(self, name: str) -> ChunkedColumns:
        self._columns[name] = ChunkedColumns() if self._replay is None else self._replay.columns(name)
        return self._columns[name]

    def _pool(self, name: str, observed: ObservedSteps, *, holds_out: bool = False) -> SamplePool:
        columns, held_out = self._column_set(name), self._column_set(f"{name}_held_out")
        return SamplePool(self._config, observed, columns, held_out, holds_out=holds_out)

    @property
    def episode_ids(self) -> list[str]:
        """Episodes that were taken in, in their order."""
        return list(self._episodes)

    def __contains__(self, episode_id: str) -> bool:
        return episode_id in self._episodes

    @property
    def ready(self) -> bool:
        """Whether there is anything to imitate."""
        return bool(len(self.demonstrations) or len(self.corrections))

    def signatures(self) -> dict[str, Any]:
        """How the samples are recognized: a signature of all columns by name."""
        return {name: columns.signature() for name, columns in self._columns.items()}

    def found(self, signatures: dict[str, Any], episode_ids: Sequence[str], imitable_episodes: int) -> bool:
        """Take over the samples of these signatures, if the replay has them."""
        if self._replay is None or not self._replay.open(signatures):
            return False
        if not all(observed.complete for observed in (self.outcomes, self.relabelled, self.validation)):
            self._replay.clear()
            return False
        self._episodes = dict.fromkeys(episode_ids)
        self.imitable_episodes = imitable_episodes
        return True

    def add(self, transitions: Transitions, episode_id: str) -> int:
        """Take in one episode; returns how many of its policy steps can be imitated. An episode counts once.

        Raises:
            ValueError: observations, actions or images have another shape than the network.
            OSError: the disk does not take it; then nothing was taken in.
        """
        if episode_id in self._episodes:
            return 0
        for part in (transitions, transitions.hindsight):
            if part is not None:
                self._check(part)
        before = {name: len(columns) for name, columns in self._columns.items()}
        imitable = int(transitions.imitable.sum())
        try:
            if len(transitions):
                self._take_in(transitions, episode_id)
        except BaseException:
            for name, count in before.items():
                self._columns[name].truncate(count)
            for pool in self.pools.values():
                pool.ledger.truncate(len(pool))
            raise
        self.imitable_episodes += imitable > 0
        self._episodes[episode_id] = None
        return imitable

    def _take_in(self, transitions: Transitions, episode_id: str) -> None:
        config = self._config
        every = round(1.0 / config.validation_share)
        if config.patience and transitions.imitable.any() and self.imitable_episodes % every == 1:
            rows = transitions.select(transitions.imitable)
            self.validation.append(rows.observations, rows.images, actions=rows.actions, action_known=rows.action_known)
            return
        # What is random about its samples depends on the episode alone.
        digest = hashlib.blake2b(episode_id.encode(), digest_size=8).digest()
        generator = np.random.default_rng([config.seed, int.from_bytes(digest, "big")])
        steps = self.outcomes.append(
            transitions.observations,
            transitions.images,
            success=transitions.success,
            **self._judged(transitions),
            **self._timed(transitions),
        )
        weight = step_weights(transitions) if config.weighting else np.ones(len(transitions), dtype=np.float32)
        kept = weight > 0.0
        for pool, rows, returns in (
            (self.demonstrations, transitions.imitable & transitions.demonstration, None),
            (self.corrections, transitions.imitable & ~transitions.demonstration, None),
            (self.own, transitions.own & self._learns_from_own(transitions), transitions.success),
        ):
            rows = np.flatnonzero(rows & kept)
            of_rows = None if returns is None or not config.advantage else returns[rows]
            pool.append(transitions.select(rows), steps[rows], generator, weight=weight[rows], returns=of_rows)
        again = transitions.hindsight
        if config.hindsight != "off" and again is not None and len(again):
            steps = self.relabelled.append(again.observations, again.images)
            self.hindsight.append(again, steps, generator, returns=again.success if config.advantage else None)

    @property
    def _judges(self) -> bool:
        """Whether critics learn what steps are worth."""
        return self._config.objective == "actor_critic"

    @property
    def _imitates_itself(self) -> bool:
        """Whether own successes are imitated."""
        return self._config.objective == "rl"

    def _learns_from_own(self, transitions: Transitions) -> bool:
        """Whether the policy's own steps of an episode, which was taken in just now, are learned from."""
        config = self._config
        if not self._imitates_itself:
            return bool(config.advantage) or self._judges
        if not _own_success(transitions):
            return False
        times = self.outcomes.columns.gather("success_time", np.arange(len(self.outcomes)))
        return bool(transitions.time_to_end[0] <= np.nanquantile(times, config.quickest))

    def _timed(self, transitions: Transitions) -> dict[str, np.ndarray]:
        """How long an own success took [s], in its first row, as a column that is else NaN; none where nobody asks."""
        if not self._imitates_itself:
            return {}
        times = np.full(len(transitions), np.nan, dtype=np.float32)
        if _own_success(transitions):
            times[0] = transitions.time_to_end[0]
        return {"success_time": times}

    def _judged(self, transitions: Transitions) -> dict[str, np.ndarray]:
        """What critics learn from the steps of one episode, as columns; none where there are no critics."""
        if not self._judges:
            return {}
        rl, executed = self._config.rl, transitions.executed
        rewards = np.where(transitions.terminal, transitions.success, 0.0)
        rewards = rewards - penalties(executed, transitions.force_excess, rl.force_penalty, rl.jerk_penalty)
        known = np.isfinite(executed).all(axis=1)
        returns = returns_over(rewards, transitions.step, known, transitions.terminal, rl.horizon, rl.discount)
        return {"executed": np.nan_to_num(executed), **returns._asdict()}

    def steps_of(self, draws: Draws, *, held_out: bool = False) -> Steps | None:
        """What critics learn from the samples drawn, in the order of the draws; None where there are no critics."""
        if not self._judges:
            return None
        pools = [(pool, pool.held_out if held_out else pool.columns, draw.indices) for pool, draw in draws]
        rows = np.concatenate([columns.gather("step", indices) for _, columns, indices in pools])
        column = {
            name: torch.from_numpy(self.outcomes.columns.gather(name, rows))
            for name in ("executed", "reward", "bootstrap", "usable", "success")
        }
        following = self.outcomes.sight(rows + self.outcomes.columns.gather("ahead", rows))
        own = np.concatenate([np.full(len(indices), pool is self.own) for pool, _, indices in pools])
        return Steps(following=following, own=torch.from_numpy(own.astype(np.float32)), **column)

    def _check(self, transitions: Transitions) -> None:
        expected = (len(transitions), self._architecture.observation_size)
        if transitions.observations.shape != expected:
            raise ValueError(
                f"observations have shape {transitions.observations.shape}, the network expects {expected}"
            )
        chunk = (len(transitions), self._architecture.chunk_steps, self._architecture.action_size)
        if transitions.actions.shape != chunk:
            raise ValueError(f"actions have shape {transitions.actions.shape}, the network expects {chunk}")

    def shares(self) -> list[Share]:
        """How a batch is made up of the pools."""
        config = self._config
        first = config.demonstration_share if len(self.corrections) else 1.0
        parts = {
            "demonstrations": first if len(self.demonstrations) else 0.0,
            "corrections": 1.0 - first if len(self.demonstrations) else 1.0,
            "own": self._own_parts(),
            "hindsight": config.hindsight_parts,
        }
        present = [(self.pools[name], part) for name, part in parts.items() if part > 0 and len(self.pools[name])]
        total = sum(part for _, part in present)
        shares, given, due = [], 0, 0.0
        for pool, part in present:
            due += config.batch_size * part / total
            shares.append((pool, round(due) - given))
            given = round(due)
        return shares

    def _own_parts(self) -> float:
        """Own steps in a batch, where demonstrations and corrections are one."""
        if self._imitates_itself:
            return len(self.own) / max(len(self.demonstrations) + len(self.corrections), 1)
        return self._config.rl.own_share / (1.0 - self._config.rl.own_share) if self._judges else self._config.own_parts

    def outcome_batch(self, count: int, generator: np.random.Generator) -> OutcomeBatch:
        """How episodes ended, for `count` steps of any of them."""
        rows = generator.integers(len(self.outcomes), size=count)
        success = torch.from_numpy(self.outcomes.columns.gather("success", rows))
        return OutcomeBatch(self.outcomes.sight(rows), success)

    def held_out(self, pools: Sequence[SamplePool], most: int, generator: np.random.Generator) -> Batch:
        """Up to `most` held-out samples of each pool."""
        draws = []
        for pool in pools:
            rows = generator.permutation(pool.held_out_count)[:most]
            draws.append((pool, Draw(rows, np.ones(len(rows), dtype=np.float32), len(rows))))
        batch = Batch.joined([pool.batch(draw.indices, held_out=True) for pool, draw in draws])
        return batch._replace(steps=self.steps_of(draws, held_out=True))

    def validation_loss(self, loss_of: Any) -> float:  # noqa: ANN401 `Imitation.acting_loss`
        """What `loss_of` says of steps of the held-out episodes, evenly spaced; NaN where there are none."""
        count = len(self.validation)
        if not count:
            return math.nan
        rows = np.unique(np.linspace(0, count - 1, min(count, _VALIDATED_ON)).astype(int))
        named = (torch.from_numpy(self.validation.columns.gather(name, rows)) for name in ("actions", "action_known"))
        return loss_of(self.validation.sight(rows), *named)

    def to_normalize_on(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Observations (n, size) that can be imitated by now, and pictures (m, h, w, c): an even selection."""
        steps = [
            pool.columns.gather("step", np.arange(0, len(pool), len(pool) // _NORMALIZED_ON + 1))
            for pool in (self.demonstrations, self.corrections)
            if len(pool)
        ]
        return self.outcomes.vectors(np.concatenate(steps)), self.outcomes.pictures(_PICTURES)


def _own_success(transitions: Transitions) -> bool:
    """Whether the policy succeeded in an episode that nobody else had a hand in."""
    return bool(transitions.own.all() and transitions.success[0])
