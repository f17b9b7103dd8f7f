"""Imitable samples of one origin: what they hold, what is known of them, and who chooses among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from physai_ros.training.columns import ChunkedColumns
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.observed import ObservedSteps, Sight
from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import Draw, Sampler, make_sampler
from physai_ros.training.strata import motion_of
from physai_ros.training.transitions import Steps


class OutcomeBatch(NamedTuple):
    """How episodes ended: the `sight` of n steps of any of them, `success` (n,) 1 or 0."""

    sight: Sight
    success: torch.Tensor


class Batch(NamedTuple):
    """Samples as the network takes them.

    `sight` of b steps, `actions` (b, chunk_steps, action_size), `known` (b, chunk_steps), 1 where the action is
    to be learned, and `members` (b, members), 1 for who learns it; `weight` (b,) of its loss; `returns` (b,), what
    the episode brought, for samples that are weighed by their advantage, NaN for the others; `outcomes` for the value
    head, beside; `steps`, what a critic learns from, where there is one.
    """

    sight: Sight
    actions: torch.Tensor
    known: torch.Tensor
    members: torch.Tensor
    weight: torch.Tensor
    returns: torch.Tensor
    outcomes: OutcomeBatch | None = None
    steps: Steps | None = None

    @property
    def size(self) -> int:
        """Samples in the batch; a tuple's own length is that of its fields."""
        return len(self.actions)

    def rows(self, chosen: slice) -> Batch:
        """Some of the samples, without outcomes and steps."""
        return Batch(self.sight.rows(chosen), *(column[chosen] for column in self[1:-2]))

    @classmethod
    def joined(cls, parts: list[Batch]) -> Batch:
        """One batch of several, in their order, without outcomes and steps."""
        sight = Sight.joined([part.sight for part in parts])
        return cls(sight, *(torch.cat(columns) for columns in zip(*(part[1:-2] for part in parts), strict=True)))


class SamplePool:
    """Samples of one origin with their ledger and sampler.

    What a sample's policy saw is kept once, in `observed`; the column `step` says in which row. Where `holds_out`, a
    few samples are held out to compare the sampler with a control: neither trains on them. Which these are, and which
    members learn what, comes from the generator of the episode, so that the episode gives the same samples again.
    """

    def __init__(
        self,
        config: TrainerConfig,
        observed: ObservedSteps,
        columns: ChunkedColumns,
        held_out: ChunkedColumns,
        *,
        holds_out: bool = False,
    ) -> None:
        self._config = config
        self._observed = observed
        self._holds_out = holds_out
        self.columns = columns
        self.held_out = held_out
        self.ledger = SampleLedger()
        self.sampler: Sampler = make_sampler(
            config.sampler, self.ledger, config.gate, config.significance, self._observed_and_done
        )

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def held_out_count(self) -> int:
        """Samples that nothing trains on."""
        return len(self.held_out)

    def append(
        self,
        rows: Transitions,
        steps: np.ndarray,
        generator: np.random.Generator,
        *,
        weight: np.ndarray | None = None,
        returns: np.ndarray | None = None,
    ) -> None:
        """Add imitable rows (n,) of one episode, with `weight` (n,) and `returns` (n,).

        They lie at `steps` (n,) of what was observed.
        """
        count = len(rows)
        if not count:
            return
        config = self._config
        members = generator.random((count, config.members)) < config.member_share
        # A sample that no member would learn from goes to all.
        members |= ~members.any(axis=1, keepdims=True)
        unknown = np.full(count, np.nan, dtype=np.float32)
        columns = {
            "step": steps.astype(np.int32),
            "actions": rows.actions,
            "action_known": rows.action_known,
            "members": members.astype(np.float32),
            "weight": np.ones(count, dtype=np.float32) if weight is None else weight.astype(np.float32),
            "returns": unknown if returns is None else returns.astype(np.float32),
        }
        trained = np.ones(count, dtype=bool)
        if self._holds_out:
            trained = generator.random(count) >= config.held_out_share
        self.columns.append({name: column[trained] for name, column in columns.items()})
        self.held_out.append({name: column[~trained] for name, column in columns.items()})
        failure_time = np.where(rows.success > 0, np.inf, rows.time_to_end)
        age = np.where(rows.demonstration, np.inf, rows.intervention_age)
        known = (failure_time, rows.force_excess, age, rows.event_time, motion_of(rows.actions[:, 0]))
        self.ledger.append(*(column[trained] for column in known))

    def draw(self, count: int, generator: np.random.Generator, *, uniform: bool) -> Draw:
        """About `count` samples by the sampler, or `count` uniform ones in its place."""
        if uniform:
            return self.sampler.draw_uniform(count, generator)
        return self.sampler.draw(count, generator)

    def batch(self, rows: np.ndarray, *, held_out: bool = False) -> Batch:
        """The samples `rows` (b,), of those held out if asked for."""
        columns = self.held_out if held_out else self.columns
        names = ("actions", "action_known", "members", "weight", "returns")
        named = (torch.from_numpy(columns.gather(name, rows)) for name in names)
        return Batch(self._observed.sight(columns.gather("step", rows)), *named)

    def _observed_and_done(self, rows: np.ndarray) -> np.ndarray:
        """Observation and first action of the samples `rows` (n,), side by side."""
        observations = self._observed.vectors(self.columns.gather("step", rows))
        return np.concatenate([observations, self.columns.gather("actions", rows)[:, 0]], axis=1)

    def state(self) -> dict[str, np.ndarray]:
        """What training has learned of the samples, as arrays for `restore`; the samples themselves are not in it."""
        parts = {"ledger": self.ledger.state(), "sampler": self.sampler.state()}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave, for the same samples.

        Raises:
            ValueError: it is of other samples.
        """

        def part(prefix: str) -> dict[str, np.ndarray]:
            start = f"{prefix}."
            return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}

        self.ledger.restore(part("ledger"))
        if len(self.ledger) != len(self.columns):
            raise ValueError(f"what is known of {len(self.ledger)} samples does not fit the {len(self.columns)} here")
        if sampler := part("sampler"):
            self.sampler.restore(sampler)
